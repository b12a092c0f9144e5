import { BlockHashes } from './block-hashes.ts';
import { CLEARED, type Extent, type ExtentMap, blockCount, dataBlocks, interleave, subtract } from './extent.ts';
import { HASH_BYTES } from './units.ts';

/** What a region has, whoever knows where its bytes are. */
export interface KnownBlocks {
  /** Cleared extents included. */
  readonly extents: ExtentMap;
  /** The SHA-256 of a stored block. Undefined when the layers were read without. */
  readonly hashOf: ((block: number) => Uint8Array) | undefined;
}

/** Extents whose `frame` is the number of the layer that has the blocks, and whose `slot` is the block number: neighbours join. */
export type OwnerMap = ExtentMap;

/** Puts together which layer of a stack each block is seen in, from the newest down. */
export class OwnersBuilder {
  #extents: Extent[] = [];
  readonly #hashes = new BlockHashes();

  /** How many blocks are known by now. */
  get speaksOf(): number {
    return blockCount(this.#extents);
  }

  /** Puts what layer number `number` of the stack speaks of below what is there. */
  add(number: number, layer: { extents: ExtentMap; hashes: Uint8Array }): void {
    const owned = layer.extents.map(({ start, count, frame }) =>
      frame === CLEARED ? { start, count, frame, slot: 0 } : { start, count, frame: number, slot: start },
    );
    this.addOwned({ extents: owned, hashes: layer.hashes });
  }

  /** Puts the first layers of the stack, as a checkpoint has them, below what is there. */
  addOwned({ extents, hashes }: { extents: OwnerMap; hashes: Uint8Array }): void {
    const seen = subtract(extents, this.#extents);
    this.#hashes.take(extents, hashes, seen);
    this.#extents = interleave(this.#extents, seen);
  }

  finish(): KnownBlocks & { readonly extents: OwnerMap } {
    const hashes = this.#hashes;
    return { extents: this.#extents, hashOf: (block) => hashes.of(block) };
  }
}

/** The hashes of the stored blocks, one after another in the order of the extents. */
export function hashesOf({ extents, hashOf }: KnownBlocks): Buffer {
  if (hashOf === undefined) throw new TypeError('the hashes of these blocks were not read');
  const hashes = Buffer.alloc(dataBlocks(extents) * HASH_BYTES);
  let at = 0;
  for (const { start, count, frame } of extents) {
    if (frame === CLEARED) continue;
    for (let block = start; block < start + count; block++, at += HASH_BYTES) hashes.set(hashOf(block), at);
  }
  return hashes;
}
