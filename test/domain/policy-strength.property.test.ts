import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import type { BackupPolicy } from '../../shared/domain/policy.ts';
import { shortens } from '../../shared/domain/policy-strength.ts';
import { expiryOf } from '../../shared/domain/retention.ts';

const HOUR_MS = 3_600_000;
const anyZone = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Sydney');
const policyIn = (zone: fc.Arbitrary<string>): fc.Arbitrary<BackupPolicy> =>
  fc.record({
    minuteOfDay: fc.nat(47).map((half) => half * 30),
    zone,
    dailyRetentionDays: fc.integer({ min: 1, max: 400 }),
    instantRetentionDays: fc.integer({ min: 1, max: 5 }),
  });
const dueAt = fc.integer({ min: Date.parse('2024-01-01'), max: Date.parse('2030-01-01') });

const expiry = (policy: BackupPolicy, due: number): number =>
  expiryOf({ point: 'p' as PointId, time: due + 60_000, trigger: 'scheduled', dueAt: due }, policy)!.at;

it('in one zone a policy shortens another if and only if every point expires earlier under it', () =>
  fc.assert(
    fc.property(
      anyZone.chain((zone) => fc.tuple(policyIn(fc.constant(zone)), policyIn(fc.constant(zone)))),
      dueAt,
      ([before, after], due) => {
        expect(shortens(before, after).length > 0).toBe(expiry(after, due) < expiry(before, due));
      },
    ),
  ));

it('another zone moves an expiry by the hour of daylight saving at most', () =>
  fc.assert(
    fc.property(policyIn(anyZone), policyIn(anyZone), dueAt, (before, after, due) => {
      const earlierMs = expiry(before, due) - expiry(after, due);
      if (shortens(before, after).length === 0) expect(earlierMs).toBeLessThanOrEqual(2 * HOUR_MS);
      else expect(earlierMs).toBeGreaterThan(20 * HOUR_MS);
    }),
  ));

it('is an order: no policy shortens itself, and what shortens a shorter one shortens the longer', () =>
  fc.assert(
    fc.property(policyIn(anyZone), policyIn(anyZone), policyIn(anyZone), (a, b, c) => {
      expect(shortens(a, a)).toEqual([]);
      if (shortens(a, b).length > 0 && shortens(b, c).length > 0) expect(shortens(a, c)).not.toEqual([]);
      if (shortens(a, b).length > 0) expect(shortens(b, a)).toEqual([]);
    }),
  ));

it('says what would be shorter', () => {
  const policy = { minuteOfDay: 0, zone: 'UTC', dailyRetentionDays: 30, instantRetentionDays: 5 };
  expect(shortens(policy, { ...policy, dailyRetentionDays: 7 })).toEqual([
    'daily points would be kept 7 days instead of 30',
  ]);
  expect(shortens(policy, { ...policy, instantRetentionDays: 1, minuteOfDay: 30 })).toEqual([]);
});
