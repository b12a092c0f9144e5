import { CLEARED } from './extent.ts';
import type { Layer, PackUse } from './layer.ts';
import { regionView } from './region-view.ts';
import { HASH_BYTES } from './units.ts';

/**
 * Folds a stack of layers, oldest first, into one: for every block the newest wins. Frames and packs that no block uses any
 * more are left out: `deadPacks` names those packs. With `bottom`, nothing lies below the stack, so cleared blocks are left out too.
 * The layers must have been read with their hashes.
 */
export function foldLayers(stack: readonly Layer[], bottom: boolean): { layer: Layer; deadPacks: PackUse[] } {
  const seen = regionView(stack);
  if (seen.hashOf === undefined) throw new TypeError('a fold needs the hashes of its layers');
  const extents = bottom ? seen.extents.filter((extent) => extent.frame !== CLEARED) : seen.extents;
  const stored = extents.filter((extent) => extent.frame !== CLEARED);

  const frameNumber = renumber(stored.map((extent) => extent.frame));
  const keptFrames = [...frameNumber.keys()].map((frame) => seen.frames[frame]!);
  const packNumber = renumber(keptFrames.map((frame) => frame.pack));
  const hashes = Buffer.alloc(stored.reduce((sum, extent) => sum + extent.count, 0) * HASH_BYTES);
  let at = 0;
  for (const extent of stored) {
    for (let block = extent.start; block < extent.start + extent.count; block++, at += HASH_BYTES)
      hashes.set(seen.hashOf(block), at);
  }
  return {
    layer: {
      packs: [...packNumber.keys()].map((pack) => seen.packs[pack]!),
      frames: keptFrames.map((frame) => ({ ...frame, pack: packNumber.get(frame.pack)! })),
      extents: extents.map((extent) =>
        extent.frame === CLEARED ? extent : { ...extent, frame: frameNumber.get(extent.frame)! },
      ),
      hashes,
    },
    deadPacks: seen.packs.filter((_, pack) => !packNumber.has(pack)),
  };
}

/** Gives the numbers in use new ones from 0, in their old order. */
function renumber(used: readonly number[]): Map<number, number> {
  return new Map([...new Set(used)].sort((a, b) => a - b).map((old, fresh) => [old, fresh]));
}
