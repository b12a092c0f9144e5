import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PointRow } from '../../shared/catalog/catalog.ts';
import { itemId, nextPointId } from '../../shared/domain/ids.ts';
import { fullPointOf, isVisible, pointsNewestFirst, summaryOfPoints } from '../../shared/services/point-list.ts';
import { memoryTable } from '../support/memory-catalog.ts';
import { DAY_MS, ManualClock } from '../support/world.ts';

/* Lists of points against the plain rows, and how much of them is read. */

const P = 'vault-1|vm-00000001';
const T0 = Date.parse('2026-11-22T00:00:00Z');

function point(begunAt: number, change: Partial<PointRow> = {}): PointRow {
  return {
    point: nextPointId(begunAt, undefined),
    itemId: itemId('vm-00000001'),
    time: begunAt + 1000,
    instant: 'Valid',
    vault: 'Valid',
    sizeBytes: 0,
    ...change,
  } as PointRow;
}

function tableOf(rows: readonly PointRow[], now = T0) {
  const points = memoryTable<PointRow>();
  let read = 0;
  const counted = {
    ...points,
    async *list(...asked: Parameters<typeof points.list>) {
      for await (const row of points.list(...asked)) {
        read++;
        yield row;
      }
    },
    async *listColumns(...asked: Parameters<typeof points.listColumns>) {
      for await (const row of points.listColumns(...asked)) {
        read++;
        yield row;
      }
    },
  };
  const clock = new ManualClock();
  clock.advance(now - clock.now());
  const ports = { catalog: { points: counted }, clock } as unknown as Parameters<typeof pointsNewestFirst>[0];
  return {
    ports,
    readRows: () => read,
    filled: (async () => {
      for (const row of rows) await points.insert(P, row.point, row);
    })(),
  };
}

async function listed(
  ports: Parameters<typeof pointsNewestFirst>[0],
  asked: Parameters<typeof pointsNewestFirst>[2],
  most = Infinity,
): Promise<string[]> {
  const found: string[] = [];
  for await (const row of pointsNewestFirst(ports, P, asked)) if (found.push(row.point) === most) break;
  return found;
}

/** Days and hours before T0. */
const instant = fc
  .tuple(fc.integer({ min: -1, max: 4000 }), fc.nat(23))
  .map(([days, hours]) => T0 - days * DAY_MS - hours * 3_600_000);

describe('a list of points', () => {
  it('has those of its times, newest first, from wherever it goes on', () =>
    fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(
          fc.record({ at: instant, taken: fc.nat(3 * DAY_MS), state: fc.constantFrom('both', 'vault', 'gone') }),
          { selector: ({ at }) => at, maxLength: 30 },
        ),
        fc.option(instant, { nil: undefined }),
        fc.option(instant, { nil: undefined }),
        fc.option(fc.nat(29), { nil: undefined }),
        fc.option(instant, { nil: undefined }),
        async (made, from, until, last, told) => {
          const rows = made
            .map(({ at, taken, state }) =>
              point(at, {
                time: at + taken,
                instant: state === 'both' ? 'Valid' : 'Deleted',
                vault: state === 'gone' ? 'None' : 'Valid',
              }),
            )
            .sort((a, b) => (a.point < b.point ? 1 : -1));
          const before = last === undefined ? undefined : rows[last]?.point;
          const right = rows.filter(
            (row) =>
              isVisible(row) &&
              row.time >= (from ?? -Infinity) &&
              row.time <= (until ?? Infinity) &&
              (before === undefined || row.point < before),
          );
          const { ports, filled } = tableOf(rows);
          await filled;
          const newest = told === undefined ? undefined : nextPointId(told, undefined);
          expect(await listed(ports, { from, until, before, newest })).toEqual(right.map((row) => row.point));
        },
      ),
      { numRuns: 200 },
    ));

  it.each([0, 1999])('reads little more than a page of 2,000 points, %i days after the newest', async (later) => {
    const rows = Array.from({ length: 2000 }, (_, i) => point(T0 - i * DAY_MS));
    const { ports, filled, readRows } = tableOf(rows, T0 + later * DAY_MS);
    await filled;
    const first = await listed(ports, { newest: rows[0]!.point }, 20);
    expect(first).toEqual(rows.slice(0, 20).map((row) => row.point));
    expect(readRows()).toBeLessThanOrEqual(60);
    const before = readRows();
    await listed(ports, { before: rows[1000]!.point }, 20);
    expect(readRows() - before).toBeLessThanOrEqual(60);
  });

  it('reads little more than the days that are asked for', async () => {
    const rows = Array.from({ length: 2000 }, (_, i) => point(T0 - i * DAY_MS));
    const { ports, filled, readRows } = tableOf(rows);
    await filled;
    const day = T0 - 1000 * DAY_MS;
    expect(await listed(ports, { from: day, until: day + DAY_MS - 1 })).toEqual([rows[1000]!.point]);
    expect(readRows()).toBeLessThanOrEqual(25);
  });

  it('takes any time that a filter may have', async () => {
    const { ports, filled } = tableOf([point(T0)]);
    await filled;
    for (const far of [-62_135_596_800_000, 0, 253_402_300_799_999]) {
      expect(await listed(ports, { until: far })).toHaveLength(far > T0 ? 1 : 0);
      expect(await listed(ports, { from: far })).toHaveLength(far > T0 ? 0 : 1);
    }
    expect(await listed(tableOf([]).ports, {})).toEqual([]);
  });
});

describe('of an item', () => {
  it('the full point is the first in the vault, or the first while none is', async () => {
    const fullOf = async (...rows: PointRow[]): Promise<string | undefined> => {
      const { ports, filled } = tableOf(rows);
      await filled;
      return fullPointOf(ports, P);
    };
    const gone = Array.from({ length: 9 }, (_, i) => point(i, { instant: 'Lost', vault: 'None' }));
    const snapshotOnly = point(T0, { vault: 'None' });
    const vaulted = point(T0 + 1);
    expect(await fullOf(...gone, snapshotOnly, vaulted, point(T0 + 2))).toBe(vaulted.point);
    expect(await fullOf(...gone, snapshotOnly, point(T0 + 2, { vault: 'None' }))).toBe(snapshotOnly.point);
    expect(await fullOf(...gone)).toBeUndefined();
    const many = tableOf(Array.from({ length: 100 }, (_, i) => point(T0 + i)));
    await many.filled;
    await fullPointOf(many.ports, P);
    expect(many.readRows()).toBeLessThanOrEqual(4);
  });

  it('the points are summed up without those that cannot be restored', async () => {
    const { ports, filled } = tableOf([
      point(T0, { instant: 'Lost', vault: 'None' }),
      point(T0 + 1, { vault: 'None' }),
      point(T0 + 2),
      point(T0 + 3),
    ]);
    await filled;
    expect(await summaryOfPoints(ports, P)).toEqual({
      count: 3,
      oldest: T0 + 1001,
      oldestInVault: T0 + 1002,
      newest: T0 + 1003,
    });
  });
});
