import { BackupError } from '../domain/errors.ts';
import { SECTOR_BYTES, type ByteRange } from '../domain/units.ts';
import type { ChangedRange } from './disk-snapshots.ts';

/** A page of a listing of page ranges as the wire has it: `end` is the last byte, not the one after it. */
export interface ListedPage {
  readonly pageRange?: readonly ByteRange[];
  readonly clearRange?: readonly ByteRange[];
  readonly continuationToken?: string;
}

/** @throws RangeError unless both ends are multiples of 512 in order: page ranges could not be cut there */
export function assertSectors({ start, end }: ByteRange): void {
  const whole = (at: number): boolean => Number.isSafeInteger(at) && at >= 0 && at % SECTOR_BYTES === 0;
  if (!whole(start) || !whole(end) || end < start) {
    throw new RangeError(`range ${start} to ${end}: expected two multiples of ${SECTOR_BYTES} in ascending order`);
  }
}

/**
 * Yields what all pages of a listing say about `window`: clipped to it, ascending, neighbours of one kind joined, also across
 * pages. One page is held at a time.
 * @throws BackupError InternalError when the listing goes backwards: nothing may be concluded from it
 */
export async function* listedRanges(
  window: ByteRange,
  nextPage: (continuationToken: string | undefined) => Promise<ListedPage | undefined>,
): AsyncGenerator<ChangedRange> {
  let open: ChangedRange | undefined;
  let token: string | undefined;
  do {
    const page = await nextPage(token);
    if (page === undefined) break;
    for (const listed of inOrder(page)) {
      const range = {
        kind: listed.kind,
        start: Math.max(listed.start, window.start),
        end: Math.min(listed.end, window.end),
      };
      if (range.start >= range.end) continue;
      if (open !== undefined && range.start < open.end) {
        throw new BackupError('InternalError', `page ranges out of order: ${range.start} came after ${open.end}`);
      }
      if (open !== undefined && open.end === range.start && open.kind === range.kind) {
        open = { ...open, end: range.end };
      } else {
        if (open !== undefined) yield open;
        open = range;
      }
    }
    token = page.continuationToken === '' ? undefined : page.continuationToken;
  } while (token !== undefined);
  if (open !== undefined) yield open;
}

/** One page's written and cleared ranges, each list ascending, as one ascending sequence of half-open ranges. */
function* inOrder({ pageRange = [], clearRange = [] }: ListedPage): Generator<ChangedRange> {
  let written = 0;
  let cleared = 0;
  for (;;) {
    const data = pageRange[written];
    const clear = clearRange[cleared];
    if (data !== undefined && (clear === undefined || data.start < clear.start)) {
      yield { kind: 'data', start: data.start, end: data.end + 1 };
      written += 1;
    } else if (clear !== undefined) {
      yield { kind: 'cleared', start: clear.start, end: clear.end + 1 };
      cleared += 1;
    } else return;
  }
}
