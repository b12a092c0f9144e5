import { describe, expect, it } from 'vitest';
import type { AttemptId, DiskId, PointId } from '../../shared/domain/ids.ts';
import { type DiskLayers, type LayeredPoint, chainOf, stackDigest, stacksOf } from '../../shared/domain/point-stack.ts';

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
        [0, { layers: [layer(1), layer(3, 'x'), layer(3, 'y')] }],
        [2, { layers: [layer(1)] }],
      ]),
    );
  });

  it('end where the given points end', () => {
    expect(stacksOf('a' as DiskId, points.slice(0, 2)).get(0)).toEqual({ layers: [layer(1)] });
    expect(stacksOf('a' as DiskId, []).size).toBe(0);
  });

  const stack = [layer(1), layer(3, 'x')];
  const checkpoint = (depth: number, of = stack) => ({
    attempt: 'c' as AttemptId,
    depth,
    stack: stackDigest(of.slice(0, depth)),
  });
  const withCheckpoint = (own: ReturnType<typeof checkpoint>): LayeredPoint[] => [
    points[0]!,
    points[1]!,
    {
      point: point(3),
      disks: [{ disk: 'a' as DiskId, sizeBytes: 512, regions: [{ region: 0, layers: [stack[1]!], checkpoint: own }] }],
    },
  ];

  it('have the checkpoint that stands for their first layers', () => {
    for (const depth of [1, 2]) {
      const stacks = stacksOf('a' as DiskId, withCheckpoint(checkpoint(depth)));
      expect(stacks.get(0)?.checkpoint).toEqual(checkpoint(depth));
    }
  });

  it('have none that stands for other layers, or for more than there are', () => {
    for (const stale of [
      checkpoint(1, [layer(9)]),
      { ...checkpoint(2), depth: 3 },
      checkpoint(2, [layer(9), stack[1]!]),
    ])
      expect(stacksOf('a' as DiskId, withCheckpoint(stale)).get(0)?.checkpoint).toBeUndefined();
  });
});

it('two stacks have one digest only if they are the same layers in the same order and places', () => {
  const slab = { number: 0, offset: 16, bytes: 9 };
  const stacks = [[], [layer(1)], [layer(1), layer(2)], [layer(2), layer(1)], [layer(1, 'x')], [{ ...layer(1), slab }]];
  expect(new Set(stacks.map(stackDigest)).size).toBe(stacks.length);
  expect(stackDigest([{ point: point(1), attempt: '1' as AttemptId }])).toBe(stackDigest([layer(1)]));
});
