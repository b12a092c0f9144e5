import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { type ChangedRange, READ_BYTES, readRange } from './image.ts';

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/**
 * The SHA-256 of a block, padded with zeros where a disk ends inside it; undefined for a block of zeros.
 */
export function hashBlock(bytes: Uint8Array): string | undefined {
  if (ZERO_BLOCK.compare(bytes, 0, bytes.length, 0, bytes.length) === 0) return undefined;
  const hash = createHash('sha256').update(bytes);
  if (bytes.length < BLOCK_BYTES) hash.update(ZERO_BLOCK.subarray(bytes.length));
  return hash.digest('base64');
}

/** What a version of a disk changed, in blocks. */
export interface VersionChange {
  /** Blocks with new bytes, and blocks that became zero. */
  readonly dataBlocks: number;
  readonly clearedBlocks: number;
}

/**
 * What a disk held at each of its versions, as the hash of every block that is not zero. A version keeps only what it changed.
 */
export class Reference {
  /** By version: block → hash, undefined for a block that became zero. */
  readonly #changes: Map<number, string | undefined>[] = [];
  readonly #newest = new Map<number, string>();
  readonly #sizeBytes: number;

  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  /** Number of versions recorded; the newest is this minus one. */
  get versions(): number {
    return this.#changes.length;
  }

  /** Bytes in blocks that are not zero in the newest version. */
  get usedBytes(): number {
    return this.#newest.size * BLOCK_BYTES;
  }

  /** Records the next version, of which `ranges` may differ from the one before. */
  async record(file: FileHandle, ranges: readonly ChangedRange[]): Promise<VersionChange> {
    const changes = new Map<number, string | undefined>();
    const room = Buffer.allocUnsafe(READ_BYTES);
    for (const { start, end } of wholeBlocks(ranges, this.#sizeBytes)) {
      for (let at = start; at < end; at += READ_BYTES) {
        const bytes = await readRange(file, { start: at, end: Math.min(end, at + READ_BYTES) }, room);
        for (let inside = 0; inside < bytes.length; inside += BLOCK_BYTES) {
          const block = (at + inside) / BLOCK_BYTES;
          const hash = hashBlock(bytes.subarray(inside, inside + BLOCK_BYTES));
          if (hash === this.#newest.get(block)) continue;
          changes.set(block, hash);
          if (hash === undefined) this.#newest.delete(block);
          else this.#newest.set(block, hash);
        }
      }
    }
    this.#changes.push(changes);
    const dataBlocks = [...changes.values()].filter((hash) => hash !== undefined).length;
    return { dataBlocks, clearedBlocks: changes.size - dataBlocks };
  }

  /** The hash of each block that was not zero at `version`. */
  at(version: number): Map<number, string> {
    if (version < 0 || version >= this.versions)
      throw new RangeError(`version ${version} of ${this.versions} was never recorded`);
    const blocks = new Map<number, string>();
    for (const changes of this.#changes.slice(0, version + 1)) {
      for (const [block, hash] of changes) {
        if (hash === undefined) blocks.delete(block);
        else blocks.set(block, hash);
      }
    }
    return blocks;
  }
}

/** Widens sorted ranges to whole blocks, cut at the disk's end, and joins those that then touch. */
export function wholeBlocks(
  ranges: Iterable<{ readonly start: number; readonly end: number }>,
  sizeBytes: number,
): { start: number; end: number }[] {
  const whole: { start: number; end: number }[] = [];
  for (const { start, end } of ranges) {
    const from = start - (start % BLOCK_BYTES);
    const to = Math.min(sizeBytes, Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES);
    const last = whole.at(-1);
    if (last !== undefined && from <= last.end) last.end = Math.max(last.end, to);
    else whole.push({ start: from, end: to });
  }
  return whole;
}
