import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BilledPoint, addAmounts, costOfPoint, monthlyPrice, writePrice } from '../../shared/domain/costs.ts';
import type { AttemptId, DiskId, PointId } from '../../shared/domain/ids.ts';
import type { SlabPlace } from '../../shared/domain/point-stack.ts';
import { wholeSlabs } from '../../shared/domain/slab-shares.ts';

const layer = fc.record({
  dataBlocks: fc.nat(65_536),
  clearedBlocks: fc.nat(65_536),
  storedBytes: fc.integer({ min: 500, max: 10 ** 9 }),
  liveBytes: fc.integer({ min: 0, max: 500 }),
});
const point: fc.Arbitrary<BilledPoint> = fc.record({
  point: fc.constant('00000000000000001' as PointId),
  time: fc.constant('2026-01-01T00:00:00.000Z'),
  disks: fc.array(
    fc.record({
      disk: fc.uuid() as unknown as fc.Arbitrary<DiskId>,
      lun: fc.nat(63),
      name: fc.string(),
      sizeBytes: fc.nat(),
      regions: fc.array(fc.record({ region: fc.nat(4095), layers: fc.array(layer, { maxLength: 4 }) }), {
        maxLength: 6,
      }),
    }),
    { maxLength: 3 },
  ),
});

describe('the cost of a point', () => {
  it('is the sum over its disks, which is the sum over their regions, and misses no layer', () => {
    fc.assert(
      fc.property(point, fc.nat(10_000), fc.nat(100), (billed, manifestBytes, checkpoint) => {
        const cost = costOfPoint(billed, manifestBytes, (_, region) => (region % 2 === 0 ? checkpoint : 0));
        const layers = billed.disks.flatMap(({ regions }) => regions.flatMap((own) => own.layers));
        const even = billed.disks.flatMap(({ regions }) => regions.filter(({ region }) => region % 2 === 0)).length;
        const stored = layers.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
        expect(cost).toMatchObject({
          layers: layers.length,
          layerBytes: stored,
          wastedBytes: stored - layers.reduce((sum, { liveBytes }) => sum + liveBytes, 0),
          dataBlocks: layers.reduce((sum, { dataBlocks }) => sum + dataBlocks, 0),
          clearedBlocks: layers.reduce((sum, { clearedBlocks }) => sum + clearedBlocks, 0),
          checkpointBytes: even * checkpoint,
          bytes: stored + even * checkpoint + manifestBytes,
        });
        expect(cost).toMatchObject(addAmounts(cost.disks));
        for (const disk of cost.disks) expect(disk).toMatchObject(addAmounts(disk.regions));
      }),
    );
  });

  it('in money is that of the reference: GiB-months and requests by the ten thousand', () => {
    expect(monthlyPrice(100 * 2 ** 30)).toEqual({ hot: expect.closeTo(2.08, 6), cool: expect.closeTo(1.15, 6) });
    expect(writePrice(20_000)).toEqual({ hot: expect.closeTo(0.11, 6), cool: expect.closeTo(0.2, 6) });
  });
});

describe('the shares of a slab', () => {
  const A = 'aaaaaaaaaaaaaaaa' as AttemptId;
  const B = 'bbbbbbbbbbbbbbbb' as AttemptId;
  const old = '00000000000000001' as PointId;
  const inSlab = (attempt: AttemptId, number: number, offset: number, storedBytes: number) => {
    const slab: SlabPlace = { number, offset, bytes: 10 };
    return { point: old, attempt, storedBytes, slab };
  };
  const alone = { point: old, attempt: A, storedBytes: 7 };

  it('that a merge lets go of go to the first layer that stays', () => {
    const [gone, kept, last] = [inSlab(A, 0, 0, 100), inSlab(A, 0, 100, 20), inSlab(A, 0, 120, 30)];
    const after = [
      { region: 3, layers: [alone] },
      { region: 4, layers: [kept] },
      { region: 5, layers: [last] },
    ];
    expect(wholeSlabs([gone, kept, last, alone], after)).toEqual([
      after[0],
      { region: 4, layers: [{ ...kept, storedBytes: 120 }] },
      after[2],
    ]);
  });

  it('of a slab that has gone whole, or stays whole, change nothing', () => {
    const [gone, kept, other] = [inSlab(A, 0, 0, 100), inSlab(A, 1, 0, 20), inSlab(B, 0, 0, 30)];
    const after = [{ region: 4, layers: [kept, other, alone] }];
    expect(wholeSlabs([gone, kept, other], after)).toEqual(after);
  });

  it('add up to the slabs, whatever goes, merge after merge', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(sizes, sizes, fc.array(fc.nat(), { maxLength: 12 }), (first, second, removals) => {
        const slabs = [first, second].flatMap((shares, number) =>
          shares.map((share, i) => ({ region: i, layers: [inSlab(A, number, i * 10, share)] })),
        );
        const total = (regions: typeof slabs): number[] =>
          [0, 1].map((number) =>
            regions
              .flatMap(({ layers }) => layers)
              .filter(({ slab }) => slab.number === number)
              .reduce((sum, { storedBytes }) => sum + storedBytes, 0),
          );
        const whole = total(slabs);
        let regions = slabs;
        for (const pick of removals) {
          if (regions.length === 0) break;
          const before = regions.flatMap(({ layers }) => layers);
          regions = wholeSlabs(before, regions.toSpliced(pick % regions.length, 1));
          const now = total(regions);
          for (const number of [0, 1]) expect([0, whole[number]]).toContain(now[number]);
        }
      }),
    );
  });
});
