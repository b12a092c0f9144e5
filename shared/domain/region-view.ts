import { BlockHashes } from './block-hashes.ts';
import {
  type BlockRun,
  CLEARED,
  type Extent,
  type ExtentMap,
  blockCount,
  interleave,
  subtract,
  within,
} from './extent.ts';
import type { KnownBlocks, OwnerMap } from './known-blocks.ts';
import type { Frame, Layer, PackUse } from './layer.ts';

/** What a region looks like above a stack of layers: where each block's bytes are and what they hash to. */
export interface RegionView extends KnownBlocks {
  readonly frames: readonly Frame[];
  readonly packs: readonly PackUse[];
}

/**
 * Puts a view together from the newest layer down, so that of older layers only what is still seen is kept: memory is the view and
 * one layer, however deep the stack. A reader can stop once the view speaks of every block.
 */
export class ViewBuilder {
  #extents: Extent[] = [];
  readonly #frames: Frame[] = [];
  readonly #packs: PackUse[] = [];
  readonly #hashes = new BlockHashes();
  #hasHashes = true;

  /** How many blocks are known by now. */
  get speaksOf(): number {
    return blockCount(this.#extents);
  }

  /** Puts `layer` below what is there. */
  add(layer: Layer): void {
    const seen = subtract(layer.extents, this.#extents);
    if (layer.hashes === undefined) this.#hasHashes = false;
    else this.#hashes.take(layer.extents, layer.hashes, seen);
    this.#place(layer, seen);
  }

  /**
   * Puts what a checkpoint knows below what is there, and answers by number of layer which of the layer's blocks are seen: `locate`
   * is to be told where they are.
   */
  addOwned({ extents, hashes }: { extents: OwnerMap; hashes: Uint8Array }): Map<number, BlockRun[]> {
    const seen = subtract(extents, this.#extents);
    this.#hashes.take(extents, hashes, seen);
    const byLayer = new Map<number, BlockRun[]>();
    const cleared: Extent[] = [];
    for (const extent of seen) {
      const runs = byLayer.get(extent.frame);
      if (extent.frame === CLEARED) cleared.push(extent);
      else if (runs === undefined) byLayer.set(extent.frame, [extent]);
      else runs.push(extent);
    }
    this.#extents = interleave(this.#extents, cleared);
    return byLayer;
  }

  /** Where the bytes of `runs` are: in `layer`, whose hashes are not needed. False, and nothing changed, if it does not have them all. */
  locate(layer: Layer, runs: readonly BlockRun[]): boolean {
    const found = within(layer.extents, runs).filter(({ frame }) => frame !== CLEARED);
    if (blockCount(found) !== blockCount(runs)) return false;
    this.#place(layer, found);
    return true;
  }

  /** The view of what has been added. The builder is not used after. */
  finish(): RegionView {
    const hashes = this.#hashes;
    return {
      extents: this.#extents,
      frames: this.#frames,
      packs: this.#packs,
      hashOf: this.#hasHashes ? (block) => hashes.of(block) : undefined,
    };
  }

  /** Takes over `seen`, parts of the layer's extents, with the frames and packs that they need. */
  #place(layer: Layer, seen: ExtentMap): void {
    const frameNumbers = new Map<number, number>();
    const packNumbers = new Map<number, number>();
    const placed = seen.map((extent) => {
      if (extent.frame === CLEARED) return extent;
      let number = frameNumbers.get(extent.frame);
      if (number === undefined) {
        const frame = layer.frames[extent.frame]!;
        let pack = packNumbers.get(frame.pack);
        if (pack === undefined) {
          pack = this.#packs.push(layer.packs[frame.pack]!) - 1;
          packNumbers.set(frame.pack, pack);
        }
        number = this.#frames.push({ ...frame, pack }) - 1;
        frameNumbers.set(extent.frame, number);
      }
      return { ...extent, frame: number };
    });
    this.#extents = interleave(this.#extents, placed);
  }
}

/** The view above `stack`, oldest layer first. Time: the sum of the layers; memory: one region. */
export function regionView(stack: readonly Layer[]): RegionView {
  const builder = new ViewBuilder();
  for (const layer of stack.toReversed()) builder.add(layer);
  return builder.finish();
}
