import { describe, expect, it } from 'vitest';
import {
  COMPACTION_RULES,
  type CompactionRules,
  type MeasuredLayer,
  decideCompaction,
  gainOf,
  monthsLeft,
  runsOf,
  sparsePacks,
  keepBest,
} from '../../shared/domain/compaction.ts';
import { type AttemptId, type DiskId, type PointId, attemptId, pointId } from '../../shared/domain/ids.ts';
import type { Frame } from '../../shared/domain/layer.ts';
import { GIB, MONTH_MS, PRICES } from '../../shared/domain/prices.ts';

const MIB = 1_048_576;
const NOW = Date.UTC(2026, 5, 1);
const P1 = pointId('20260101000000000');
const P2 = pointId('20260102000000000');
const A = attemptId('00000000000000aa');
const DISK = 'os' as DiskId;

const layer = (storedBytes: number, liveBytes: number, own: Partial<MeasuredLayer> = {}): MeasuredLayer => ({
  point: P1,
  attempt: A,
  dataBlocks: Math.ceil(liveBytes / 8_192),
  storedBytes,
  liveBytes,
  ...own,
});

/** A point whose one disk has these layers, each in a region of its own. */
const pointOf = (point: PointId, layers: readonly MeasuredLayer[]) => ({
  point,
  disks: [{ disk: DISK, sizeBytes: 0, regions: layers.map((own, region) => ({ region, layers: [own] })) }],
});

const decide = (
  layers: readonly MeasuredLayer[],
  {
    expires,
    budget = Infinity,
    rules = COMPACTION_RULES,
  }: { expires?: number; budget?: number; rules?: CompactionRules } = {},
) => decideCompaction([pointOf(P1, layers)], () => expires, NOW, budget, rules);

describe('what is compacted, by the counts in manifests', () => {
  it.each<[string, MeasuredLayer, string, RegExp]>([
    ['a layer that is mostly dead', layer(100 * MIB, 30 * MIB), 'compact', /^saves 73400320 bytes for 12 months$/],
    ['one just under the share', layer(100 * MIB, 69 * MIB), 'compact', /saves/],
    ['one at the share', layer(100 * MIB, 70 * MIB), 'leave', /^70 % of it is live$/],
    ['one that is all live', layer(100 * MIB, 100 * MIB), 'leave', /nothing of it is dead/],
    ['one that stores nothing', layer(0, 0), 'leave', /nothing of it is dead/],
    ['one with little to gain', layer(MIB, MIB / 8), 'leave', /^only 917504 bytes of it are dead$/],
    [
      'one in a slab',
      layer(100 * MIB, 10 * MIB, { slab: { number: 0, offset: 0, bytes: 1 } }),
      'leave',
      /it lies in a slab/,
    ],
  ])('%s', (_, own, verdict, reason) => {
    const [found] = decide([own]);
    expect(found).toMatchObject({ verdict, owner: P1, disk: DISK, region: 0 });
    expect(found!.reason).toMatch(reason);
  });

  it('depends on how long the owner stays', () => {
    const own = layer(8 * MIB, 4 * MIB);
    expect(decide([own])[0]).toMatchObject({ verdict: 'compact', months: 12 });
    const soon = decide([own], { expires: NOW + MONTH_MS })[0]!;
    expect(soon).toMatchObject({ verdict: 'leave', months: 1 });
    expect(soon.reason).toBe('4194304 bytes for 1 months do not pay for the requests');
    expect(decide([own], { expires: NOW - MONTH_MS })[0]).toMatchObject({ verdict: 'leave', months: 0 });
    expect(decide([own], { expires: NOW + 100 * MONTH_MS })[0]).toMatchObject({ months: 12 });
  });

  it('weighs what is saved over the months against the requests', () => {
    const cost = { movedBytes: GIB, savedBytes: 2 * GIB, writes: 10_000, reads: 10_000 };
    const cool = { ...COMPACTION_RULES, prices: PRICES.cool };
    expect(gainOf(cost, 3, cool)).toBeCloseTo(2 * 0.0115 * 3 - 0.1 - 0.01 - 0.01, 10);
    expect(gainOf(cost, 3, { ...cool, prices: PRICES.hot })).toBeCloseTo(2 * 0.0208 * 3 - 0.055 - 0.0044, 10);
    expect(monthsLeft(undefined, NOW, cool)).toBe(12);
  });

  it('takes what saves most per request first, until the budget is reached', () => {
    const best = layer(100 * MIB, 10 * MIB);
    const good = layer(100 * MIB, 40 * MIB);
    const fair = layer(100 * MIB, 60 * MIB);
    const regions = (budget: number, verdict: string): number[] =>
      decide([fair, best, good], { budget })
        .filter((own) => own.verdict === verdict)
        .map(({ region }) => region);
    expect(regions(Infinity, 'compact')).toEqual([1, 2, 0]);
    // The last may go over it: some of its packs may still find room.
    expect(regions(20 * MIB, 'compact')).toEqual([1, 2]);
    expect(regions(20 * MIB, 'postpone')).toEqual([0]);
    expect(regions(10 * MIB, 'compact')).toEqual([1]);
    expect(regions(0, 'compact')).toEqual([]);
  });

  it('never gives two layers of one plan the same name', () => {
    const two = [layer(100 * MIB, 10 * MIB), layer(100 * MIB, 20 * MIB, { attempt: 'b'.repeat(16) as AttemptId })];
    const points = [{ point: P2, disks: [{ disk: DISK, sizeBytes: 0, regions: [{ region: 7, layers: two }] }] }];
    const verdicts = decideCompaction(points, () => undefined, NOW, Infinity);
    expect(verdicts.map(({ verdict, layer: own }) => [verdict, own.attempt])).toEqual([
      ['compact', two[0]!.attempt],
      ['postpone', two[1]!.attempt],
    ]);
    const other = [two[0]!, { ...two[1]!, point: P2 }];
    const apart = [{ point: P2, disks: [{ disk: DISK, sizeBytes: 0, regions: [{ region: 7, layers: other }] }] }];
    expect(decideCompaction(apart, () => undefined, NOW, Infinity).map(({ verdict }) => verdict)).toEqual([
      'compact',
      'compact',
    ]);
  });
});

const frame = (pack: number, offset: number, storedBytes: number): Frame => ({
  pack,
  offset,
  storedBytes,
  blocks: 16,
  codec: 0,
});
const packs = (...sizes: number[]) => sizes.map((totalBytes, i) => ({ name: `p${i}.pack`, totalBytes }));

describe('which packs of a layer', () => {
  it('those under the share that pay', () => {
    const some = {
      packs: packs(8 * MIB, 8 * MIB, 8 * MIB),
      frames: [frame(0, 16, 7 * MIB), frame(1, 16, MIB), frame(2, 99, 5 * MIB)],
    };
    const { packs: chosen, cost } = sparsePacks(some, 12, COMPACTION_RULES);
    expect(chosen).toEqual([1, 2]);
    const table = 64 + 12 + 16 * 4;
    expect(cost).toMatchObject({ movedBytes: 6 * MIB, savedBytes: 10 * MIB - 2 * table });
    expect(sparsePacks(some, 0, COMPACTION_RULES)).toEqual({
      packs: [],
      cost: { movedBytes: 0, savedBytes: 0, writes: 0, reads: 0 },
    });
  });

  it('not those whose frames in use are scattered so much that the copies cost more than the rest is worth', () => {
    const scattered = Array.from({ length: 32 }, (_, i) => frame(0, 16 + i * 2 * (MIB / 8), MIB / 8));
    const together = Array.from({ length: 32 }, (_, i) => frame(0, 16 + i * (MIB / 8), MIB / 8));
    const chosen = (frames: Frame[]): number[] =>
      sparsePacks({ packs: packs(8 * MIB), frames }, 4, COMPACTION_RULES).packs;
    expect(chosen(together)).toEqual([0]);
    expect(chosen(scattered)).toEqual([]);
  });

  it('as many as the budget has room for, the best first', () => {
    const some = {
      packs: packs(8 * MIB, 8 * MIB, 8 * MIB),
      frames: [frame(0, 16, 3 * MIB), frame(1, 16, 4 * MIB), frame(2, 16, MIB)],
    };
    expect(sparsePacks(some, 12, COMPACTION_RULES, 4 * MIB).packs).toEqual([0, 2]);
    expect(sparsePacks(some, 12, COMPACTION_RULES, 4 * MIB).cost.movedBytes).toBe(4 * MIB);
    expect(sparsePacks(some, 12, COMPACTION_RULES, MIB - 1).packs).toEqual([]);
  });

  it('none that is no blob of its own, and none where all together are not worth it', () => {
    const inSlab = { packs: [{ name: 'x.slab', totalBytes: 16 * MIB }], frames: [frame(0, 16, MIB)] };
    expect(sparsePacks(inSlab, 12, COMPACTION_RULES).packs).toEqual([]);
    const small = { packs: packs(MIB), frames: [frame(0, 16, 10)] };
    expect(sparsePacks(small, 12, COMPACTION_RULES).packs).toEqual([]);
    expect(sparsePacks(small, 12, { ...COMPACTION_RULES, leastWasteBytes: 1 }).packs).toEqual([0]);
  });

  it('copies neighbours together', () => {
    expect(runsOf([frame(0, 16, 10), frame(0, 26, 5), frame(0, 32, 1), frame(1, 33, 4)])).toEqual([
      { pack: 0, offset: 16, bytes: 15 },
      { pack: 0, offset: 32, bytes: 1 },
      { pack: 1, offset: 33, bytes: 4 },
    ]);
  });
});

it('of too many layers those that save the most for each request are kept, and the others are counted', () => {
  const layers = [5, 1, 9, 3, 7].map((savedBytes) => ({
    cost: { savedBytes, movedBytes: 10 * savedBytes, writes: 1, reads: savedBytes === 9 ? 8 : 0 },
  }));
  expect(keepBest(layers, 5)).toBe(0);
  expect(keepBest(layers, 2)).toBe(10 * (1 + 9 + 3));
  expect(layers.map(({ cost }) => cost.savedBytes)).toEqual([7, 5]);
});
