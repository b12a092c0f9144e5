import { describe, expect, it } from 'vitest';
import type { ByteRange } from '../../shared/domain/units.ts';
import { SharedListings, windowsOf } from '../../shared/services/shared-listings.ts';
import { collect } from '../support/collect.ts';

const geometry = { regionBytes: 100 };
const range = (start: number, end: number): ByteRange => ({ start, end });

describe('the windows of a unit', () => {
  it('reach across regions of no unit, and end where another has one', () => {
    const windows = windowsOf([0, 1, 4, 6, 7], new Set([0, 1, 4, 5, 6, 7, 9]), 750, geometry);
    expect(windows).toEqual([range(0, 500), range(600, 750)]);
  });

  it('are empty past the end of the disk', () => {
    expect(windowsOf([3, 4], new Set([3, 4]), 250, geometry)).toEqual([range(250, 250)]);
  });
});

describe('shared listings', () => {
  const RANGES = [range(10, 20), range(90, 130), range(300, 310)];

  function listings(windows: readonly ByteRange[], failing = 0) {
    const asked: ByteRange[] = [];
    const shared = new SharedListings(async function* (window) {
      asked.push(window);
      if (asked.length <= failing) throw new Error('not now');
      for (const { start, end } of RANGES)
        if (start < window.end && end > window.start)
          yield { start: Math.max(start, window.start), end: Math.min(end, window.end) };
    }, windows);
    return { shared, asked };
  }

  it('list each window once, and answer what lies in it, cut at its ends', async () => {
    const { shared, asked } = listings([range(0, 400)]);
    const answers = await Promise.all(
      [range(0, 100), range(100, 200), range(200, 300), range(300, 400)].map((window) =>
        collect(shared.within(window)),
      ),
    );
    expect(answers).toEqual([[range(10, 20), range(90, 100)], [range(100, 130)], [], [range(300, 310)]]);
    expect(asked).toEqual([range(0, 400)]);
    expect(shared.saved).toBe(3);
  });

  it('hold nothing of a window that is one question, and ask what lies in none of them as it is', async () => {
    const { shared, asked } = listings([range(0, 100), range(200, 400)]);
    expect(await collect(shared.within(range(0, 100)))).toEqual([range(10, 20), range(90, 100)]);
    expect(await collect(shared.within(range(0, 100)))).toHaveLength(2);
    expect(await collect(shared.within(range(100, 300)))).toEqual([range(100, 130)]);
    expect(asked).toEqual([range(0, 100), range(0, 100), range(100, 300)]);
    expect(shared.saved).toBe(0);
  });

  it('ask again after a failure, and tell it to whoever asked', async () => {
    const { shared } = listings([range(0, 400)], 1);
    await expect(collect(shared.within(range(0, 100)))).rejects.toThrow('not now');
    expect(await collect(shared.within(range(300, 400)))).toEqual([range(300, 310)]);
  });
});
