import { expect, it } from 'vitest';
import { backOffSeconds, waitedSeconds } from '../../shared/services/back-off.ts';

it('a coordinator looks at once at first, and later after a fifth of the time that has passed', () => {
  expect([0, 1, 2, 3, 4].map(backOffSeconds)).toEqual([1, 1, 1, 1, 1]);
  for (let round = 20; round < 30; round++) {
    const passed = waitedSeconds(round, round);
    expect(backOffSeconds(round) / passed).toBeGreaterThan(0.1);
    expect(backOffSeconds(round) / passed).toBeLessThan(0.25);
  }
});

it('never waits for more than two minutes, however long the job runs', () => {
  expect(backOffSeconds(10_000)).toBe(120);
  expect(waitedSeconds(10_000, 5)).toBe(600);
});

it('tells what the last looks have waited for, not more than there were', () => {
  expect(waitedSeconds(3, 2)).toBe(2);
  expect(waitedSeconds(3, 50)).toBe(3);
  expect(waitedSeconds(3, 0)).toBe(0);
});
