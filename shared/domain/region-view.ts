import { CLEARED, type Extent, type ExtentMap } from './extent.ts';
import type { Frame, Layer, PackUse } from './layer.ts';
import { HASH_BYTES } from './units.ts';
import { view } from './view.ts';

/** What a region looks like above a stack of layers: where each block's bytes are and what they hash to. */
export interface RegionView {
  /** Cleared extents included, so that a fold of the stack can be told from it. */
  readonly extents: ExtentMap;
  readonly frames: readonly Frame[];
  readonly packs: readonly PackUse[];
  /** Block numbers up to the last stored one, 32 bytes each; meaningful for stored blocks alone. Undefined without hashes. */
  readonly hashOf: ((block: number) => Uint8Array) | undefined;
}

/** Puts the layers' tables one after another, so that all extents refer to one frame table. */
function joinTables(stack: readonly Layer[]): { maps: Extent[][]; frames: Frame[]; packs: PackUse[] } {
  const maps: Extent[][] = [];
  const frames: Frame[] = [];
  const packs: PackUse[] = [];
  for (const layer of stack) {
    const frameBase = frames.length;
    const packBase = packs.length;
    maps.push(
      layer.extents.map((extent) =>
        extent.frame === CLEARED ? extent : { ...extent, frame: extent.frame + frameBase },
      ),
    );
    for (const frame of layer.frames) frames.push({ ...frame, pack: frame.pack + packBase });
    packs.push(...layer.packs);
  }
  return { maps, frames, packs };
}

/** The hashes of a stack by block number: the newest stored version of each block. At most 2 MiB for a production region. */
function denseHashes(stack: readonly Layer[]): Buffer | undefined {
  if (stack.some((layer) => layer.hashes === undefined)) return undefined;
  const end = Math.max(
    0,
    ...stack.map((layer) => layer.extents.at(-1)).map((last) => (last ? last.start + last.count : 0)),
  );
  const dense = Buffer.alloc(end * HASH_BYTES);
  for (const layer of stack) {
    let at = 0;
    for (const extent of layer.extents) {
      if (extent.frame === CLEARED) continue;
      const bytes = extent.count * HASH_BYTES;
      dense.set(layer.hashes!.subarray(at, at + bytes), extent.start * HASH_BYTES);
      at += bytes;
    }
  }
  return dense;
}

/** The view above `stack`, oldest layer first. Time: the sum of the layers; memory: one region. */
export function regionView(stack: readonly Layer[]): RegionView {
  const { maps, frames, packs } = joinTables(stack);
  const dense = denseHashes(stack);
  return {
    extents: view(maps),
    frames,
    packs,
    hashOf: dense && ((block) => dense.subarray(block * HASH_BYTES, (block + 1) * HASH_BYTES)),
  };
}
