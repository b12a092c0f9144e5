import { type ByteRange, type Geometry, regionRange } from '../domain/units.ts';

/**
 * The windows of a disk in which the regions of a unit can be asked about together: from one of them to the next, for as long as no other
 * region that is `planned` lies between. What no unit has is holes, so a listing of such a window is that of its own. `regions` ascend.
 */
export function windowsOf(
  regions: readonly number[],
  planned: ReadonlySet<number>,
  sizeBytes: number,
  geometry: Geometry,
): ByteRange[] {
  const windows: { start: number; end: number }[] = [];
  let last: number | undefined;
  for (const region of regions) {
    const { start, end } = regionRange(region, sizeBytes, geometry);
    const isNext = last !== undefined && !between(last, region).some((each) => planned.has(each));
    if (isNext) windows.at(-1)!.end = end;
    else windows.push({ start, end });
    last = region;
  }
  return windows;
}

const between = (region: number, next: number): number[] =>
  Array.from({ length: next - region - 1 }, (_, i) => region + 1 + i);

/** A listing of ranges that ascend, in answer to a window. */
type Listing<Range> = (window: ByteRange) => AsyncIterable<Range>;

/**
 * Listings of some windows, each taken once, when something that lies in it is first asked for; what lies in none of them is asked as it is.
 * All ranges of a window are held until the unit ends, so its regions must be small. A listing that fails is asked again.
 */
export class SharedListings<Range extends ByteRange> {
  readonly #list: Listing<Range>;
  readonly #windows: readonly ByteRange[];
  readonly #taken = new Map<ByteRange, Promise<readonly Range[]>>();
  #saved = 0;

  constructor(list: Listing<Range>, windows: readonly ByteRange[]) {
    this.#list = list;
    this.#windows = windows;
  }

  /** How many questions were answered without a listing of their own. */
  get saved(): number {
    return this.#saved;
  }

  /** The ranges of `window`, cut at its ends. */
  async *within(window: ByteRange): AsyncGenerator<Range> {
    const around = this.#windows.find(({ start, end }) => start <= window.start && window.end <= end);
    if (around === undefined || (around.start === window.start && around.end === window.end)) {
      yield* this.#list(window);
      return;
    }
    for (const range of await this.#take(around)) {
      const start = Math.max(range.start, window.start);
      const end = Math.min(range.end, window.end);
      if (start < end) yield { ...range, start, end };
    }
  }

  #take(window: ByteRange): Promise<readonly Range[]> {
    const taken = this.#taken.get(window);
    if (taken !== undefined) {
      this.#saved += 1;
      return taken;
    }
    const taking = collect(this.#list(window));
    this.#taken.set(window, taking);
    taking.catch(() => this.#taken.delete(window));
    return taking;
  }
}

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}
