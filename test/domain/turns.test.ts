import { expect, it } from 'vitest';
import { inTurns } from '../../shared/domain/turns.ts';

it('units go out one of each disk in turn, those of a disk in their order', () => {
  const units = [0, 0, 0, 0, 1, 2, 2].map((disk) => ({ disk }));
  expect(inTurns(units)).toEqual([0, 4, 5, 1, 6, 2, 3]);
  expect(inTurns([])).toEqual([]);
});
