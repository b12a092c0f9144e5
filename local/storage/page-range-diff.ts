/**
 * Page ranges and their differences, computed from the range lists that Azurite stores.
 *
 * Azurite keeps, for every page blob and every snapshot, the list of written ranges in ascending order without overlap.
 * Each range names the piece of an append-only extent file that holds its bytes. No piece is ever written twice, so two
 * lists that name the same piece for a page hold the same write of it: a page rewritten with equal bytes is told from an
 * untouched one without reading either.
 *
 * Azure's answer to Get Page Ranges with `prevsnapshot` (https://learn.microsoft.com/rest/api/storageservices/get-page-ranges):
 * a PageRange where a page was written since the previous snapshot and is allocated now, a ClearRange where a page was
 * allocated then and is not now, nothing elsewhere.
 */

/** Bytes in one page, the granularity of page blobs. */
export const PAGE_BYTES = 512;

/** A range of bytes; both ends are inclusive, as on Azure's wire. */
export interface ByteRange {
  start: number;
  end: number;
}

/** A written range as Azurite stores it, with the piece of the extent file that holds its bytes. */
export interface StoredRange extends ByteRange {
  persistency: { id: string; offset: number; count: number };
}

/** `page`: written since and allocated now. `clear`: allocated then, not allocated now. */
export interface ChangedRange extends ByteRange {
  kind: 'page' | 'clear';
}

/**
 * Yields what changed from `before` to `now` inside `window`, ascending, adjacent ranges of one kind joined.
 *
 * Both lists ascend by `start` without overlap; neither is modified. With an empty `before` the result is what is
 * allocated now. Lazy, so that a caller who wants one page of a long list pays for that page alone: O(log n) to find the
 * window, then O(1) for each stored range passed.
 */
export function* diffPageRanges(
  before: readonly StoredRange[],
  now: readonly StoredRange[],
  window: ByteRange,
): Generator<ChangedRange, void, undefined> {
  let position = window.start;
  let beforeIndex = firstEndingAtOrAfter(before, position);
  let nowIndex = firstEndingAtOrAfter(now, position);
  let open: ChangedRange | undefined;

  while (position <= window.end) {
    const older = before[beforeIndex];
    const newer = now[nowIndex];
    if (older === undefined && newer === undefined) break;

    const inOlder = older !== undefined && older.start <= position;
    const inNewer = newer !== undefined && newer.start <= position;
    const end = Math.min(
      window.end,
      older === undefined ? Infinity : inOlder ? older.end : older.start - 1,
      newer === undefined ? Infinity : inNewer ? newer.end : newer.start - 1,
    );
    const kind = inNewer ? (inOlder && sameWrite(older, newer) ? undefined : 'page') : inOlder ? 'clear' : undefined;

    if (open !== undefined && (kind !== open.kind || position !== open.end + 1)) {
      yield open;
      open = undefined;
    }
    if (kind !== undefined) {
      if (open === undefined) open = { kind, start: position, end };
      else open.end = end;
    }

    if (inOlder && older.end === end) beforeIndex += 1;
    if (inNewer && newer.end === end) nowIndex += 1;
    position = end + 1;
  }
  if (open !== undefined) yield open;
}

/** Whether two overlapping stored ranges name the same piece for the pages that they share. */
function sameWrite(a: StoredRange, b: StoredRange): boolean {
  return a.persistency.id === b.persistency.id && a.persistency.offset - a.start === b.persistency.offset - b.start;
}

/** Index of the first range with `end >= position`; the length of the list if there is none. */
function firstEndingAtOrAfter(ranges: readonly StoredRange[], position: number): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const range = ranges[middle];
    if (range !== undefined && range.end < position) low = middle + 1;
    else high = middle;
  }
  return low;
}
