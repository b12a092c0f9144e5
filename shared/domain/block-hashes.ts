import { CLEARED, type ExtentMap } from './extent.ts';
import { HASH_BYTES } from './units.ts';

/** The hashes of a region's stored blocks by block number: 2 MiB for a full production region. */
export class BlockHashes {
  #dense = Buffer.alloc(0);

  /** `hashes` are those of the stored blocks of `all`, in order; those of `wanted`, whose extents are parts of it, are taken. */
  take(all: ExtentMap, hashes: Uint8Array, wanted: ExtentMap): void {
    const last = wanted.findLast(({ frame }) => frame !== CLEARED);
    if (last === undefined) return;
    this.#makeRoom((last.start + last.count) * HASH_BYTES);
    let at = 0;
    let next = 0;
    for (const { start, count, frame } of all) {
      if (frame === CLEARED) continue;
      while (next < wanted.length && wanted[next]!.start < start) next++;
      for (; next < wanted.length && wanted[next]!.start < start + count; next++) {
        const part = wanted[next]!;
        const from = (at + part.start - start) * HASH_BYTES;
        this.#dense.set(hashes.subarray(from, from + part.count * HASH_BYTES), part.start * HASH_BYTES);
      }
      at += count;
    }
  }

  /** The 32 bytes of a block that was taken. */
  of(block: number): Uint8Array {
    return this.#dense.subarray(block * HASH_BYTES, (block + 1) * HASH_BYTES);
  }

  #makeRoom(bytes: number): void {
    if (bytes <= this.#dense.length) return;
    const grown = Buffer.alloc(Math.max(bytes, this.#dense.length * 2));
    this.#dense.copy(grown);
    this.#dense = grown;
  }
}
