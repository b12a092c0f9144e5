import { describe, expect, it } from 'vitest';
import {
  CLEARED,
  type Extent,
  append,
  blockCount,
  cut,
  dataBlocks,
  interleave,
  normalise,
  subtract,
} from '../../shared/domain/extent.ts';

const stored = (start: number, count: number, frame = 0, slot = start): Extent => ({ start, count, frame, slot });
const cleared = (start: number, count: number): Extent => ({ start, count, frame: CLEARED, slot: 0 });

describe('cut', () => {
  it('moves the slot with the start', () => expect(cut(stored(4, 6, 2, 1), 6, 9)).toEqual(stored(6, 3, 2, 3)));
  it('leaves a cleared extent without a place', () => expect(cut(cleared(4, 6), 6, 9)).toEqual(cleared(6, 3)));
});

describe('append', () => {
  const table: [string, Extent, Extent, Extent[]][] = [
    ['joins what goes on in the same frame', stored(0, 2, 1, 3), stored(2, 1, 1, 5), [stored(0, 3, 1, 3)]],
    ['joins cleared neighbours', cleared(0, 2), cleared(2, 2), [cleared(0, 4)]],
    ['keeps a gap in the blocks', stored(0, 2), stored(3, 1, 0, 2), [stored(0, 2), stored(3, 1, 0, 2)]],
    ['keeps a gap in the slots', stored(0, 2), stored(2, 1, 0, 4), [stored(0, 2), stored(2, 1, 0, 4)]],
    ['keeps frames apart', stored(0, 2, 0, 0), stored(2, 1, 1, 2), [stored(0, 2, 0, 0), stored(2, 1, 1, 2)]],
    ['keeps data and cleared apart', stored(0, 2, 0, 0), cleared(2, 1), [stored(0, 2, 0, 0), cleared(2, 1)]],
  ];
  it.each(table)('%s', (_, first, second, expected) => {
    const map = [first];
    append(map, second);
    expect(map).toEqual(expected);
  });
});

describe('subtract', () => {
  const table: [string, Extent[], { start: number; count: number }[], Extent[]][] = [
    ['nothing from nothing', [], [], []],
    ['no runs', [stored(0, 4)], [], [stored(0, 4)]],
    ['the middle', [stored(0, 10)], [{ start: 3, count: 2 }], [stored(0, 3), stored(5, 5)]],
    ['the beginning', [stored(2, 4)], [{ start: 0, count: 3 }], [stored(3, 3)]],
    ['the end', [stored(2, 4)], [{ start: 5, count: 9 }], [stored(2, 3)]],
    ['all of it', [stored(2, 4)], [{ start: 0, count: 9 }], []],
    ['a run over two extents', [stored(0, 3), cleared(4, 3)], [{ start: 2, count: 3 }], [stored(0, 2), cleared(5, 2)]],
    [
      'two runs in one extent',
      [stored(0, 9)],
      [
        { start: 1, count: 1 },
        { start: 4, count: 2 },
      ],
      [stored(0, 1), stored(2, 2), stored(6, 3)],
    ],
    [
      'runs that touch',
      [stored(4, 2)],
      [
        { start: 0, count: 4 },
        { start: 6, count: 2 },
      ],
      [stored(4, 2)],
    ],
  ];
  it.each(table)('%s', (_, map, runs, left) => {
    expect(subtract(map, runs)).toEqual(left);
  });
});

it('interleave joins neighbours that belong together', () => {
  expect(interleave([stored(0, 2), stored(6, 1, 0, 6)], [stored(2, 4, 0, 2)])).toEqual([stored(0, 7)]);
});

it('normalise sorts, joins, and drops what is empty', () => {
  const runs = [
    { start: 8, count: 2 },
    { start: 0, count: 3 },
    { start: 5, count: 0 },
    { start: 3, count: 1 },
    { start: 9, count: 4 },
    { start: 1, count: 1 },
  ];
  expect(normalise(runs)).toEqual([
    { start: 0, count: 4 },
    { start: 8, count: 5 },
  ]);
  expect(runs[0]).toEqual({ start: 8, count: 2 });
});

it('counts blocks, and those with bytes', () => {
  const map = [stored(0, 3), cleared(4, 5), stored(9, 1)];
  expect([blockCount(map), dataBlocks(map)]).toEqual([9, 4]);
});
