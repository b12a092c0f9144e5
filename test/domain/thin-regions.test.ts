import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { PRODUCTION_LAYOUT } from '../../shared/domain/layout.ts';
import { groupForRestore, groupThin } from '../../shared/domain/thin-regions.ts';

const MIB = 1024 * 1024;
const work = (region: number, bytes: number) => ({ region, bytes });

it('thin regions share a slab across thick ones, which are by themselves', () => {
  const groups = groupThin(
    [work(0, 10), work(1, 2 * MIB), work(5, MIB), work(6, MIB + 1), work(9, 0)],
    PRODUCTION_LAYOUT,
  );
  expect(groups.map(({ thin, regions }) => [thin, ...regions.map(({ region }) => region)])).toEqual([
    [true, 0, 5, 9],
    [false, 1],
    [false, 6],
  ]);
});

it('a slab has at most 64 regions', () => {
  const groups = groupThin(
    Array.from({ length: 130 }, (_, region) => work(region, 16_384)),
    PRODUCTION_LAYOUT,
  );
  expect(groups.map(({ regions }) => regions.length)).toEqual([64, 64, 2]);
});

it('a slab ends where a span does', () => {
  const groups = groupThin(
    [0, 2, 3, 4, 9, 11, 12].map((region) => work(region, 10)),
    { ...PRODUCTION_LAYOUT, spanRegions: 4 },
  );
  expect(groups.map(({ regions }) => regions.map(({ region }) => region))).toEqual([[0, 2, 3], [4], [9, 11], [12]]);
});

it('what is audited fills a slab, and makes no region thick that a slab can take', () => {
  const audited = (region: number, mib: number) => ({ ...work(region, 10), audit: { blocks: (mib * MIB) / 16_384 } });
  const groups = groupThin([audited(0, 9), audited(1, 8), audited(2, 7), audited(3, 17)], PRODUCTION_LAYOUT);
  expect(groups.map(({ thin, regions }) => [thin, ...regions.map(({ region }) => region)])).toEqual([
    [true, 0],
    [true, 1, 2],
    [false, 3],
  ]);
});

it('every region is in one group, and a slab holds at most 16 MiB', () => {
  const bytes = fc.oneof(fc.nat(2 * MIB), fc.nat(20_000));
  fc.assert(
    fc.property(fc.array(bytes, { maxLength: 200 }), (sizes) => {
      const groups = groupThin(
        sizes.map((size, region) => work(region, size)),
        PRODUCTION_LAYOUT,
      );
      const all = groups.flatMap(({ regions }) => regions.map(({ region }) => region));
      expect(all.sort((a, b) => a - b)).toEqual([...sizes.keys()]);
      for (const { thin, regions } of groups) {
        const total = regions.reduce((sum, own) => sum + own.bytes, 0);
        if (thin) expect(total).toBeLessThanOrEqual(16 * MIB);
        else expect(regions).toHaveLength(1);
        expect(regions.map(({ region }) => region)).toEqual(regions.map(({ region }) => region).sort((a, b) => a - b));
      }
    }),
  );
});

it('small regions are restored together up to so many bytes, across larger ones, which are by themselves', () => {
  const groups = groupForRestore(
    [3, 3.5, 3.9, 17, 3, 4, 2.5, 2, 0.1].map((mib, region) => work(region, mib * MIB)),
    PRODUCTION_LAYOUT,
  );
  expect(groups.map((regions) => regions.map(({ region }) => region))).toEqual([[0, 1, 2, 4, 6], [3], [5], [7, 8]]);
});

it('as many regions are restored together as share a slab', () => {
  const groups = groupForRestore(
    Array.from({ length: 65 }, (_, region) => work(region, 16_384)),
    PRODUCTION_LAYOUT,
  );
  expect(groups.map(({ length }) => length)).toEqual([64, 1]);
});

it('every region is restored by itself where the layout says so', () => {
  expect(groupForRestore([work(0, 0), work(1, 1)], { ...PRODUCTION_LAYOUT, restoreBytes: -1 })).toHaveLength(2);
});
