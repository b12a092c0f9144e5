import { CLEARED, type ExtentMap } from './extent.ts';
import { HASH_BYTES } from './units.ts';

/** Blocks whose hashes lie together, 32 KiB: what a region of few blocks costs, wherever in the region they are. */
const PAGE_BLOCKS = 1024;

/** The hashes of a region's stored blocks by block number: 2 MiB for a full production region. */
export class BlockHashes {
  readonly #pages = new Map<number, Buffer>();

  /** `hashes` are those of the stored blocks of `all`, in order; those of `wanted`, whose extents are parts of it, are taken. */
  take(all: ExtentMap, hashes: Uint8Array, wanted: ExtentMap): void {
    let at = 0;
    let next = 0;
    for (const { start, count, frame } of all) {
      if (frame === CLEARED) continue;
      while (next < wanted.length && wanted[next]!.start < start) next++;
      for (; next < wanted.length && wanted[next]!.start < start + count; next++) {
        const part = wanted[next]!;
        const from = (at + part.start - start) * HASH_BYTES;
        this.set(part.start, hashes.subarray(from, from + part.count * HASH_BYTES));
      }
      at += count;
    }
  }

  /** Takes the hashes of adjacent blocks from `start` on. */
  set(start: number, hashes: Uint8Array): void {
    for (let at = 0, block = start; at < hashes.length;) {
      const inPage = block % PAGE_BLOCKS;
      const count = Math.min(PAGE_BLOCKS - inPage, (hashes.length - at) / HASH_BYTES);
      this.#page(block).set(hashes.subarray(at, at + count * HASH_BYTES), inPage * HASH_BYTES);
      at += count * HASH_BYTES;
      block += count;
    }
  }

  /** The 32 bytes of a block that was taken. */
  of(block: number): Buffer {
    const inPage = block % PAGE_BLOCKS;
    return this.#page(block).subarray(inPage * HASH_BYTES, (inPage + 1) * HASH_BYTES);
  }

  #page(block: number): Buffer {
    const number = Math.floor(block / PAGE_BLOCKS);
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = Buffer.alloc(PAGE_BLOCKS * HASH_BYTES);
      this.#pages.set(number, page);
    }
    return page;
  }
}
