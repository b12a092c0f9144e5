import { bytesOf, storedRuns, touchedBlocks, without } from '../domain/changes.ts';
import { type BlockRun, blockCount, normalise } from '../domain/extent.ts';
import type { KnownBlocks } from '../domain/known-blocks.ts';
import { BLOCK_BYTES, type ByteRange, type Geometry, blocksIn, regionRange } from '../domain/units.ts';
import type { DiskSnapshots } from '../disk/disk-snapshots.ts';
import type { PlanDisk } from '../format/documents.ts';

/**
 * What a request costs in blocks: a standard page blob gives 60 MiB and 500 requests a second.
 * https://learn.microsoft.com/azure/storage/blobs/scalability-targets
 */
const REQUEST_BLOCKS = (60 * 1024 * 1024) / 500 / BLOCK_BYTES;

/** Which blocks of a region a transfer has to look at. */
export interface ChangedBlocks {
  /** The region's bytes on the disk as it is now; block numbers count from its start. */
  readonly window: ByteRange;
  /** To be read: they may turn out to be equal to what the base has, or to be zero. Gaps that are cheaper read than asked around are in them. */
  readonly read: readonly BlockRun[];
  /** Known to be zero without reading. */
  readonly cleared: readonly BlockRun[];
}

/**
 * Asks the source that the plan chose for the blocks of `region` that may differ from `base`, the region's view at the plan's base.
 * What lies past the disk's end now is cleared, whatever the source says of it.
 */
export async function changedBlocks(
  snapshots: DiskSnapshots,
  disk: PlanDisk,
  region: number,
  base: KnownBlocks,
  geometry: Geometry,
): Promise<ChangedBlocks> {
  const window = regionRange(region, disk.sizeBytes, geometry);
  const blocks = blocksIn(window.end - window.start);
  const stored = storedRuns(base.extents);
  const pastEnd = without(stored, [{ start: 0, count: blocks }]);
  const found = window.start === window.end ? { read: [], cleared: [] } : await ask(snapshots, disk, window, stored);
  const read = normalise([...found.read, ...cutBlock(disk, window)]);
  const cleared = normalise([...without(found.cleared, read), ...pastEnd]);
  return { window, read: acrossGaps(read, cleared), cleared };
}

/**
 * `runs`, joined across the smallest gaps between them for as long as the reads are bound by the number of requests rather than by
 * bytes. What is read in a gap turns out to be what the base has, and is dropped by its hash; where blocks are known to be
 * cleared nothing is joined.
 */
function acrossGaps(runs: readonly BlockRun[], cleared: readonly BlockRun[]): BlockRun[] {
  const gaps = runs.slice(1).map((run, i) => gapBetween(runs[i]!, run));
  const clear = without(gaps, cleared);
  // A gap with something cleared in it is not among what is left, or only in part.
  const whole = new Map(clear.map(({ start, count }) => [start, count]));
  const open = gaps.filter(({ start, count }) => whole.get(start) === count).sort((x, y) => x.count - y.count);
  const joined = new Set<number>();
  let requests = runs.length;
  let blocks = blockCount(runs);
  for (const { start, count } of open) {
    if (requests * REQUEST_BLOCKS < blocks + count) break;
    joined.add(start);
    requests -= 1;
    blocks += count;
  }
  return normalise([...runs, ...gaps.filter(({ start }) => joined.has(start))]);
}

function gapBetween(run: BlockRun, next: BlockRun): BlockRun {
  const start = run.start + run.count;
  return { start, count: next.start - start };
}

async function ask(
  snapshots: DiskSnapshots,
  disk: PlanDisk,
  window: ByteRange,
  stored: readonly BlockRun[],
): Promise<{ read: BlockRun[]; cleared: BlockRun[] }> {
  const snapshot = { url: disk.url, id: disk.snapshot };
  if (disk.source !== 'diff' || disk.since === null) {
    const allocated: ByteRange[] = [];
    for await (const range of snapshots.allocated(snapshot, window)) allocated.push(range);
    const read = touchedBlocks(allocated, window);
    return { read, cleared: disk.source === 'full' ? [] : without(stored, read) };
  }
  const data: ByteRange[] = [];
  const cleared: ByteRange[] = [];
  for await (const range of snapshots.changed(snapshot, { url: disk.url, id: disk.since }, window)) {
    (range.kind === 'data' ? data : cleared).push(range);
  }
  const written = touchedBlocks(data, window);
  const whole = without(coveredBlocks(cleared, window), written);
  const partly = without(touchedBlocks(cleared, window), whole);
  return { read: normalise([...written, ...partly]), cleared: whole };
}

/** The blocks that lie in `ranges` with all their bytes on the disk. */
function coveredBlocks(ranges: readonly ByteRange[], window: ByteRange): BlockRun[] {
  return normalise(
    ranges.map((range) => {
      const start = Math.ceil((range.start - window.start) / BLOCK_BYTES);
      const end =
        range.end === window.end
          ? blocksIn(window.end - window.start)
          : Math.floor((range.end - window.start) / BLOCK_BYTES);
      return { start, count: end - start };
    }),
  );
}

/** After a shrink the disk may end in the middle of a block that the base has in full: it is looked at again. */
function cutBlock(disk: PlanDisk, window: ByteRange): BlockRun[] {
  const shrunk = disk.baseSizeBytes !== null && disk.baseSizeBytes > disk.sizeBytes;
  const bytes = window.end - window.start;
  if (!shrunk || window.end !== disk.sizeBytes || bytes % BLOCK_BYTES === 0) return [];
  return [{ start: blocksIn(bytes) - 1, count: 1 }];
}

/** `runs` as byte ranges of the disk of at most `mostBytes` each. */
export function readPieces(
  runs: readonly BlockRun[],
  window: ByteRange,
  mostBytes: number,
): { block: number; range: ByteRange }[] {
  const step = Math.floor(mostBytes / BLOCK_BYTES);
  return runs.flatMap((run) =>
    Array.from({ length: Math.ceil(run.count / step) }, (_, i) => {
      const start = run.start + i * step;
      const count = Math.min(step, run.start + run.count - start);
      return { block: start, range: bytesOf({ start, count }, window) };
    }),
  );
}
