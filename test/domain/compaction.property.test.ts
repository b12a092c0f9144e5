import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { COMPACTION_RULES, decideCompaction, gainOf, runsOf, sparsePacks } from '../../shared/domain/compaction.ts';
import { type DiskId, attemptId, pointId } from '../../shared/domain/ids.ts';
import type { Frame } from '../../shared/domain/layer.ts';
import { PRICES } from '../../shared/domain/prices.ts';

const MIB = 1_048_576;
const NOW = Date.UTC(2026, 5, 1);
const pointNumber = (n: number) => pointId(String(20260101000000000n + BigInt(n)));

const layer = fc
  .record({
    by: fc.nat(3),
    attempt: fc.nat(2),
    storedBytes: fc.nat(600 * MIB),
    liveShare: fc.double({ min: 0, max: 1, noNaN: true }),
    dataBlocks: fc.nat(65_536),
    slab: fc.option(fc.constant({ number: 0, offset: 0, bytes: 1 }), { freq: 6, nil: undefined }),
  })
  .map(({ by, attempt, liveShare, ...own }) => ({
    ...own,
    point: pointNumber(by),
    attempt: attemptId(String(attempt).padStart(16, '0')),
    liveBytes: Math.floor(own.storedBytes * liveShare),
  }));

const points = fc
  .array(fc.array(fc.array(layer, { minLength: 1, maxLength: 3 }), { maxLength: 4 }), { maxLength: 4 })
  .map((all) =>
    all.map((regions, n) => ({
      point: pointNumber(n),
      disks: [{ disk: 'd' as DiskId, sizeBytes: 0, regions: regions.map((layers, region) => ({ region, layers })) }],
    })),
  );

const rules = fc.record({
  liveBelow: fc.double({ min: 0, max: 1, noNaN: true }),
  leastWasteBytes: fc.nat(50 * MIB),
  mostMonths: fc.constant(12),
  prices: fc.constantFrom(PRICES.hot, PRICES.cool),
});

it('every layer has one verdict with a reason, and only what is sparse and pays is compacted, within the budget', () =>
  fc.assert(
    fc.property(
      points,
      rules,
      fc.nat(1000 * MIB),
      fc.option(fc.integer({ min: -10, max: 400 }), { nil: undefined }),
      (chain, own, budget, days) => {
        const expires = days === undefined ? undefined : NOW + days * 86_400_000;
        const verdicts = decideCompaction(chain, () => expires, NOW, budget, own);
        const all = chain.flatMap(({ disks }) =>
          disks.flatMap(({ regions }) => regions.flatMap(({ layers }) => layers)),
        );
        expect(verdicts).toHaveLength(all.length);
        expect(new Set(verdicts.map((verdict) => verdict.layer))).toEqual(new Set(all));
        const names = new Set<string>();
        let moved = 0;
        let last = Infinity;
        for (const { verdict, reason, layer: chosen, cost, months, region } of verdicts) {
          expect(reason).not.toBe('');
          if (verdict !== 'compact') continue;
          expect(moved).toBeLessThan(budget);
          moved += cost.movedBytes;
          expect(chosen.slab).toBeUndefined();
          expect(chosen.liveBytes).toBeLessThan(chosen.storedBytes * own.liveBelow);
          expect(cost.savedBytes).toBeGreaterThanOrEqual(own.leastWasteBytes);
          expect(gainOf(cost, months, own)).toBeGreaterThan(0);
          const perRequest = cost.savedBytes / (cost.writes + cost.reads);
          expect(perRequest).toBeLessThanOrEqual(last);
          last = perRequest;
          const name = `${region}/${chosen.point}`;
          expect(names.has(name)).toBe(false);
          names.add(name);
        }
      },
    ),
  ));

const frames = fc.array(
  fc.record({ pack: fc.nat(3), gap: fc.nat(2), storedBytes: fc.integer({ min: 1, max: 300_000 }) }),
  { maxLength: 60 },
);

it('packs are chosen within the budget, and runs cover the frames exactly once', () =>
  fc.assert(
    fc.property(frames, fc.nat(8 * MIB), (some, budget) => {
      const ends = [16, 16, 16, 16];
      const table = some
        .map(({ pack, gap, storedBytes }): Frame => {
          const offset = ends[pack]! + gap * 100_000;
          ends[pack] = offset + storedBytes;
          return { pack, offset, storedBytes, blocks: 16, codec: 0 };
        })
        .sort((a, b) => a.pack - b.pack);
      const layerPacks = ends.map((end, n) => ({ name: `${n}.pack`, totalBytes: end + 1000 }));
      const free = { ...COMPACTION_RULES, leastWasteBytes: 1, prices: PRICES.hot };
      const { packs, cost } = sparsePacks({ packs: layerPacks, frames: table }, 12, free, budget);
      expect(cost.movedBytes).toBeLessThanOrEqual(budget);
      const moving = table.filter(({ pack }) => packs.includes(pack));
      expect(cost.movedBytes).toBe(moving.reduce((sum, { storedBytes }) => sum + storedBytes, 0));
      const runs = runsOf(moving);
      expect(runs.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(cost.movedBytes);
      for (const { pack, offset, storedBytes } of moving) {
        const inside = runs.filter(
          (run) => run.pack === pack && run.offset <= offset && offset + storedBytes <= run.offset + run.bytes,
        );
        expect(inside).toHaveLength(1);
      }
    }),
  ));
