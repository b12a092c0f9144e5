import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ChangedRange, DiskSnapshots } from '../../shared/disk/disk-snapshots.ts';
import type { ByteRange } from '../../shared/domain/units.ts';
import { rememberedListings } from '../../shared/services/remembered-listings.ts';

const SECTOR = 512;
const URL = 'https://disks0.example/vhds/vm-0.vhd';
const NEW = { url: URL, id: 't2' };
const OLD = { url: URL, id: 't1' };

/** Snapshots that list `ranges`, cut at the window as the port says, and count how often they are asked. */
function listing(ranges: readonly ByteRange[]): { snapshots: DiskSnapshots; asked: () => number } {
  let asked = 0;
  async function* within({ start, end }: ByteRange): AsyncGenerator<ByteRange> {
    asked++;
    for (const range of ranges)
      if (range.start < end && range.end > start)
        yield { start: Math.max(range.start, start), end: Math.min(range.end, end) };
  }
  async function* changed(window: ByteRange): AsyncGenerator<ChangedRange> {
    for await (const range of within(window)) yield { kind: range.start % 1024 === 0 ? 'data' : 'cleared', ...range };
  }
  const snapshots: Pick<DiskSnapshots, 'allocated' | 'changed'> = {
    allocated: (_, window) => within(window),
    changed: (_, __, window) => changed(window),
  };
  return { snapshots: snapshots as DiskSnapshots, asked: () => asked };
}

async function taken<T>(ranges: AsyncIterable<T>, most = Infinity): Promise<T[]> {
  const found: T[] = [];
  if (most === 0) return found;
  for await (const range of ranges) {
    found.push(range);
    if (found.length >= most) break;
  }
  return found;
}

/** Ranges that ascend and neither overlap nor touch, and windows of their addresses. */
const disks = fc
  .array(fc.record({ gap: fc.integer({ min: 1, max: 5 }), length: fc.integer({ min: 1, max: 5 }) }), { maxLength: 20 })
  .map((runs) => {
    let at = 0;
    return runs.map(({ gap, length }) => {
      const start = (at + gap) * SECTOR;
      at += gap + length;
      return { start, end: at * SECTOR };
    });
  });
const windows = fc
  .tuple(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 200 }))
  .map(([a, b]) => ({ start: Math.min(a, b) * SECTOR, end: Math.max(a, b) * SECTOR }));

describe('listings that are remembered', () => {
  it('answer every window as the snapshots do, wherever callers have stopped before', () =>
    fc.assert(
      fc.asyncProperty(
        disks,
        fc.array(fc.tuple(windows, fc.option(fc.nat({ max: 6 }), { nil: Infinity })), { maxLength: 8 }),
        async (ranges, questions) => {
          const { snapshots } = listing(ranges);
          const remembered = rememberedListings(snapshots);
          for (const [window, most] of questions)
            expect(await taken(remembered.allocated(NEW, window), most)).toEqual(
              await taken(snapshots.allocated(NEW, window), most),
            );
        },
      ),
    ));

  it('ask once for what has been listed, and again for what has not', async () => {
    const { snapshots, asked } = listing([
      { start: 0, end: 1024 },
      { start: 4096, end: 8192 },
      { start: 65_536, end: 66_560 },
    ]);
    const remembered = rememberedListings(snapshots);
    const window = { start: 0, end: 131_072 };
    await taken(remembered.changed(NEW, OLD, window));
    expect(await taken(remembered.changed(NEW, OLD, { start: 6144, end: 66_048 }))).toEqual([
      { kind: 'data', start: 6144, end: 8192 },
      { kind: 'data', start: 65_536, end: 66_048 },
    ]);
    expect(asked()).toBe(1);
    await taken(remembered.allocated(NEW, window), 2); // stopped at 8192
    await taken(remembered.allocated(NEW, { start: 512, end: 8192 }));
    expect(asked()).toBe(2);
    await taken(remembered.allocated(NEW, { start: 512, end: 8704 }));
    expect(asked()).toBe(3);
    await taken(remembered.changed(NEW, { ...OLD, id: 't0' }, window)); // since another snapshot
    await taken(remembered.allocated(OLD, { start: 512, end: 1024 })); // of another snapshot
    expect(asked()).toBe(5);
  });

  it('keep no more than a page', async () => {
    const { snapshots, asked } = listing(
      Array.from({ length: 10_001 }, (_, i) => ({ start: i * 1024, end: i * 1024 + SECTOR })),
    );
    const remembered = rememberedListings(snapshots);
    const window = { start: 0, end: 2 ** 30 };
    expect(await taken(remembered.allocated(NEW, window))).toHaveLength(10_001);
    expect(await taken(remembered.allocated(NEW, window))).toHaveLength(10_001);
    expect(asked()).toBe(2);
  });
});
