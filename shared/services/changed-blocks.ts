import { AUDIT_GAP_BLOCKS } from '../domain/audit.ts';
import { bytesOf, storedRuns, touchedBlocks, without } from '../domain/changes.ts';
import { type BlockRun, blockCount, normalise } from '../domain/extent.ts';
import type { KnownBlocks } from '../domain/known-blocks.ts';
import { BLOCK_BYTES, type ByteRange, type Geometry, blocksIn, regionRange } from '../domain/units.ts';
import type { DiskSnapshots } from '../disk/disk-snapshots.ts';
import type { PlanDisk } from '../format/documents.ts';

/** Most ranges in one page of a listing: https://learn.microsoft.com/rest/api/storageservices/get-page-ranges */
const RANGES_PER_PAGE = 10_000;

/** Which blocks of a region a transfer has to look at. */
export interface ChangedBlocks {
  /** The region's bytes on the disk as it is now; block numbers count from its start. */
  readonly window: ByteRange;
  /**
   * To be read: they may turn out to be equal to what the base has, or to be zero. What is audited is in them, and gaps that are cheaper
   * read than asked around.
   */
  readonly read: readonly BlockRun[];
  /** What of it is audited. A run that has any of it is read by one request, however long: so the plan has counted. */
  readonly audited: readonly BlockRun[];
  /** What the source calls changed, cleared blocks included. Where the source is no diff, everything that it was asked about. */
  readonly reported: readonly BlockRun[];
  /** Known to be zero without reading, among them what the source has not told and the audit has found. */
  readonly cleared: readonly BlockRun[];
  /** Requests that the listings have cost, and requests for bytes that are saved by reading across gaps. */
  readonly requests: number;
  readonly savedRequests: number;
}

/** What a source is asked for. */
export type Source = Pick<DiskSnapshots, 'allocated' | 'changed' | 'read' | 'readLong'>;

/** How a region is asked about. */
export interface Asking {
  readonly geometry: Geometry;
  /** What a request costs in blocks that could have been read instead. */
  readonly requestBlocks: number;
  /** Blocks of the region in which what the source calls unchanged is read too. */
  readonly audit?: BlockRun | undefined;
}

/**
 * Asks the source that the plan chose for the blocks of `region` that may differ from `base`, the region's view at the plan's base.
 * What lies past the disk's end now is cleared, whatever the source says of it.
 */
export async function changedBlocks(
  snapshots: Source,
  disk: PlanDisk,
  region: number,
  base: KnownBlocks,
  { geometry, requestBlocks, audit }: Asking,
): Promise<ChangedBlocks> {
  const window = regionRange(region, disk.sizeBytes, geometry);
  const blocks = blocksIn(window.end - window.start);
  const stored = storedRuns(base.extents);
  const pastEnd = without(stored, [{ start: 0, count: blocks }]);
  const isGone = window.start === window.end;
  const found = isGone ? { read: [], cleared: [], ranges: 0 } : await ask(snapshots, disk, window, stored);
  const changed = normalise([...found.read, ...cutBlock(disk, window)]);
  const isAudited = audit !== undefined && !isGone && disk.source === 'diff';
  const audited = isAudited ? await lookInto(snapshots, disk, window, audit, stored) : { read: [], cleared: [] };
  const read = normalise([...changed, ...audited.read]);
  const cleared = normalise([...without(normalise([...found.cleared, ...audited.cleared]), read), ...pastEnd]);
  const joined = acrossGaps(read, cleared, requestBlocks);
  return {
    window,
    read: joined,
    audited: audited.read,
    reported: normalise([...changed, ...found.cleared, ...pastEnd]),
    cleared,
    requests: (isGone ? 0 : 1 + Math.floor(found.ranges / RANGES_PER_PAGE)) + (isAudited ? 1 : 0),
    savedRequests: read.length - joined.length,
  };
}

/**
 * The audit: what of the blocks of `audit` the disk has allocated is to be read, with the gaps between that the plan has counted;
 * and what the base has stored there and the disk has not allocated is zero.
 */
async function lookInto(
  snapshots: Source,
  disk: PlanDisk,
  window: ByteRange,
  audit: BlockRun,
  stored: readonly BlockRun[],
): Promise<{ read: BlockRun[]; cleared: BlockRun[] }> {
  const range = bytesOf(audit, window);
  const mostGap = disk.audit?.gap ?? AUDIT_GAP_BLOCKS;
  const allocated: ByteRange[] = [];
  for await (const each of snapshots.allocated({ url: disk.url, id: disk.snapshot }, range)) allocated.push(each);
  const runs = touchedBlocks(allocated, window);
  const gaps = runs.slice(1).map((run, i) => gapBetween(runs[i]!, run));
  const read = normalise([...runs, ...gaps.filter(({ count }) => count <= mostGap)]);
  return { read, cleared: without(intersection(stored, audit), read) };
}

/** The parts of `runs` that lie in `one`. */
function intersection(runs: readonly BlockRun[], one: BlockRun): BlockRun[] {
  return without(runs, without(runs, [one]));
}

/**
 * `runs`, joined across the smallest gaps between them for as long as the reads are bound by the number of requests rather than by
 * bytes. What is read in a gap turns out to be what the base has, and is dropped by its hash; where blocks are known to be
 * cleared nothing is joined.
 */
function acrossGaps(runs: readonly BlockRun[], cleared: readonly BlockRun[], requestBlocks: number): BlockRun[] {
  const gaps = runs.slice(1).map((run, i) => gapBetween(runs[i]!, run));
  const clear = without(gaps, cleared);
  // A gap with something cleared in it is not among what is left, or only in part.
  const whole = new Map(clear.map(({ start, count }) => [start, count]));
  const open = gaps.filter(({ start, count }) => whole.get(start) === count).sort((x, y) => x.count - y.count);
  const joined = new Set<number>();
  let requests = runs.length;
  let blocks = blockCount(runs);
  for (const { start, count } of open) {
    if (requests * requestBlocks < blocks + count) break;
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
  snapshots: Source,
  disk: PlanDisk,
  window: ByteRange,
  stored: readonly BlockRun[],
): Promise<{ read: BlockRun[]; cleared: BlockRun[]; ranges: number }> {
  const snapshot = { url: disk.url, id: disk.snapshot };
  if (disk.source !== 'diff' || disk.since === null) {
    const allocated: ByteRange[] = [];
    for await (const range of snapshots.allocated(snapshot, window)) allocated.push(range);
    const read = touchedBlocks(allocated, window);
    return { read, cleared: disk.source === 'full' ? [] : without(stored, read), ranges: allocated.length };
  }
  const data: ByteRange[] = [];
  const cleared: ByteRange[] = [];
  for await (const range of snapshots.changed(snapshot, { url: disk.url, id: disk.since }, window)) {
    (range.kind === 'data' ? data : cleared).push(range);
  }
  const written = touchedBlocks(data, window);
  const whole = without(coveredBlocks(cleared, window), written);
  const partly = without(touchedBlocks(cleared, window), whole);
  return { read: normalise([...written, ...partly]), cleared: whole, ranges: data.length + cleared.length };
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

/** A request for bytes of a region: from `block` on. */
export interface ReadPiece {
  readonly block: number;
  readonly range: ByteRange;
}

/** `runs` as byte ranges of the disk of at most `mostBytes` each. */
export function readPieces(runs: readonly BlockRun[], window: ByteRange, mostBytes: number): ReadPiece[] {
  const step = Math.floor(mostBytes / BLOCK_BYTES);
  return runs.flatMap((run) =>
    Array.from({ length: Math.ceil(run.count / step) }, (_, i) => {
      const start = run.start + i * step;
      const count = Math.min(step, run.start + run.count - start);
      return { block: start, range: bytesOf({ start, count }, window) };
    }),
  );
}

/**
 * How `read` is read, in order: by pieces of at most `mostBytes`, several at once, but for runs in which anything is audited and that are
 * longer, each by a request of its own.
 */
export function readPlan(
  { read, audited, window }: Pick<ChangedBlocks, 'read' | 'audited' | 'window'>,
  mostBytes: number,
): ({ readonly long: ReadPiece } | { readonly pieces: readonly ReadPiece[] })[] {
  const isLong = (run: BlockRun): boolean =>
    run.count * BLOCK_BYTES > mostBytes && blockCount(without([run], audited)) < run.count;
  const plan: ({ long: ReadPiece } | { pieces: ReadPiece[] })[] = [];
  for (const run of read) {
    if (isLong(run)) {
      plan.push({ long: { block: run.start, range: bytesOf(run, window) } });
      continue;
    }
    const pieces = readPieces([run], window, mostBytes);
    const last = plan.at(-1);
    if (last !== undefined && 'pieces' in last) last.pieces.push(...pieces);
    else plan.push({ pieces });
  }
  return plan;
}
