import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FieldsError } from '../../shared/arm/errors.ts';
import { POLICY_CODE, parsePolicy as parseBody } from '../../shared/arm/policy-wire.ts';
import { parseAs } from '../../shared/arm/schemas/common.ts';
import { policyBody } from '../../shared/arm/schemas/policy.ts';

type Wire = Record<string, unknown>;
const AT = '2026-01-05T01:30:00Z';
const parsePolicy = (properties: unknown) => parseBody(parseAs(policyBody, { properties }, POLICY_CODE));

function wire(change: Wire = {}): Wire {
  return {
    backupManagementType: 'AzureIaasVM',
    policyType: 'V1',
    timeZone: 'UTC',
    instantRpRetentionRangeInDays: 2,
    schedulePolicy: {
      schedulePolicyType: 'SimpleSchedulePolicy',
      scheduleRunFrequency: 'Daily',
      scheduleRunTimes: [AT],
      scheduleWeeklyFrequency: 0,
    },
    retentionPolicy: {
      retentionPolicyType: 'LongTermRetentionPolicy',
      dailySchedule: { retentionTimes: [AT], retentionDuration: { count: 14, durationType: 'Days' } },
    },
    ...change,
  };
}
const schedule = (change: Wire): Wire => wire({ schedulePolicy: { ...(wire()['schedulePolicy'] as Wire), ...change } });
const retention = (change: Wire): Wire =>
  wire({ retentionPolicy: { ...(wire()['retentionPolicy'] as Wire), ...change } });
const kept = (count: unknown, durationType = 'Days'): Wire =>
  retention({ dailySchedule: { retentionTimes: [AT], retentionDuration: { count, durationType } } });

function refusal(sent: unknown): FieldsError {
  try {
    parsePolicy(sent);
  } catch (error) {
    expect(error).toBeInstanceOf(FieldsError);
    expect((error as FieldsError).code).toBe('BMSUserErrorInvalidPolicyInput');
    return error as FieldsError;
  }
  throw new Error(`was taken: ${JSON.stringify(sent)}`);
}

describe('a policy that can be kept', () => {
  it('gives back all that was sent, and what it means', () => {
    expect(parsePolicy(wire())).toEqual({
      properties: wire(),
      rules: { minuteOfDay: 90, zone: 'UTC', dailyRetentionDays: 14, instantRetentionDays: 2 },
    });
  });

  it('drops what only the server says and what it does not know', () => {
    const { properties } = parsePolicy(
      wire({ protectedItemsCount: 7, somethingNewer: { a: 1 }, resourceGuardOperationRequests: [] }),
    );
    expect(properties).toEqual(wire());
  });

  it('fills in type, zone and instant retention', () => {
    const { timeZone: _zone, policyType: _type, instantRpRetentionRangeInDays: _days, ...bare } = wire();
    expect(parsePolicy(bare).properties).toMatchObject({
      policyType: 'V1',
      timeZone: 'UTC',
      instantRpRetentionRangeInDays: 2,
    });
  });

  it('takes the daily form of an enhanced policy, which keeps snapshots 7 days unless told otherwise', () => {
    const enhanced = wire({
      policyType: 'V2',
      instantRpRetentionRangeInDays: undefined,
      schedulePolicy: {
        schedulePolicyType: 'SimpleSchedulePolicyV2',
        scheduleRunFrequency: 'Daily',
        dailySchedule: { scheduleRunTimes: [AT] },
      },
    });
    expect(parsePolicy(enhanced).rules).toMatchObject({ minuteOfDay: 90, instantRetentionDays: 7 });
    expect(parsePolicy({ ...enhanced, instantRpRetentionRangeInDays: 14 }).rules.instantRetentionDays).toBe(14);
    expect(refusal({ ...enhanced, instantRpRetentionRangeInDays: 31 }).message).toContain('1 to 30');
  });

  it('never keeps snapshots longer than points by its own default', () => {
    const { instantRpRetentionRangeInDays: _, ...bare } = kept(1);
    expect(parsePolicy(bare).rules).toMatchObject({ dailyRetentionDays: 1, instantRetentionDays: 1 });
  });

  it.each([
    ['UTC', 'UTC'],
    ['utc', 'UTC'],
    ['', 'UTC'],
    [null, 'UTC'],
    ['Europe/Berlin', 'Europe/Berlin'],
  ])('reads the zone %j as %s', (timeZone, zone) => expect(parsePolicy(wire({ timeZone })).rules.zone).toBe(zone));

  it.each([
    ['1999-12-31T00:00:00Z', 0],
    ['2026-01-05T23:30:00.000Z', 1410],
    ['2099-06-01T12:00:00', 720],
    ['2026-01-05T12:30:00+00:00', 750],
  ])('takes of the time %s its time of day alone', (time, minutes) => {
    const sent = { ...schedule({ scheduleRunTimes: [time] }), retentionPolicy: retentionAt([time]) };
    expect(parsePolicy(sent).rules.minuteOfDay).toBe(minutes);
  });

  it('round-trips: what it gives back it takes, and gives back the same', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 47 }),
        fc.integer({ min: 1, max: 9999 }),
        fc.integer({ min: 1, max: 5 }),
        fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata'),
        (half, days, instant, timeZone) => {
          const time = `2026-01-05T${`${half >> 1}`.padStart(2, '0')}:${half % 2 === 0 ? '00' : '30'}:00Z`;
          const once = parsePolicy({
            ...schedule({ scheduleRunTimes: [time] }),
            timeZone,
            instantRpRetentionRangeInDays: Math.min(instant, days),
            retentionPolicy: {
              retentionPolicyType: 'LongTermRetentionPolicy',
              dailySchedule: { retentionTimes: [time], retentionDuration: { count: days, durationType: 'Days' } },
            },
          });
          expect(parsePolicy(once.properties)).toEqual(once);
          expect(once.rules).toEqual({
            minuteOfDay: half * 30,
            zone: timeZone,
            dailyRetentionDays: days,
            instantRetentionDays: Math.min(instant, days),
          });
        },
      ),
      { numRuns: 50 },
    );
  });
});

const retentionAt = (retentionTimes: string[]): Wire => ({
  retentionPolicyType: 'LongTermRetentionPolicy',
  dailySchedule: { retentionTimes, retentionDuration: { count: 14, durationType: 'Days' } },
});

describe('a policy that cannot be kept is refused with field, value and what would be right', () => {
  it.each<[string, unknown, string, RegExp]>([
    ['no object', 'daily', 'properties', /expected object/],
    [
      'another workload',
      wire({ backupManagementType: 'AzureStorage' }),
      'properties.backupManagementType',
      /AzureStorage.*AzureIaasVM/,
    ],
    ['an unknown type', wire({ policyType: 'V3' }), 'properties.policyType', /"V3".*V1, V2/],
    [
      'a Windows zone',
      wire({ timeZone: 'Pacific Standard Time' }),
      'properties.timeZone',
      /Pacific Standard Time.*IANA/,
    ],
    ['an offset as zone', wire({ timeZone: '+02:00' }), 'properties.timeZone', /\+02:00/],
    [
      'a weekly schedule',
      schedule({ scheduleRunFrequency: 'Weekly', scheduleRunDays: ['Sunday'] }),
      'properties.schedulePolicy.scheduleRunFrequency',
      /Weekly.*not support.*Daily/,
    ],
    [
      'an hourly schedule',
      schedule({ scheduleRunFrequency: 'Hourly', hourlySchedule: { interval: 4 } }),
      'properties.schedulePolicy.scheduleRunFrequency',
      /Hourly.*not support/,
    ],
    [
      'no such frequency',
      schedule({ scheduleRunFrequency: 'Yearly' }),
      'properties.schedulePolicy.scheduleRunFrequency',
      /"Yearly": expected Daily/,
    ],
    [
      'days in a daily schedule',
      schedule({ scheduleRunDays: ['Monday'] }),
      'properties.schedulePolicy.scheduleRunDays',
      /Monday/,
    ],
    [
      'hours in a daily schedule',
      schedule({ hourlySchedule: { interval: 4 } }),
      'properties.schedulePolicy.hourlySchedule',
      /not support/,
    ],
    [
      'two times',
      schedule({ scheduleRunTimes: [AT, AT] }),
      'properties.schedulePolicy.scheduleRunTimes',
      /2 times.*one/,
    ],
    ['no time', schedule({ scheduleRunTimes: [] }), 'properties.schedulePolicy.scheduleRunTimes', /0 times/],
    [
      'a time off the half hour',
      schedule({ scheduleRunTimes: ['2026-01-05T01:15:00Z'] }),
      'properties.schedulePolicy.scheduleRunTimes',
      /01:15.*half hour/,
    ],
    [
      'a time with seconds',
      schedule({ scheduleRunTimes: ['2026-01-05T01:30:01Z'] }),
      'properties.schedulePolicy.scheduleRunTimes',
      /half hour/,
    ],
    [
      'a time in another zone',
      schedule({ scheduleRunTimes: ['2026-01-05T01:30:00+02:00'] }),
      'properties.schedulePolicy.scheduleRunTimes',
      /half hour/,
    ],
    [
      'no time at all',
      schedule({ scheduleRunTimes: ['half past one'] }),
      'properties.schedulePolicy.scheduleRunTimes',
      /half past one/,
    ],
    [
      'hour 25',
      schedule({ scheduleRunTimes: ['2026-01-05T25:00:00Z'] }),
      'properties.schedulePolicy.scheduleRunTimes',
      /25:00/,
    ],
    [
      'a schedule of the other type',
      schedule({ schedulePolicyType: 'SimpleSchedulePolicyV2' }),
      'properties.schedulePolicy.schedulePolicyType',
      /V1 needs SimpleSchedulePolicy/,
    ],
    [
      'another retention type',
      retention({ retentionPolicyType: 'SimpleRetentionPolicy' }),
      'properties.retentionPolicy.retentionPolicyType',
      /not support.*LongTerm/,
    ],
    [
      'weekly retention',
      retention({ weeklySchedule: { daysOfTheWeek: ['Sunday'] } }),
      'properties.retentionPolicy.weeklySchedule',
      /not support/,
    ],
    [
      'monthly retention',
      retention({ monthlySchedule: {} }),
      'properties.retentionPolicy.monthlySchedule',
      /not support/,
    ],
    ['yearly retention', retention({ yearlySchedule: {} }), 'properties.retentionPolicy.yearlySchedule', /not support/],
    ['no daily retention', retention({ dailySchedule: null }), 'properties.retentionPolicy.dailySchedule', /missing/],
    ['0 days', kept(0), 'properties.retentionPolicy.dailySchedule.retentionDuration.count', /is 0: expected 1 to 9999/],
    ['10,000 days', kept(10_000), 'properties.retentionPolicy.dailySchedule.retentionDuration.count', /10000/],
    ['half a day', kept(1.5), 'properties.retentionPolicy.dailySchedule.retentionDuration.count', /whole number/],
    [
      'weeks',
      kept(3, 'Weeks'),
      'properties.retentionPolicy.dailySchedule.retentionDuration.durationType',
      /"Weeks": expected Days/,
    ],
    [
      'a text for a number',
      kept('14'),
      'properties.retentionPolicy.dailySchedule.retentionDuration.count',
      /whole number/,
    ],
    [
      'another retention time',
      wire({ retentionPolicy: retentionAt(['2026-01-05T02:00:00Z']) }),
      'properties.retentionPolicy.dailySchedule.retentionTimes',
      /02:00.*time of day of the schedule/,
    ],
    [
      '6 instant days',
      wire({ instantRpRetentionRangeInDays: 6 }),
      'properties.instantRpRetentionRangeInDays',
      /is 6.*1 to 5/,
    ],
    ['0 instant days', wire({ instantRpRetentionRangeInDays: 0 }), 'properties.instantRpRetentionRangeInDays', /is 0/],
    [
      'snapshots that outlive their points',
      { ...kept(1), instantRpRetentionRangeInDays: 2 },
      'properties.instantRpRetentionRangeInDays',
      /longer than their points/,
    ],
    [
      'archiving',
      wire({ tieringPolicy: { ArchivedRP: { tieringMode: 'TierAfter', duration: 3, durationType: 'Months' } } }),
      'properties.tieringPolicy.ArchivedRP.tieringMode',
      /TierAfter.*DoNotTier/,
    ],
  ])('%s', (_name, sent, target, message) => {
    const error = refusal(sent);
    expect(error.details.map((detail) => detail.target)).toContain(target);
    expect(error.message).toMatch(message);
  });

  it('names all that is wrong at once', () => {
    const error = refusal({ ...kept(0, 'Weeks'), timeZone: 'nowhere' });
    expect(error.details).toHaveLength(4);
    expect(error.target).toBe('properties.timeZone');
  });
});
