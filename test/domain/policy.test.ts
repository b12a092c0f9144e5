import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BackupPolicy, daysAfter, isZone, lastDue, nextDue } from '../../shared/domain/policy.ts';

const at = (hour: number, minute: number, zone: string): BackupPolicy => ({
  minuteOfDay: hour * 60 + minute,
  zone,
  dailyRetentionDays: 7,
  instantRetentionDays: 2,
});
const iso = (ms: number): string => new Date(ms).toISOString().replace(':00.000Z', 'Z');

describe('a daily schedule', () => {
  const table: [string, BackupPolicy, string, string, string][] = [
    ['before the time of day', at(3, 0, 'UTC'), '2026-05-05T02:59Z', '2026-05-04T03:00Z', '2026-05-05T03:00Z'],
    ['at the very time', at(3, 0, 'UTC'), '2026-05-05T03:00Z', '2026-05-05T03:00Z', '2026-05-06T03:00Z'],
    ['after it', at(3, 0, 'UTC'), '2026-05-05T03:01Z', '2026-05-05T03:00Z', '2026-05-06T03:00Z'],
    ['over the end of a year', at(23, 30, 'UTC'), '2027-01-01T00:00Z', '2026-12-31T23:30Z', '2027-01-01T23:30Z'],
    ['a leap day', at(1, 0, 'UTC'), '2028-02-29T00:30Z', '2028-02-28T01:00Z', '2028-02-29T01:00Z'],
    [
      'a zone ahead of UTC, where it is tomorrow already',
      at(0, 30, 'Asia/Kolkata'),
      '2026-05-05T20:00Z',
      '2026-05-05T19:00Z',
      '2026-05-06T19:00Z',
    ],
    // Berlin jumps from 02:00 to 03:00 on 2026-03-29 (01:00Z).
    [
      'Berlin the day before the jump',
      at(2, 30, 'Europe/Berlin'),
      '2026-03-28T12:00Z',
      '2026-03-28T01:30Z',
      '2026-03-29T01:30Z',
    ],
    [
      'Berlin, a time that was skipped, comes an hour later by the wall',
      at(2, 30, 'Europe/Berlin'),
      '2026-03-29T01:30Z',
      '2026-03-29T01:30Z',
      '2026-03-30T00:30Z',
    ],
    [
      'Berlin, just before it',
      at(2, 30, 'Europe/Berlin'),
      '2026-03-29T01:29Z',
      '2026-03-28T01:30Z',
      '2026-03-29T01:30Z',
    ],
    [
      'Berlin, a time after the jump keeps to the wall',
      at(9, 0, 'Europe/Berlin'),
      '2026-03-29T07:00Z',
      '2026-03-29T07:00Z',
      '2026-03-30T07:00Z',
    ],
    // Berlin has 02:00 to 03:00 twice on 2026-10-25 (from 00:00Z and from 01:00Z).
    [
      'Berlin, a time that comes twice, counts the first time',
      at(2, 30, 'Europe/Berlin'),
      '2026-10-25T00:30Z',
      '2026-10-25T00:30Z',
      '2026-10-26T01:30Z',
    ],
    [
      'Berlin, between the two',
      at(2, 30, 'Europe/Berlin'),
      '2026-10-25T01:00Z',
      '2026-10-25T00:30Z',
      '2026-10-26T01:30Z',
    ],
    [
      'Berlin, the second time is not due again',
      at(2, 30, 'Europe/Berlin'),
      '2026-10-25T01:30Z',
      '2026-10-25T00:30Z',
      '2026-10-26T01:30Z',
    ],
    // New York jumps from 02:00 to 03:00 on 2026-03-08 (07:00Z) and goes back on 2026-11-01 (06:00Z).
    ['New York, skipped', at(2, 15, 'America/New_York'), '2026-03-08T07:15Z', '2026-03-08T07:15Z', '2026-03-09T06:15Z'],
    [
      'New York, just before it',
      at(2, 15, 'America/New_York'),
      '2026-03-08T07:14Z',
      '2026-03-07T07:15Z',
      '2026-03-08T07:15Z',
    ],
    ['New York, twice', at(1, 15, 'America/New_York'), '2026-11-01T06:15Z', '2026-11-01T05:15Z', '2026-11-02T06:15Z'],
    // Cairo jumps over midnight itself: 2026-04-24 begins at 01:00 (2026-04-23T22:00Z).
    [
      'Cairo, a midnight that does not exist',
      at(0, 0, 'Africa/Cairo'),
      '2026-04-23T22:00Z',
      '2026-04-23T22:00Z',
      '2026-04-24T21:00Z',
    ],
  ];
  it.each(table)('%s', (_, policy, now, last, next) => {
    const nowMs = Date.parse(now.replace('Z', ':00Z'));
    expect([iso(lastDue(policy, nowMs)), iso(nextDue(policy, nowMs))]).toEqual([last, next]);
  });
});

describe('any daily schedule', () => {
  const policies = fc.record({
    minuteOfDay: fc.integer({ min: 0, max: 1439 }),
    zone: fc.constantFrom(
      'UTC',
      'Europe/Berlin',
      'America/New_York',
      'Africa/Cairo',
      'Australia/Lord_Howe',
      'Asia/Kathmandu',
      'Pacific/Kiritimati',
    ),
    dailyRetentionDays: fc.constant(7),
    instantRetentionDays: fc.constant(2),
  });
  // The weeks around changes of the clock, and anything.
  const ms = fc.oneof(
    fc.integer({ min: Date.UTC(2026, 2, 5), max: Date.UTC(2026, 3, 26) }),
    fc.integer({ min: Date.UTC(2026, 8, 25), max: Date.UTC(2026, 10, 5) }),
    fc.integer({ min: Date.UTC(2024, 0, 1), max: Date.UTC(2040, 0, 1) }),
  );

  it('has now between the last due time and the next, and nothing due between those', () => {
    fc.assert(
      fc.property(policies, ms, (policy, now) => {
        const last = lastDue(policy, now);
        const next = nextDue(policy, now);
        expect(last).toBeLessThanOrEqual(now);
        expect(next).toBeGreaterThan(now);
        expect(lastDue(policy, next - 1)).toBe(last);
        expect(lastDue(policy, next)).toBe(next);
        expect(nextDue(policy, last)).toBe(next);
        expect(next - last).toBeGreaterThanOrEqual(22.5 * 3_600_000);
        expect(next - last).toBeLessThanOrEqual(25.5 * 3_600_000);
      }),
      { numRuns: 500 },
    );
  });

  it('never goes back', () => {
    fc.assert(
      fc.property(policies, ms, fc.nat(3 * 86_400_000), (policy, now, later) => {
        expect(lastDue(policy, now + later)).toBeGreaterThanOrEqual(lastDue(policy, now));
        expect(nextDue(policy, now + later)).toBeGreaterThanOrEqual(nextDue(policy, now));
      }),
    );
  });

  it('comes once on each day of its zone', () => {
    fc.assert(
      fc.property(policies, ms, (policy, now) => {
        const dayOf = (due: number): string => new Intl.DateTimeFormat('en-CA', { timeZone: policy.zone }).format(due);
        const days: string[] = [];
        for (let due = lastDue(policy, now); days.length < 40; due = nextDue(policy, due)) days.push(dayOf(due));
        expect(new Set(days).size).toBe(40);
      }),
      { numRuns: 50 },
    );
  });
});

describe('days after', () => {
  const table: [string, number, string, string][] = [
    ['2026-03-28T11:00Z', 1, 'Europe/Berlin', '2026-03-29T10:00Z'],
    ['2026-10-24T10:00Z', 1, 'Europe/Berlin', '2026-10-25T11:00Z'],
    ['2026-03-28T11:00Z', 1, 'UTC', '2026-03-29T11:00Z'],
    ['2028-02-28T11:00Z', 2, 'UTC', '2028-03-01T11:00Z'],
    ['2026-01-01T00:00Z', 9999, 'UTC', '2053-05-18T00:00Z'],
  ];
  it.each(table)('%s and %i days in %s', (from, days, zone, expected) => {
    expect(iso(daysAfter(Date.parse(from.replace('Z', ':00Z')), days, zone))).toBe(expected);
  });
});

it('knows zones', () => {
  expect(['UTC', 'Europe/Berlin', 'Asia/Kolkata'].map(isZone)).toEqual([true, true, true]);
  expect(['', 'Mars/Olympus', 'W. Europe Standard Time'].map(isZone)).toEqual([false, false, false]);
});
