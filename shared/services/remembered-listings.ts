import type { ByteRange } from '../domain/units.ts';
import type { ChangedRange, DiskSnapshot, DiskSnapshots } from '../disk/disk-snapshots.ts';

/** Most ranges that are kept: as many as a page of a listing has. */
const MOST_RANGES = 10_000;

/** A stretch of a listing: all of its ranges between two addresses. */
interface Stretch<Range> {
  readonly of: string;
  readonly start: number;
  readonly end: number;
  readonly ranges: readonly Range[];
}

/**
 * `snapshots`, which answers out of memory what has been listed before: snapshots never change. So a handler that plans a transfer and works it
 * off at once asks for each page once. What is more than a page is asked for again. To be held for one step and no longer.
 */
export function rememberedListings(snapshots: DiskSnapshots): DiskSnapshots {
  const allocated = new Memory<ByteRange>();
  const changed = new Memory<ChangedRange>();
  return {
    ...snapshots,
    allocated: (snapshot, window) =>
      allocated.answer(nameOf(snapshot), window, () => snapshots.allocated(snapshot, window)),
    changed: (snapshot, since, window) =>
      changed.answer(`${nameOf(snapshot)} ${nameOf(since)}`, window, () => snapshots.changed(snapshot, since, window)),
  };
}

const nameOf = ({ url, id }: DiskSnapshot): string => `${url}?${id}`;

class Memory<Range extends ByteRange> {
  readonly #stretches: Stretch<Range>[] = [];
  #kept = 0;

  async *answer(of: string, { start, end }: ByteRange, list: () => AsyncIterable<Range>): AsyncGenerator<Range> {
    const known = this.#stretches.find((own) => own.of === of && own.start <= start && own.end >= end);
    if (known === undefined) yield* this.#keeping({ of, start }, end, list());
    else
      for (const range of known.ranges)
        if (range.start < end && range.end > start)
          yield { ...range, start: Math.max(range.start, start), end: Math.min(range.end, end) };
  }

  /** Where the caller stops early it has learned of all up to the end of the last range. */
  async *#keeping(
    at: Pick<Stretch<Range>, 'of' | 'start'>,
    end: number,
    listing: AsyncIterable<Range>,
  ): AsyncGenerator<Range> {
    const ranges: Range[] = [];
    let told = at.start;
    let isFull = false;
    try {
      for await (const range of listing) {
        isFull ||= this.#kept + ranges.length >= MOST_RANGES;
        if (!isFull) {
          ranges.push(range);
          told = range.end;
        }
        yield range;
      }
      if (!isFull) told = end;
    } finally {
      if (told > at.start) {
        this.#kept += ranges.length;
        this.#stretches.push({ ...at, end: told, ranges });
      }
    }
  }
}
