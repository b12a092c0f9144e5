import { describe, expect, it } from 'vitest';
import type { AttemptId, DiskId, PointId } from '../../shared/domain/ids.ts';
import { type DiskLayers, type LayeredPoint, chainOf, stacksOf } from '../../shared/domain/point-stack.ts';

const point = (n: number): PointId => String(n).padStart(17, '0') as PointId;
const layer = (n: number, attempt = `${n}`) => ({ point: point(n), attempt: attempt as AttemptId, dataBlocks: 7 });
const own = (disk: string, regions: DiskLayers['regions']): DiskLayers => ({
  disk: disk as DiskId,
  sizeBytes: 512,
  regions,
});

const points: LayeredPoint[] = [
  {
    point: point(1),
    disks: [
      own('a', [
        { region: 0, layers: [layer(1)] },
        { region: 2, layers: [layer(1)] },
      ]),
      own('b', []),
    ],
  },
  { point: point(2), disks: [own('b', [{ region: 0, layers: [layer(2)] }])] },
  { point: point(3), disks: [own('a', [{ region: 0, layers: [layer(3, 'x'), layer(3, 'y')] }])] },
];

describe('the chain of a disk', () => {
  it('is the points that include it, in their order', () => {
    expect(chainOf('a' as DiskId, points).map((each) => each.point)).toEqual([point(1), point(3)]);
    expect(chainOf('b' as DiskId, points).map((each) => each.point)).toEqual([point(1), point(2)]);
  });
  it('is empty for a disk that none has', () => expect(chainOf('z' as DiskId, points)).toEqual([]));
});

describe('the stacks of a disk', () => {
  it('are its layers by region, oldest first, within a point as they stand there', () => {
    expect(stacksOf('a' as DiskId, points)).toEqual(
      new Map([
        [
          0,
          [
            { point: point(1), attempt: '1' },
            { point: point(3), attempt: 'x' },
            { point: point(3), attempt: 'y' },
          ],
        ],
        [2, [{ point: point(1), attempt: '1' }]],
      ]),
    );
  });
  it('end where the given points end', () => {
    expect(stacksOf('a' as DiskId, points.slice(0, 2)).get(0)).toEqual([{ point: point(1), attempt: '1' }]);
    expect(stacksOf('a' as DiskId, []).size).toBe(0);
  });
});
