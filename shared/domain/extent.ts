/** A run of adjacent blocks, counted from the start of their region. */
export interface BlockRun {
  readonly start: number;
  /** At least 1. */
  readonly count: number;
}

/** Marks blocks that were cleared: they read as zeros and nothing is stored for them. */
export const CLEARED = -1;

/**
 * A run of blocks and where their bytes are: in frame number `frame` of the frame table that goes with the map, from its
 * `slot`-th block on; or nowhere, when `frame` is CLEARED (then `slot` is 0).
 */
export interface Extent extends BlockRun {
  readonly frame: number;
  readonly slot: number;
}

/** Extents in ascending order of `start`, without overlap. Blocks in none of them are not spoken of. */
export type ExtentMap = readonly Extent[];

/** The part of `extent` from block `start` up to, not including, block `end`; both lie inside it. */
export function cut(extent: Extent, start: number, end: number): Extent {
  const slot = extent.frame === CLEARED ? 0 : extent.slot + (start - extent.start);
  return { start, count: end - start, frame: extent.frame, slot };
}

/** Adds `extent` to the end of `map`, as part of the last extent where it continues that one. */
export function append(map: Extent[], extent: Extent): void {
  const last = map.at(-1);
  if (
    last !== undefined &&
    last.start + last.count === extent.start &&
    last.frame === extent.frame &&
    (extent.frame === CLEARED || last.slot + last.count === extent.slot)
  ) {
    map[map.length - 1] = { ...last, count: last.count + extent.count };
  } else {
    map.push(extent);
  }
}

/** Number of blocks in `runs`. */
export function blockCount(runs: readonly BlockRun[]): number {
  return runs.reduce((sum, run) => sum + run.count, 0);
}

/** Number of blocks of `map` whose bytes are stored. */
export function dataBlocks(map: ExtentMap): number {
  return map.reduce((sum, extent) => (extent.frame === CLEARED ? sum : sum + extent.count), 0);
}

/** The parts of `map` that lie in none of `runs`. Both ascend; O(map + runs). */
export function subtract(map: ExtentMap, runs: readonly BlockRun[]): Extent[] {
  const kept: Extent[] = [];
  let next = 0;
  for (const extent of map) {
    const end = extent.start + extent.count;
    let from = extent.start;
    while (next < runs.length && runs[next]!.start + runs[next]!.count <= from) next++;
    for (let i = next; i < runs.length && runs[i]!.start < end; i++) {
      const run = runs[i]!;
      if (run.start > from) kept.push(cut(extent, from, run.start));
      from = Math.max(from, run.start + run.count);
    }
    if (from < end) kept.push(cut(extent, from, end));
  }
  return kept;
}

/** The parts of `map` that lie in `runs`. Both ascend; O(map + runs). */
export function within(map: ExtentMap, runs: readonly BlockRun[]): Extent[] {
  const kept: Extent[] = [];
  let next = 0;
  for (const extent of map) {
    const end = extent.start + extent.count;
    while (next < runs.length && runs[next]!.start + runs[next]!.count <= extent.start) next++;
    for (let i = next; i < runs.length && runs[i]!.start < end; i++) {
      const run = runs[i]!;
      kept.push(cut(extent, Math.max(extent.start, run.start), Math.min(end, run.start + run.count)));
    }
  }
  return kept;
}

/** Joins two maps that have no block in common into one. O(a + b). */
export function interleave(a: ExtentMap, b: ExtentMap): Extent[] {
  const joined: Extent[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const fromA = j >= b.length || (i < a.length && a[i]!.start < b[j]!.start);
    append(joined, fromA ? a[i++]! : b[j++]!);
  }
  return joined;
}

/** Sorts runs and joins those that touch or overlap. */
export function normalise(runs: readonly BlockRun[]): BlockRun[] {
  const joined: { start: number; count: number }[] = [];
  for (const run of runs.filter(({ count }) => count > 0).sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1);
    if (last !== undefined && run.start <= last.start + last.count) {
      last.count = Math.max(last.count, run.start + run.count - last.start);
    } else {
      joined.push({ start: run.start, count: run.count });
    }
  }
  return joined;
}
