import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesOf, storedRuns, touchedBlocks, without } from '../../shared/domain/changes.ts';
import { CLEARED } from '../../shared/domain/extent.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { BLOCKS, runs } from './arbitraries.ts';

const B = BLOCK_BYTES;
const window = { start: 4 * B, end: 8 * B };

describe('touchedBlocks', () => {
  const table: [string, [number, number][], { start: number; count: number }[]][] = [
    ['one sector carries its block', [[5 * B + 512, 5 * B + 1024]], [{ start: 1, count: 1 }]],
    ['a range over a boundary carries both', [[5 * B - 512, 5 * B + 512]], [{ start: 0, count: 2 }]],
    ['a range that ends at a boundary does not carry the next', [[4 * B, 5 * B]], [{ start: 0, count: 1 }]],
    [
      'what lies outside the window is cut off',
      [
        [0, 5 * B],
        [7 * B, 99 * B],
      ],
      [
        { start: 0, count: 1 },
        { start: 3, count: 1 },
      ],
    ],
    [
      'what ends where the window begins is not in it',
      [
        [0, 4 * B],
        [8 * B, 9 * B],
      ],
      [],
    ],
    [
      'order and overlap do not matter',
      [
        [6 * B, 7 * B],
        [5 * B, 6 * B + 512],
      ],
      [{ start: 1, count: 2 }],
    ],
    ['an empty range touches nothing', [[5 * B, 5 * B]], []],
  ];
  it.each(table)('%s', (_, ranges, expected) => {
    expect(
      touchedBlocks(
        ranges.map(([start, end]) => ({ start, end })),
        window,
      ),
    ).toEqual(expected);
  });

  it('counts the cut last block of a disk', () => {
    expect(touchedBlocks([{ start: 4 * B, end: 4 * B + 512 }], { start: 4 * B, end: 4 * B + 512 })).toEqual([
      { start: 0, count: 1 },
    ]);
  });

  it('touches a block exactly when they have a byte in common', () => {
    const sector = fc.nat(12 * 32);
    const ranges = fc.array(
      fc.tuple(sector, sector).map(([a, b]) => ({ start: Math.min(a, b) * 512, end: Math.max(a, b) * 512 })),
      { maxLength: 5 },
    );
    fc.assert(
      fc.property(ranges, fc.integer({ min: 1, max: 4 * 32 }), (some, sectors) => {
        const cutWindow = { start: 4 * B, end: 4 * B + sectors * 512 };
        const touched = touchedBlocks(some, cutWindow);
        for (let block = 0; block < 5; block++) {
          const own = {
            start: cutWindow.start + block * B,
            end: Math.min(cutWindow.start + (block + 1) * B, cutWindow.end),
          };
          const common = some.some(({ start, end }) => Math.max(start, own.start) < Math.min(end, own.end));
          expect(touched.some(({ start, count }) => start <= block && block < start + count)).toBe(common);
        }
      }),
    );
  });
});

it('storedRuns leaves cleared blocks out and joins what adjoins', () => {
  const map = [
    { start: 0, count: 2, frame: 0, slot: 0 },
    { start: 2, count: 1, frame: 1, slot: 7 },
    { start: 3, count: 2, frame: CLEARED, slot: 0 },
    { start: 6, count: 1, frame: 1, slot: 0 },
  ];
  expect(storedRuns(map)).toEqual([
    { start: 0, count: 3 },
    { start: 6, count: 1 },
  ]);
});

it('without takes away exactly the blocks of the others', () => {
  const has = (some: readonly { start: number; count: number }[], block: number): boolean =>
    some.some(({ start, count }) => start <= block && block < start + count);
  fc.assert(
    fc.property(runs, runs, (some, others) => {
      const left = without(some, others);
      for (let block = 0; block < BLOCKS + 4; block++)
        expect(has(left, block)).toBe(has(some, block) && !has(others, block));
      expect(left.every(({ count }) => count > 0)).toBe(true);
    }),
  );
});

it('bytesOf cuts the last block at the end of the disk', () => {
  expect(bytesOf({ start: 1, count: 2 }, window)).toEqual({ start: 5 * B, end: 7 * B });
  expect(bytesOf({ start: 0, count: 2 }, { start: 4 * B, end: 5 * B + 512 })).toEqual({
    start: 4 * B,
    end: 5 * B + 512,
  });
});
