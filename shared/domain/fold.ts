import { CLEARED } from './extent.ts';
import { hashesOf } from './known-blocks.ts';
import type { Layer } from './layer.ts';
import { type RegionView, regionView } from './region-view.ts';

/**
 * What a view shows, as one layer: for every block the newest won, and frames and packs that no block uses any more are left out.
 * With `bottom`, nothing lies below, so cleared blocks are left out too. The view must have been read with its hashes.
 */
export function layerOf(view: RegionView, bottom: boolean): Layer {
  const extents = bottom ? view.extents.filter((extent) => extent.frame !== CLEARED) : view.extents;
  return { packs: view.packs, frames: view.frames, extents, hashes: hashesOf({ extents, hashOf: view.hashOf }) };
}

/** Folds a stack of layers, oldest first, into one. The layers must have been read with their hashes. */
export function foldLayers(stack: readonly Layer[], bottom: boolean): Layer {
  return layerOf(regionView(stack), bottom);
}
