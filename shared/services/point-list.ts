import type { PointRow } from '../catalog/catalog.ts';
import type { PointId } from '../domain/ids.ts';
import type { Ports } from './ports.ts';

/*
 * Recovery points, newest first, a page at a time. Their rows lie under the point's id, which ascends with the time of the backup that made
 * it: so the newest stand last, where a table cannot begin. A page is looked for in windows of time that go back and double.
 */

const DAY_MS = 86_400_000;
/** The first window: more points than a screen has, with a backup a day fewer than a page. */
const FIRST_WINDOW_MS = 7 * DAY_MS;
/** A point's id is of when its backup began, its time of when the snapshots were taken: after that, and before the job would have timed out. */
const TAKEN_AFTER_MS = 15 * DAY_MS;
/** By how much the clocks of two workers may differ, and more. */
const SKEW_MS = DAY_MS;
/** The last time whose id has 17 digits. */
const LAST_MS = 10 ** 13 - 1;

/** What of a point tells whether there is anything to restore. */
export type PointState = Pick<PointRow, 'instant' | 'vault'>;

/** A point that can be restored: its snapshots are there, or it is in the vault. Others are not shown. */
export function isVisible({ instant, vault }: PointState): boolean {
  return instant === 'Valid' || vault === 'Valid';
}

const keyAt = (ms: number): string =>
  `${BigInt(Math.min(LAST_MS, Math.max(0, Math.trunc(ms)))) * 10_000n}`.padStart(17, '0');
const later = (a: string, b: string): string => (a > b ? a : b);

/**
 * Yields the visible points of an item with times from `from` to `until`, both included, below the point `before`, newest first. `newest` is the
 * last one that is known of, so that the list of an item which has been stopped for years begins there.
 */
export async function* pointsNewestFirst(
  { catalog: { points }, clock }: Pick<Ports, 'catalog' | 'clock'>,
  partition: string,
  asked: {
    readonly from?: number | undefined;
    readonly until?: number | undefined;
    readonly before?: string | undefined;
    readonly newest?: PointId | undefined;
  },
): AsyncGenerator<PointRow> {
  const { from = -Infinity, until = Infinity, before } = asked;
  let oldest: string | undefined;
  for await (const { key } of points.listColumns(partition, ['point'], { top: 1 })) oldest = key;
  if (oldest === undefined) return;
  const floor = later(oldest, keyAt(from - TAKEN_AFTER_MS));
  const untilKey = until + SKEW_MS < LAST_MS ? keyAt(until + SKEW_MS) : undefined;
  let to = [before, untilKey].filter((key) => key !== undefined).sort()[0];
  const known = [to, asked.newest].filter((key) => key !== undefined).map((key) => Number(BigInt(key) / 10_000n));
  let end = Math.min(clock.now(), ...known);
  for (let window = FIRST_WINDOW_MS; to === undefined || to > floor; window *= 2) {
    end -= window;
    const least = later(floor, keyAt(end));
    const rows: PointRow[] = [];
    for await (const { row } of points.list(partition, { from: least, to })) rows.push(row);
    for (const row of rows.reverse()) if (isVisible(row) && row.time >= from && row.time <= until) yield row;
    to = least;
  }
}

/** What an item's points come to, from a few columns of their rows. */
export interface PointSummary {
  readonly count: number;
  readonly oldest: number | undefined;
  readonly newest: number | undefined;
  readonly oldestInVault: number | undefined;
}

/** Sums up the visible points of an item. */
export async function summaryOfPoints({ catalog }: Pick<Ports, 'catalog'>, partition: string): Promise<PointSummary> {
  let count = 0;
  let [oldest, newest, oldestInVault]: (number | undefined)[] = [];
  for await (const { row } of catalog.points.listColumns(partition, ['time', 'instant', 'vault'])) {
    if (!isVisible(row)) continue;
    count++;
    oldest ??= row.time;
    newest = row.time;
    if (row.vault === 'Valid') oldestInVault ??= row.time;
  }
  return { count, oldest, newest, oldestInVault };
}

/**
 * The full point among an item's visible ones: the first in the vault, on which the others stand; while there is none, the first. It is the first
 * row or one of the first, so that little more is read than that.
 */
export async function fullPointOf(
  { catalog }: Pick<Ports, 'catalog'>,
  partition: string,
): Promise<PointId | undefined> {
  let first: PointId | undefined;
  const columns = ['instant', 'vault'] as const;
  for (let from: string | undefined, top = 4; ; top *= 4) {
    let read = 0;
    for await (const { key, row } of catalog.points.listColumns(partition, columns, { from, top })) {
      read++;
      from = key;
      if (row.vault === 'Valid') return key as PointId;
      if (isVisible(row)) first ??= key as PointId;
    }
    if (read < top) return first;
  }
}
