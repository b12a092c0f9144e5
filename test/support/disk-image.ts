import { createHash } from 'node:crypto';
import type { PageBlobClient } from '@azure/storage-blob';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';

/** What a disk holds: every block that is not all zeros, by number, as a hash. */
export type DiskImage = ReadonlyMap<number, string>;

/** Reads what a page blob has allocated, in the order of its blocks. */
export async function imageOf(blob: PageBlobClient): Promise<DiskImage> {
  const blocks = new Map<number, string>();
  const size = (await blob.getProperties()).contentLength!;
  for await (const page of blob.listPageRanges().byPage()) {
    for (const range of page.pageRange ?? []) {
      const from = Math.floor(range.start / BLOCK_BYTES) * BLOCK_BYTES;
      const until = Math.min(Math.ceil((range.end + 1) / BLOCK_BYTES) * BLOCK_BYTES, size);
      const bytes = await blob.downloadToBuffer(from, until - from);
      for (let offset = 0; offset < bytes.length; offset += BLOCK_BYTES) {
        const block = bytes.subarray(offset, offset + BLOCK_BYTES);
        if (block.some((byte) => byte !== 0))
          blocks.set((from + offset) / BLOCK_BYTES, createHash('sha256').update(block).digest('hex'));
      }
    }
  }
  return blocks;
}

/** The blocks in which two images differ; all of them where there is only one. */
export const differences = (image: DiskImage, other: DiskImage = new Map()): number[] =>
  [...new Set([...image.keys(), ...other.keys()])].filter((block) => image.get(block) !== other.get(block));

/** Bytes that follow from a seed alone, no two blocks of them alike. */
export function filled(bytes: number, seed: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let i = 0; i < bytes; i++) buffer[i] = (i * (seed + 3) + (i >> 7) + seed) & 0xff;
  return buffer;
}

/** Bytes that follow from a seed alone and do not compress. */
export const noise = (bytes: number, seed: string): Buffer =>
  createHash('shake256', { outputLength: bytes }).update(seed).digest();
