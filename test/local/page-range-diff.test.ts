import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ChangedRange, type StoredRange, diffPageRanges } from '../../local/storage/page-range-diff.ts';

/** A stored range of whole pages: `[first page, pages, piece, first page within the piece]`. */
type Pages = readonly [page: number, count: number, id: string, from: number];

function stored(...ranges: readonly Pages[]): StoredRange[] {
  return ranges.map(([page, count, id, from]) => ({
    start: page * 512,
    end: (page + count) * 512 - 1,
    persistency: { id, offset: from * 512, count: count * 512 },
  }));
}

function diff(before: StoredRange[], now: StoredRange[], firstPage = 0, pages = 1000): string[] {
  const window = { start: firstPage * 512, end: (firstPage + pages) * 512 - 1 };
  return [...diffPageRanges(before, now, window)].map(
    ({ kind, start, end }) => `${kind} ${start / 512}+${(end + 1 - start) / 512}`,
  );
}

describe('the difference of two range lists', () => {
  it.each([
    ['nothing on either side', [], [], []],
    ['first write', [], [[2, 3, 'a', 0]], ['page 2+3']],
    ['untouched', [[2, 3, 'a', 0]], [[2, 3, 'a', 0]], []],
    ['rewritten with equal bytes', [[2, 3, 'a', 0]], [[2, 3, 'b', 0]], ['page 2+3']],
    ['rewritten within the same extent file', [[2, 3, 'a', 0]], [[2, 3, 'a', 3]], ['page 2+3']],
    ['cleared', [[2, 3, 'a', 0]], [], ['clear 2+3']],
    [
      'cleared in the middle',
      [[0, 9, 'a', 0]],
      [
        [0, 3, 'a', 0],
        [5, 4, 'a', 5],
      ],
      ['clear 3+2'],
    ],
    [
      'overwritten in the middle',
      [[0, 9, 'a', 0]],
      [
        [0, 3, 'a', 0],
        [3, 1, 'b', 0],
        [4, 5, 'a', 4],
      ],
      ['page 3+1'],
    ],
    [
      'adjacent writes are one range',
      [],
      [
        [0, 1, 'a', 0],
        [1, 1, 'b', 7],
        [2, 1, 'a', 9],
      ],
      ['page 0+3'],
    ],
    ['page and clear side by side', [[0, 4, 'a', 0]], [[2, 4, 'b', 0]], ['clear 0+2', 'page 2+4']],
    [
      'split without a write in between',
      [[0, 4, 'a', 0]],
      [
        [0, 2, 'a', 0],
        [2, 2, 'a', 2],
      ],
      [],
    ],
    ['cut at the end, as by shrinking', [[0, 8, 'a', 0]], [[0, 5, 'a', 0]], ['clear 5+3']],
  ] as [string, Pages[], Pages[], string[]][])('%s', (_name, before, now, expected) => {
    expect(diff(stored(...before), stored(...now))).toEqual(expected);
  });

  it('is cut at the window on both sides', () => {
    expect(diff(stored([0, 10, 'a', 0]), stored([4, 10, 'b', 0]), 2, 4)).toEqual(['clear 2+2', 'page 4+2']);
    expect(diff(stored([0, 2, 'a', 0]), stored([8, 2, 'b', 0]), 2, 6)).toEqual([]);
    expect(diff([], stored([0, 2, 'a', 0]), 0, 0)).toEqual([]);
  });

  it('leaves both lists as they were', () => {
    const before = stored([0, 4, 'a', 0], [6, 1, 'b', 0]);
    const now = stored([1, 4, 'c', 0]);
    const copies = structuredClone([before, now]);
    diff(before, now);
    expect([before, now]).toEqual(copies);
  });

  it('agrees with a comparison page by page, in any window', () => {
    const PAGES = 40;
    // A disk as the write number of each page (0: not allocated); ranges come from runs of consecutive writes.
    const writes = fc.array(
      fc.record({ page: fc.nat(PAGES - 1), count: fc.integer({ min: 1, max: 9 }), clear: fc.boolean() }),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(writes, writes, fc.nat(PAGES), fc.nat(PAGES), (earlier, later, first, count) => {
        const before = apply(emptyDisk(PAGES), earlier, 1);
        const now = apply([...before], later, 1000);
        const expected: string[] = [];
        for (let page = first; page < Math.min(first + count, PAGES); page++) {
          if (now[page] !== 0 && now[page] !== before[page]) expected.push(`page ${page}`);
          else if (now[page] === 0 && before[page] !== 0) expected.push(`clear ${page}`);
        }
        const window = { start: first * 512, end: (first + count) * 512 - 1 };
        const changes = [...diffPageRanges(rangesOf(before), rangesOf(now), window)];
        expect(changes.flatMap(pagesOf)).toEqual(expected);
        for (const [index, change] of changes.entries()) {
          const next = changes[index + 1];
          if (next !== undefined) expect(next.start > change.end + 1 || next.kind !== change.kind).toBe(true);
        }
      }),
    );
  });
});

function emptyDisk(pages: number): number[] {
  return Array.from({ length: pages }, () => 0);
}

function apply(
  disk: number[],
  writes: { page: number; count: number; clear: boolean }[],
  firstNumber: number,
): number[] {
  let number = firstNumber;
  for (const { page, count, clear } of writes) {
    for (let at = page; at < Math.min(page + count, disk.length); at++) disk[at] = clear ? 0 : number++;
  }
  return disk;
}

/** Pages with consecutive write numbers lie side by side in one extent file. */
function rangesOf(disk: readonly number[]): StoredRange[] {
  const ranges: StoredRange[] = [];
  for (const [page, number] of disk.entries()) {
    const last = ranges.at(-1);
    if (number === 0) continue;
    if (last !== undefined && last.end === page * 512 - 1 && disk[page - 1] === number - 1) {
      last.end += 512;
      last.persistency.count += 512;
    } else ranges.push(...stored([page, 1, 'extent', number]));
  }
  return ranges;
}

function pagesOf({ kind, start, end }: ChangedRange): string[] {
  return Array.from({ length: (end + 1 - start) / 512 }, (_, index) => `${kind} ${start / 512 + index}`);
}
