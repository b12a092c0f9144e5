import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import type { BackupPolicy } from '../../shared/domain/policy.ts';
import { type RetainedPoint, decideRetention, expiryOf, instantExpiry } from '../../shared/domain/retention.ts';

const DAY = 86_400_000;
const T = Date.UTC(2026, 4, 5, 3);
const policy: BackupPolicy = { minuteOfDay: 180, zone: 'UTC', dailyRetentionDays: 7, instantRetentionDays: 2 };
const id = (n: number): PointId => String(n).padStart(17, '0') as PointId;
const scheduled = (n: number, dueAt: number): RetainedPoint => ({
  point: id(n),
  time: dueAt + 300_000,
  trigger: 'scheduled',
  dueAt,
});
const onDemand = (n: number, retainUntil: number): RetainedPoint => ({
  point: id(n),
  time: T,
  trigger: 'onDemand',
  retainUntil,
});
const newest = scheduled(99, T + 400 * DAY);

const verdictAt = (point: RetainedPoint, nowMs: number): string =>
  decideRetention([point, newest], policy, nowMs)[0]!.verdict;

describe('a scheduled point', () => {
  it('stays for its days after it was due, to the millisecond', () => {
    expect(expiryOf(scheduled(1, T), policy)).toEqual({ at: T + 7 * DAY, rule: 'Daily' });
    expect(verdictAt(scheduled(1, T), T + 7 * DAY - 1)).toBe('keep');
    expect(verdictAt(scheduled(1, T), T + 7 * DAY)).toBe('expire');
  });
  it('follows the policy in force now', () => {
    expect(expiryOf(scheduled(1, T), { ...policy, dailyRetentionDays: 30 })?.at).toBe(T + 30 * DAY);
  });
  it('counts calendar days of the zone of the policy', () => {
    const due = Date.UTC(2026, 2, 28, 1);
    expect(expiryOf(scheduled(1, due), { ...policy, zone: 'Europe/Berlin', dailyRetentionDays: 2 })?.at).toBe(
      due + 2 * DAY - 3_600_000,
    );
  });
  it('without a due time counts from its snapshots', () => {
    expect(expiryOf({ point: id(1), time: T, trigger: 'scheduled' }, policy)?.at).toBe(T + 7 * DAY);
  });
});

describe('an on-demand point', () => {
  it('stays until the time that it was given, whatever the policy says', () => {
    expect(expiryOf(onDemand(1, T + 100 * DAY), policy)).toEqual({ at: T + 100 * DAY, rule: 'OnDemand' });
    expect(verdictAt(onDemand(1, T + 100 * DAY), T + 100 * DAY - 1)).toBe('keep');
    expect(verdictAt(onDemand(1, T + 100 * DAY), T + 100 * DAY)).toBe('expire');
    expect(verdictAt(onDemand(1, T + DAY), T + DAY)).toBe('expire');
  });
  it('without such a time stays', () =>
    expect(verdictAt({ point: id(1), time: T, trigger: 'onDemand' }, T + 9999 * DAY)).toBe('keep'));
});

describe('the item', () => {
  it('keeps its newest point, however old', () => {
    const verdicts = decideRetention([scheduled(1, T), scheduled(2, T + DAY)], policy, T + 999 * DAY);
    expect(verdicts.map(({ verdict }) => verdict)).toEqual(['expire', 'keep']);
    expect(verdicts[1]?.reason).toBe('the newest point of its item');
  });
  it('keeps everything while no policy is in force', () => {
    const verdicts = decideRetention([scheduled(1, T), onDemand(2, T), newest], undefined, T + 9999 * DAY);
    expect(verdicts.map(({ verdict, reason }) => [verdict, reason])).toEqual(
      Array.from({ length: 3 }, () => ['keep', 'no policy is in force']),
    );
  });
  it('without points has nothing to decide', () => expect(decideRetention([], policy, T)).toEqual([]));
});

it('snapshots stay for instant restore for their days after they were taken', () => {
  const point = scheduled(1, T);
  expect(instantExpiry(point, policy)).toBe(point.time + 2 * DAY);
  expect(instantExpiry(point, undefined)).toBeUndefined();
});

it('exactly the points past their expiry go, but for the newest, and what has gone stays gone', () => {
  const point = fc.oneof(
    fc.record({
      trigger: fc.constant('scheduled' as const),
      dueAt: fc.integer({ min: 0, max: 40 }).map((days) => T + days * DAY),
    }),
    fc.record({
      trigger: fc.constant('onDemand' as const),
      retainUntil: fc.integer({ min: 0, max: 40 }).map((days) => T + days * DAY),
    }),
  );
  fc.assert(
    fc.property(fc.array(point, { minLength: 1, maxLength: 8 }), fc.nat(60), fc.nat(10), (some, days, later) => {
      const points = some.map((own, n): RetainedPoint => ({ point: id(n), time: T, ...own }));
      const now = T + days * DAY;
      const verdicts = decideRetention(points, policy, now);
      for (const [i, { verdict }] of verdicts.entries()) {
        const past = expiryOf(points[i]!, policy)!.at <= now;
        expect(verdict).toBe(past && i < points.length - 1 ? 'expire' : 'keep');
      }
      const then = decideRetention(points, policy, now + later * DAY);
      verdicts.forEach(({ verdict }, i) => verdict === 'expire' && expect(then[i]!.verdict).toBe('expire'));
    }),
  );
});
