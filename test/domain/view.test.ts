import { describe, expect, it } from 'vitest';
import { CLEARED, type Extent } from '../../shared/domain/extent.ts';
import { overlay, view } from '../../shared/domain/view.ts';

const stored = (start: number, count: number, frame: number): Extent => ({ start, count, frame, slot: 0 });
const cleared = (start: number, count: number): Extent => ({ start, count, frame: CLEARED, slot: 0 });

describe('view', () => {
  it('of no layers says nothing', () => expect(view([])).toEqual([]));
  it('takes the newer where both speak', () => {
    expect(overlay([stored(0, 6, 0)], [stored(2, 2, 1)])).toEqual([
      stored(0, 2, 0),
      stored(2, 2, 1),
      { ...stored(4, 2, 0), slot: 4 },
    ]);
  });
  it('remembers that a block was cleared', () =>
    expect(view([[stored(0, 2, 0)], [cleared(0, 1)]])).toEqual([cleared(0, 1), { ...stored(1, 1, 0), slot: 1 }]));
  it('shows a block written again after it was cleared', () => {
    expect(view([[stored(0, 1, 0)], [cleared(0, 1)], [stored(0, 1, 1)]])).toEqual([stored(0, 1, 1)]);
  });
});
