import { describe, expect, it } from 'vitest';
import type { AttemptId, DiskId, PointId } from '../../shared/domain/ids.ts';
import { PRODUCTION_LAYOUT } from '../../shared/domain/layout.ts';
import { type WeighedLayer, decideMerge as decide } from '../../shared/domain/merge.ts';
import type { CheckpointName, DiskLayers, LayeredPoint } from '../../shared/domain/point-stack.ts';

const decideMerge = (expired: PointId, points: readonly Points[], cannotFold?: () => boolean) =>
  decide(expired, points, PRODUCTION_LAYOUT, cannotFold);
const disk = (name: string): DiskId => name as DiskId;
const point = (n: number): PointId => String(n).padStart(17, '0') as PointId;
const layer = (n: number, dataBlocks = 1): WeighedLayer => ({
  point: point(n),
  attempt: `${n}`.padStart(16, '0') as AttemptId,
  dataBlocks,
  clearedBlocks: 0,
});
type Points = LayeredPoint<DiskLayers<WeighedLayer>>;

/** Point `n` with, for each of its disks, the regions that it changed. */
function changed(n: number, disks: Record<string, readonly number[]>): Points {
  return {
    point: point(n),
    disks: Object.entries(disks).map(([name, regions]) => ({
      disk: disk(name),
      sizeBytes: 512,
      regions: regions.map((region) => ({ region, layers: [layer(n)] })),
    })),
  };
}

/** Point `n` with these layers of region 0 of disk a. */
const listed = (n: number, layers: readonly WeighedLayer[], checkpoint?: CheckpointName): Points => ({
  point: point(n),
  disks: [{ disk: disk('a'), sizeBytes: 512, regions: [{ region: 0, layers, checkpoint }] }],
});

describe('a merge', () => {
  it('folds what both have, adopts what only the expired one has, leaves what only the successor has', () => {
    const regions = decideMerge(point(1), [changed(1, { a: [0, 1] }), changed(2, { a: [1, 2] })]);
    const into = { disk: 'a', into: point(2), checkpoint: undefined };
    expect(regions).toEqual([
      { ...into, region: 0, kept: [layer(1)], folded: [], bottom: false },
      { ...into, region: 1, kept: [], folded: [layer(1), layer(2)], bottom: true },
    ]);
  });

  it('goes, disk by disk, into the next point that includes the disk', () => {
    const points = [changed(1, { a: [0], b: [0] }), changed(2, { a: [] }), changed(3, { a: [0], b: [0] })];
    expect(decideMerge(point(1), points).map(({ disk: of, into, kept }) => [of, into, kept.length])).toEqual([
      ['a', point(2), 1],
      ['b', point(3), 0],
    ]);
  });

  it('lets go what no later point includes', () => {
    const points = [changed(1, { a: [0], b: [0] }), changed(2, { a: [0], b: [0, 3] }), changed(3, { a: [] })];
    expect(decideMerge(point(2), points).map(({ disk: of, into }) => [of, into])).toEqual([['a', point(3)]]);
  });

  it('is at the bottom region by region: where no earlier point speaks of it', () => {
    const points = [changed(1, { a: [0], b: [1] }), changed(2, { a: [0, 1] }), changed(3, { a: [0, 1] })];
    expect(decideMerge(point(2), points).map(({ region, bottom }) => [region, bottom])).toEqual([
      [0, false],
      [1, true],
    ]);
  });

  it('folds lists of layers, oldest first', () => {
    const [region] = decideMerge(point(2), [listed(2, [layer(2), layer(3)]), listed(4, [layer(4)])]);
    expect(region?.folded).toEqual([layer(2), layer(3), layer(4)]);
  });

  it('ends where the disk begins anew: nobody looks through to what was before', () => {
    const anew = changed(3, { a: [0] });
    const later = { ...anew, disks: anew.disks.map((own) => ({ ...own, begins: point(3) })) };
    expect(decideMerge(point(2), [changed(1, { a: [0] }), changed(2, { a: [0] }), later])).toEqual([]);
    const last = { ...later, point: point(4) };
    expect(decideMerge(point(3), [changed(1, { a: [0] }), later, last])[0]).toMatchObject({ bottom: true });
  });

  it('refuses a point that is not in the chain', () => {
    expect(() => decideMerge(point(9), [changed(1, { a: [0] })])).toThrow(/not in the chain/);
  });
});

describe('a fold is put off', () => {
  it('while what lies above speaks of no more than a 64th as many blocks', () => {
    const merge = (older: number, newer: number) =>
      decideMerge(point(1), [listed(1, [layer(1, older)]), listed(2, [layer(2, newer)])])[0]!;
    expect(merge(64, 1)).toMatchObject({ kept: [layer(1, 64), layer(2, 1)], folded: [] });
    expect(merge(63, 1)).toMatchObject({ kept: [], folded: [layer(1, 63), layer(2, 1)] });
  });

  it('and small layers are folded by themselves above a large one, which is the bottom no more', () => {
    const points = [listed(1, [layer(1, 6400), layer(2, 50)]), listed(3, [layer(3, 50)])];
    expect(decideMerge(point(1), points)[0]).toMatchObject({
      kept: [layer(1, 6400)],
      folded: [layer(2, 50), layer(3, 50)],
      bottom: false,
    });
  });

  it('where a layer of the region is damaged', () => {
    const points = [listed(1, [layer(1)]), listed(2, [layer(2)])];
    expect(decideMerge(point(1), points, () => true)[0]).toMatchObject({ kept: [layer(1), layer(2)], folded: [] });
  });

  it('which keeps the newest checkpoint; a fold drops it', () => {
    const checkpoint = (n: number): CheckpointName => ({ attempt: layer(n).attempt, depth: n, stack: `${n}` });
    const merge = (older: number) =>
      decideMerge(point(1), [listed(1, [layer(1, older)], checkpoint(1)), listed(2, [layer(2)], checkpoint(2))])[0]!
        .checkpoint;
    expect(merge(64)).toEqual(checkpoint(2));
    expect(merge(1)).toBeUndefined();
  });

  it('so that a list has at most four layers, of which at most a 64th is overwritten', () => {
    let list: WeighedLayer[] = [layer(0, 65_536)];
    for (let n = 1; n < 3000; n++) {
      const region = decideMerge(point(1), [listed(1, list), listed(2, [layer(n, 1 + (n % 7))])])[0]!;
      const blocks = region.folded.reduce((sum, { dataBlocks }) => sum + dataBlocks, 0);
      list = [...region.kept, ...(blocks === 0 ? [] : [layer(n, Math.min(blocks, 65_536))])];
      expect(list.length).toBeLessThanOrEqual(4);
      const above = list.slice(1).reduce((sum, { dataBlocks }) => sum + dataBlocks, 0);
      expect(above).toBeLessThanOrEqual(list[0]!.dataBlocks / 64);
    }
  });
});
