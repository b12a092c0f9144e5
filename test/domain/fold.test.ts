import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CLEARED, type Extent } from '../../shared/domain/extent.ts';
import { fold } from '../../shared/domain/fold.ts';
import { runs } from './arbitraries.ts';

const stored = (start: number, count: number, frame: number): Extent => ({ start, count, frame, slot: 0 });
const cleared = (start: number, count: number): Extent => ({ start, count, frame: CLEARED, slot: 0 });

describe('fold', () => {
  it('tells what nobody can see any more', () => {
    const { merged, lost } = fold([stored(0, 3, 0), cleared(5, 2)], [stored(1, 1, 1), cleared(2, 1), stored(6, 1, 2)]);
    expect(merged).toEqual([stored(0, 1, 0), stored(1, 1, 1), cleared(2, 1), cleared(5, 1), stored(6, 1, 2)]);
    expect(lost).toEqual([
      { ...stored(1, 1, 0), slot: 1 },
      { ...stored(2, 1, 0), slot: 2 },
    ]);
  });
  it('leaves cleared extents out at the bottom alone', () => {
    expect(fold([cleared(0, 1)], [cleared(3, 1)]).merged).toEqual([cleared(0, 1), cleared(3, 1)]);
    expect(fold([cleared(0, 1)], [cleared(3, 1)], true).merged).toEqual([]);
  });
  it('what is lost and what is merged make up the older map', () => {
    const map = (frame: number) => runs.map((some) => some.map((run): Extent => ({ ...run, frame, slot: run.start })));
    fc.assert(
      fc.property(map(0), map(1), (older, newer) => {
        const { merged, lost } = fold(older, newer);
        const kept = merged.filter(({ frame }) => frame === 0);
        const count = (some: readonly Extent[]): number => some.reduce((sum, extent) => sum + extent.count, 0);
        expect(count(kept) + count(lost)).toBe(count(older));
        expect(merged.filter(({ frame }) => frame === 1)).toEqual(newer);
      }),
    );
  });
});
