import { type BlockRun, type ExtentMap, CLEARED, normalise } from './extent.ts';
import { BLOCK_BYTES, type ByteRange, type Geometry } from './units.ts';

/**
 * The blocks of a region that byte ranges of the disk touch, in whole or in part: a write of 1 KiB carries its whole block.
 * `ranges` may come in any order and overlap; what lies outside `window` (the region's bytes on the disk) is ignored.
 */
export function touchedBlocks(ranges: readonly ByteRange[], window: ByteRange): BlockRun[] {
  const runs: BlockRun[] = [];
  for (const range of ranges) {
    const start = Math.max(range.start, window.start) - window.start;
    const end = Math.min(range.end, window.end) - window.start;
    if (start >= end) continue;
    const first = Math.floor(start / BLOCK_BYTES);
    runs.push({ start: first, count: Math.ceil(end / BLOCK_BYTES) - first });
  }
  return normalise(runs);
}

/** The whole blocks that a range of a disk touches: what a write of a few bytes costs. */
export function inBlocks({ start, end }: ByteRange, sizeBytes: number): ByteRange {
  const first = Math.floor(start / BLOCK_BYTES) * BLOCK_BYTES;
  return { start: first, end: Math.min(Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES, sizeBytes) };
}

/** Adds the bytes of `range` to the totals of the regions that it lies in. */
export function addByRegion(totals: Map<number, number>, range: ByteRange, { regionBytes }: Geometry): void {
  for (let at = range.start; at < range.end;) {
    const region = Math.floor(at / regionBytes);
    const stop = Math.min(range.end, (region + 1) * regionBytes);
    totals.set(region, (totals.get(region) ?? 0) + stop - at);
    at = stop;
  }
}

/** The runs of blocks whose bytes `map` stores, cleared ones left out. */
export function storedRuns(map: ExtentMap): BlockRun[] {
  return normalise(map.filter((extent) => extent.frame !== CLEARED));
}

/** The parts of `runs` that lie in none of `others`. Both ascend without overlap. */
export function without(runs: readonly BlockRun[], others: readonly BlockRun[]): BlockRun[] {
  const kept: BlockRun[] = [];
  let next = 0;
  for (const run of runs) {
    const end = run.start + run.count;
    let from = run.start;
    while (next < others.length && others[next]!.start + others[next]!.count <= from) next++;
    for (let i = next; i < others.length && others[i]!.start < end; i++) {
      if (others[i]!.start > from) kept.push({ start: from, count: others[i]!.start - from });
      from = Math.max(from, others[i]!.start + others[i]!.count);
    }
    if (from < end) kept.push({ start: from, count: end - from });
  }
  return kept;
}

/** The byte range of `run` on the disk, cut at the end of the region's window. */
export function bytesOf(run: BlockRun, window: ByteRange): ByteRange {
  const start = window.start + run.start * BLOCK_BYTES;
  return { start, end: Math.min(start + run.count * BLOCK_BYTES, window.end) };
}
