import { BlockHashes } from '../domain/block-hashes.ts';
import { BackupError } from '../domain/errors.ts';
import { touchedBlocks } from '../domain/changes.ts';
import type { RestoreTargets } from '../disk/restore-targets.ts';
import { BLOCK_BYTES, type ByteRange, HASH_BYTES } from '../domain/units.ts';
import { readPieces } from './changed-blocks.ts';
import { readAhead } from './read-ahead.ts';
import { hashBlock, padded } from './region-bytes.ts';

const READ_BYTES = 8 * 1024 * 1024;
const ZERO_HASH = hashBlock(Buffer.alloc(BLOCK_BYTES));

/** What each block of a region should hash to; blocks that were not set should read as zeros. 2 MiB for a full production region. */
export class RegionHashes {
  readonly blocks: number;
  readonly #hashes = new BlockHashes();
  readonly #set: Uint8Array;

  constructor(blocks: number) {
    this.blocks = blocks;
    this.#set = new Uint8Array(blocks);
  }

  /** The hashes of adjacent blocks from `start` on; those past the region's end are left out. */
  set(start: number, hashes: Uint8Array): void {
    const end = Math.min(start + hashes.length / HASH_BYTES, this.blocks);
    this.#hashes.set(start, hashes.subarray(0, (end - start) * HASH_BYTES));
    this.#set.fill(1, start, end);
  }

  has(block: number): boolean {
    return this.#set[block] === 1;
  }

  /** The hash expected of `block`. */
  of(block: number): Buffer {
    return this.has(block) ? this.#hashes.of(block) : ZERO_HASH;
  }
}

/**
 * Reads a restored region back as any reader of the disk would, over another path than it was written by, and compares it with
 * `expected`: every block that should be there is, and nothing else is but zeros.
 * @throws BackupError RestoreVerificationFailed naming the disk and the first wrong block
 */
export async function readBack(
  targets: Pick<RestoreTargets, 'allocated' | 'readBack'>,
  target: { url: string; leaseId: string },
  window: ByteRange,
  expected: RegionHashes,
): Promise<void> {
  const seen = new Uint8Array(expected.blocks);
  const allocated: ByteRange[] = [];
  for await (const range of targets.allocated(target, window)) allocated.push(range);
  const pieces = readPieces(touchedBlocks(allocated, window), window, READ_BYTES);
  for await (const { piece, bytes } of readAhead(pieces, (range, into) => targets.readBack(target.url, range, into))) {
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
      const block = piece.block + at / BLOCK_BYTES;
      const actual = hashBlock(padded(bytes.subarray(at, at + BLOCK_BYTES)));
      if (!actual.equals(expected.of(block))) throw wrong(target.url, window, block);
      seen[block] = 1;
    }
  }
  for (let block = 0; block < expected.blocks; block++) {
    if (expected.has(block) && seen[block] === 0) throw wrong(target.url, window, block);
  }
}

function wrong(url: string, window: ByteRange, block: number): BackupError {
  const at = window.start + block * BLOCK_BYTES;
  return new BackupError(
    'RestoreVerificationFailed',
    `${url} does not read back as it was written: the 16 KiB at ${at} differ from what the recovery point holds`,
    { target: url },
  );
}
