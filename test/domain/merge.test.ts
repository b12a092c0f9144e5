import { describe, expect, it } from 'vitest';
import type { AttemptId, DiskId, PointId } from '../../shared/domain/ids.ts';
import { decideMerge } from '../../shared/domain/merge.ts';
import type { LayerName, LayeredPoint } from '../../shared/domain/point-stack.ts';

const disk = (name: string): DiskId => name as DiskId;
const point = (n: number): PointId => String(n).padStart(17, '0') as PointId;
const layer = (n: number): LayerName => ({ point: point(n), attempt: `${n}`.padStart(16, '0') as AttemptId });

/** Point `n` with, for each of its disks, the regions that it changed. */
function changed(n: number, disks: Record<string, readonly number[]>): LayeredPoint {
  return {
    point: point(n),
    disks: Object.entries(disks).map(([name, regions]) => ({
      disk: disk(name),
      sizeBytes: 512,
      regions: regions.map((region) => ({ region, layers: [layer(n)] })),
    })),
  };
}

describe('a merge', () => {
  it('folds what both have, adopts what only the expired one has, leaves what only the successor has', () => {
    expect(decideMerge(point(1), [changed(1, { a: [0, 1] }), changed(2, { a: [1, 2] })])).toEqual({
      folds: [{ disk: 'a', region: 1, into: point(2), layers: [layer(1), layer(2)], bottom: true }],
      adoptions: [{ disk: 'a', region: 0, into: point(2), layers: [layer(1)] }],
      orphans: [],
    });
  });

  it('goes, disk by disk, into the next point that includes the disk', () => {
    const points = [changed(1, { a: [0], b: [0] }), changed(2, { a: [] }), changed(3, { a: [0], b: [0] })];
    const { folds, adoptions } = decideMerge(point(1), points);
    expect(adoptions.map(({ disk: of, into }) => [of, into])).toEqual([['a', point(2)]]);
    expect(folds.map(({ disk: of, into }) => [of, into])).toEqual([['b', point(3)]]);
  });

  it('lets go what no later point includes', () => {
    expect(
      decideMerge(point(2), [changed(1, { a: [0], b: [0] }), changed(2, { a: [0], b: [0, 3] }), changed(3, { a: [] })]),
    ).toEqual({
      folds: [],
      adoptions: [{ disk: 'a', region: 0, into: point(3), layers: [layer(2)] }],
      orphans: [
        { disk: 'b', region: 0, layer: layer(2) },
        { disk: 'b', region: 3, layer: layer(2) },
      ],
    });
  });

  it('is at the bottom region by region: where no earlier point speaks of it', () => {
    const points = [changed(1, { a: [0], b: [1] }), changed(2, { a: [0, 1] }), changed(3, { a: [0, 1] })];
    expect(decideMerge(point(2), points).folds.map(({ region, bottom }) => [region, bottom])).toEqual([
      [0, false],
      [1, true],
    ]);
  });

  it('folds lists of layers, oldest first', () => {
    const twice: LayeredPoint = {
      point: point(2),
      disks: [{ disk: disk('a'), sizeBytes: 512, regions: [{ region: 0, layers: [layer(2), layer(3)] }] }],
    };
    expect(decideMerge(point(2), [twice, changed(4, { a: [0] })]).folds[0]?.layers).toEqual([
      layer(2),
      layer(3),
      layer(4),
    ]);
  });

  it('refuses a point that is not in the chain', () => {
    expect(() => decideMerge(point(9), [changed(1, { a: [0] })])).toThrow(/not in the chain/);
  });
});
