import { without } from './changes.ts';
import { type BlockRun, CLEARED, type ExtentMap, blockCount, normalise, within } from './extent.ts';
import type { PointId } from './ids.ts';

/**
 * What verify has found wrong.
 * `document`: a manifest or the newest chain record; `layer`: a layer that cannot be read, so that nobody knows what it says;
 * `blocks`: stored bytes of blocks; `index`: something that no restore needs (a pack's own table, counts, a checkpoint);
 * `view`: what the vault shows differs from the snapshot that it was read from; `drill`: a restore that was tried.
 * `stale`: points from before a change that the source had left out was caught; nothing stored is damaged, and no look finds it again.
 */
export const FINDING_KINDS = ['document', 'layer', 'blocks', 'index', 'view', 'drill', 'stale'] as const;
export type FindingKind = (typeof FINDING_KINDS)[number];

/** A layer that lies above others: the point in whose list it is, and what it speaks of. `undefined`: it cannot be read. */
export interface Cover {
  readonly owner: PointId;
  readonly extents: ExtentMap | undefined;
}

/** A live point that includes a disk, and the first point of the disk's chain there. Absent: the first of all. */
export interface ChainPoint {
  readonly point: PointId;
  readonly begins?: PointId | undefined;
}

/** Whether a layer in `owner`'s list is in the disk's chain at `at`. */
export const isInChain = (owner: PointId, { point, begins }: ChainPoint): boolean =>
  owner <= point && (begins === undefined || begins <= owner);

/**
 * The points of `points` (live ones that include the disk, in snapshot order) whose view shows any of `runs`, which lie in a layer
 * in `owner`'s list. `above` are the layers over it, oldest first. One that cannot be read hides nothing here: whoever
 * needs it is told of it too. Where the disk begins anew, nothing of before is shown any more.
 */
export function pointsShowing(
  runs: readonly BlockRun[],
  owner: PointId,
  above: readonly Cover[],
  points: readonly ChainPoint[],
): PointId[] {
  const showing: PointId[] = [];
  let left = runs;
  let next = 0;
  for (const at of points) {
    const { point } = at;
    if (!isInChain(owner, at)) continue;
    for (; next < above.length && above[next]!.owner <= point; next++) left = without(left, above[next]!.extents ?? []);
    if (left.length === 0) break;
    showing.push(point);
  }
  return showing;
}

/**
 * The number of the lowest layer of a stack that has any of `runs`, by the map of who has what; undefined when none has some of them, or
 * they are cleared: who has cleared a block no map tells.
 */
export function writtenFrom(owners: ExtentMap, runs: readonly BlockRun[]): number | undefined {
  const stored = owners.filter(({ frame }) => frame !== CLEARED);
  if (without(runs, stored).length > 0) return undefined;
  return Math.min(...within(stored, runs).map(({ frame }) => frame));
}

/** Most runs that one finding lists: as JSON they fit into one property of a table's row. */
export const MOST_RUNS = 800;

/** Runs in few words: the first `most` of them, how many blocks the others have, and where the last one ends. */
export interface CappedRuns {
  readonly runs: BlockRun[];
  readonly blocksLeftOut: number;
  /** The block after the last one of all. */
  readonly end: number;
}

export function capRuns(all: readonly BlockRun[], most = MOST_RUNS): CappedRuns {
  const joined = normalise(all);
  const last = joined.at(-1);
  return {
    runs: joined.slice(0, most).map(({ start, count }) => ({ start, count })),
    blocksLeftOut: blockCount(joined.slice(most)),
    end: last === undefined ? 0 : last.start + last.count,
  };
}

/** Runs that hold at least all that was capped: what was left out lies somewhere between the last one listed and the end. */
export function uncapRuns({ runs, blocksLeftOut, end }: CappedRuns): BlockRun[] {
  const last = runs.at(-1);
  const start = last === undefined ? 0 : last.start + last.count;
  return blocksLeftOut === 0 ? [...runs] : [...runs, { start, count: end - start }];
}

/** How long known damage is left alone by runs that nobody asked for: it seldom changes, and looking costs reads. */
const LOOK_AGAIN_MS = 7 * 86_400_000;

/**
 * Whether the region of a finding is to be looked at before others: when somebody has asked for the run, when another job met the damage
 * and nobody has looked into it yet (`seenBy` undefined), and else once a week.
 */
export function isSuspect(
  { seenAt, seenBy }: { readonly seenAt: number; readonly seenBy?: string | undefined },
  nowMs: number,
  isAskedFor: boolean,
): boolean {
  return isAskedFor || seenBy === undefined || nowMs - seenAt >= LOOK_AGAIN_MS;
}

/** Regions that could be read in depth, in columns: an item may have some millions. */
export interface Candidates {
  /** What all layers of each take in the vault; NaN: it is none. */
  readonly bytes: Float64Array;
  /** When each was last read whole; -Infinity: never. */
  readonly checkedAt: Float64Array;
  /** 1: something was found there, and it is looked at again first. */
  readonly suspect: Uint8Array;
}

/** What a region costs at least, so that the requests for empty ones have an end too. */
export const LEAST_COST_BYTES = 1_048_576;

/**
 * The regions that a budget of `budgetBytes` pays for, by their numbers. Suspects come first but get no more than half of it; then whoever
 * has waited longest, of those that have waited alike the one with the lowest number. Of each at least one is chosen, however large, so
 * that damage is looked at again at once and a vault with much damage is still read through in time: the last of each may exceed its
 * share. 0 buys nothing. Memory: 4 bytes for each candidate, and what is chosen.
 */
export function chooseRegions({ bytes, checkedAt, suspect }: Candidates, budgetBytes: number): number[] {
  if (budgetBytes <= 0) return [];
  const byAge = new Uint32Array(bytes.length)
    .map((_, index) => index)
    .filter((index) => !Number.isNaN(bytes[index]!))
    .sort((a, b) => checkedAt[a]! - checkedAt[b]! || a - b);
  const chosen: number[] = [];
  const isChosen = new Uint8Array(bytes.length);
  let spent = 0;
  const spend = (isWanted: (index: number) => boolean, upTo: number): void => {
    let isFirst = true;
    for (const index of byAge) {
      if (!isWanted(index)) continue;
      if (!isFirst && spent >= upTo) return;
      isFirst = false;
      isChosen[index] = 1;
      chosen.push(index);
      spent += Math.max(bytes[index]!, LEAST_COST_BYTES);
    }
  };
  spend((index) => suspect[index] === 1, budgetBytes / 2);
  spend((index) => isChosen[index] === 0, budgetBytes);
  return chosen;
}
