import type { FileHandle } from 'node:fs/promises';
import type { ByteRange } from '../../shared/domain/units.ts';

/** A range of a disk that differs from before: it has new bytes, or it was cleared and reads as zeros. */
export interface ChangedRange extends ByteRange {
  readonly cleared: boolean;
}

/** A disk of the demo's VM, as a sparse file on this machine: what the disk is supposed to hold. */
export interface DiskImage {
  /** The disk's and its blob's name. */
  readonly name: string;
  /** What it is, for people. */
  readonly about: string;
  readonly sizeBytes: number;
  readonly file: FileHandle;
  /** What the new image holds: sorted, without overlap, in whole sectors. */
  readonly initial: readonly ChangedRange[];
  /** Changes the image as a day of work would; resolves the ranges that differ now: sorted, without overlap, in whole sectors. */
  change(day: number): Promise<ChangedRange[]>;
  close(): Promise<void>;
}

/** The unit in which zeros are looked for: the page of a file system, so that a cleared page is found inside a block too. */
const PAGE_BYTES = 4096;
const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);
/** How much of an image is looked at in one go. */
export const READ_BYTES = 4 * 2 ** 20;

/** Cuts bytes at `offset` into runs of pages that are all zero (`cleared`) and runs that are not. */
export function splitZeros(bytes: Uint8Array, offset: number): ChangedRange[] {
  const runs: ChangedRange[] = [];
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
    const page = bytes.subarray(at, at + PAGE_BYTES);
    const cleared = ZERO_PAGE.compare(page, 0, page.length, 0, page.length) === 0;
    runs.push({ start: offset + at, end: offset + at + page.length, cleared });
  }
  return joinRanges(runs);
}

/** Joins neighbours of one kind. `ranges` must be sorted and without overlap. */
export function joinRanges(ranges: readonly ChangedRange[]): ChangedRange[] {
  const joined: ChangedRange[] = [];
  for (const range of ranges) {
    const last = joined.at(-1);
    if (last !== undefined && last.end === range.start && last.cleared === range.cleared)
      joined[joined.length - 1] = { ...last, end: range.end };
    else joined.push(range);
  }
  return joined;
}

/** The ranges of the pages that differ between two states of the same range; both have the same length. */
export function differences(before: Uint8Array, after: Uint8Array, offset: number): ChangedRange[] {
  const runs: ChangedRange[] = [];
  for (let at = 0; at < after.length; at += PAGE_BYTES) {
    const page = after.subarray(at, at + PAGE_BYTES);
    if (Buffer.compare(before.subarray(at, at + PAGE_BYTES), page) !== 0) runs.push(...splitZeros(page, offset + at));
  }
  return joinRanges(runs);
}

/** Reads exactly the range, into `room` if given; past the end of the file come zeros. */
export async function readRange(
  file: FileHandle,
  { start, end }: ByteRange,
  room: Buffer = Buffer.allocUnsafe(end - start),
): Promise<Buffer> {
  const bytes = room.subarray(0, end - start);
  for (let at = 0; at < bytes.length;) {
    const { bytesRead } = await file.read(bytes, at, bytes.length - at, start + at);
    if (bytesRead === 0) {
      bytes.fill(0, at);
      break;
    }
    at += bytesRead;
  }
  return bytes;
}

/** Writes all of `bytes`. */
export async function writeAt(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, offset + at);
    at += bytesWritten;
  }
}

/** Cuts a range into windows of a few MiB. */
export function* windows({ start, end }: ByteRange): Generator<ByteRange> {
  for (let at = start; at < end; at += READ_BYTES) yield { start: at, end: Math.min(end, at + READ_BYTES) };
}

/** What of `range` is not zero. */
export async function dataRanges(file: FileHandle, range: ByteRange): Promise<ChangedRange[]> {
  const found: ChangedRange[] = [];
  const room = Buffer.allocUnsafe(Math.min(READ_BYTES, range.end - range.start));
  for (const window of windows(range))
    found.push(...splitZeros(await readRange(file, window, room), window.start).filter(({ cleared }) => !cleared));
  return joinRanges(found);
}

export function bytesOf(ranges: readonly ByteRange[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}
