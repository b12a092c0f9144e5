import { type BackupPolicy, isZone } from '../domain/policy.ts';
import { FieldsError } from './errors.ts';
import type { PolicyBody, PolicyProperties } from './schemas/policy.ts';

/** A policy as a client described it, and as it is meant. */
export interface ParsedPolicy {
  /** What the client sent, without read-only and unknown fields, defaults filled in. */
  readonly properties: Record<string, unknown>;
  readonly rules: BackupPolicy;
}

/** What a policy is refused with, by its schema or by its meaning. */
export const POLICY_CODE = 'BMSUserErrorInvalidPolicyInput';
const NOT_YET = 'this version does not support it';

/** The service demands 7 days at least; shorter ones are of use where points should be seen to expire. */
const RETENTION_DAYS = { least: 1, most: 9999 };
/** By policy type: what may be asked for, and what holds when nothing is. */
const INSTANT_DAYS = { V1: { most: 5, default: 2 }, V2: { most: 30, default: 7 } };
/** Schedules are looked at every half hour. */
const STEP_MINUTES = 30;

/**
 * What an AzureIaaSVMProtectionPolicy means: a daily schedule with daily retention. All that does not fit is named.
 * @throws FieldsError BMSUserErrorInvalidPolicyInput
 */
export function parsePolicy({ properties: wire }: PolicyBody): ParsedPolicy {
  const problems: { target: string; message: string }[] = [];
  const refuse = (target: string, message: string): void =>
    void problems.push({ target: `properties.${target}`, message });

  const policyType = wire.policyType ?? 'V1';
  const zone = zoneOf(wire.timeZone, refuse);
  const minuteOfDay = minuteOf(wire, policyType, refuse);
  const dailyRetentionDays = retentionOf(wire, minuteOfDay, refuse);
  const instantRetentionDays = instantOf(wire, policyType, dailyRetentionDays, refuse);
  for (const [tier, { tieringMode }] of Object.entries(wire.tieringPolicy ?? {})) {
    if (tieringMode !== 'DoNotTier' && tieringMode !== 'Invalid') {
      refuse(
        `tieringPolicy.${tier}.tieringMode`,
        `is ${quoted(tieringMode)}, ${NOT_YET}: expected DoNotTier, or no tieringPolicy`,
      );
    }
  }
  if (problems.length > 0) throw new FieldsError(POLICY_CODE, problems);
  return {
    properties: withoutUndefined({
      ...wire,
      policyType,
      timeZone: zone,
      instantRpRetentionRangeInDays: instantRetentionDays,
    }),
    rules: { minuteOfDay, zone, dailyRetentionDays, instantRetentionDays },
  };
}

type Refuse = (target: string, message: string) => void;
const quoted = (value: unknown): string => JSON.stringify(value);

function zoneOf(given: string | undefined, refuse: Refuse): string {
  if (given === undefined || given === '' || given.toUpperCase() === 'UTC') return 'UTC';
  if (/^[A-Za-z]/.test(given) && isZone(given)) return given;
  refuse(
    'timeZone',
    `is ${quoted(given)}: expected UTC or an IANA name such as Europe/Berlin; Windows names are not supported in this version`,
  );
  return 'UTC';
}

function minuteOf(wire: PolicyProperties, policyType: 'V1' | 'V2', refuse: Refuse): number {
  const { schedulePolicy: schedule } = wire;
  const expected = policyType === 'V1' ? 'SimpleSchedulePolicy' : 'SimpleSchedulePolicyV2';
  if (schedule.schedulePolicyType !== expected) {
    refuse(
      'schedulePolicy.schedulePolicyType',
      `is ${quoted(schedule.schedulePolicyType)}: a policy of type ${policyType} needs ${expected}`,
    );
  }
  if (schedule.scheduleRunFrequency !== 'Daily') {
    const known = ['Weekly', 'Hourly'].includes(schedule.scheduleRunFrequency);
    refuse(
      'schedulePolicy.scheduleRunFrequency',
      `is ${quoted(schedule.scheduleRunFrequency)}${known ? `, ${NOT_YET}` : ''}: expected Daily`,
    );
    return 0;
  }
  for (const field of ['hourlySchedule', 'weeklySchedule'] as const) {
    if (schedule[field] !== undefined)
      refuse(`schedulePolicy.${field}`, `is given, ${NOT_YET}: leave it out of a Daily schedule`);
  }
  if ((schedule.scheduleRunDays ?? []).length > 0) {
    refuse(
      'schedulePolicy.scheduleRunDays',
      `is ${quoted(schedule.scheduleRunDays)}: a Daily schedule runs on all days, leave it out`,
    );
  }
  const [field, times] =
    policyType === 'V1'
      ? ['schedulePolicy.scheduleRunTimes', schedule.scheduleRunTimes]
      : ['schedulePolicy.dailySchedule.scheduleRunTimes', schedule.dailySchedule?.scheduleRunTimes];
  if (times === undefined || times.length !== 1) {
    refuse(field, `has ${times?.length ?? 0} times: a Daily schedule has exactly one`);
    return 0;
  }
  const minute = timeOfDay(times[0]!);
  if (minute === undefined || minute % STEP_MINUTES !== 0) {
    refuse(
      field,
      `is ${quoted(times[0])}: expected a time on a half hour such as 2026-01-05T01:30:00Z, of which the time of day counts`,
    );
    return 0;
  }
  return minute;
}

function retentionOf(wire: PolicyProperties, minuteOfDay: number, refuse: Refuse): number {
  const { retentionPolicy: retention } = wire;
  if (retention.retentionPolicyType !== 'LongTermRetentionPolicy') {
    const known = retention.retentionPolicyType === 'SimpleRetentionPolicy';
    refuse(
      'retentionPolicy.retentionPolicyType',
      `is ${quoted(retention.retentionPolicyType)}${known ? `, ${NOT_YET}` : ''}: expected LongTermRetentionPolicy`,
    );
  }
  for (const field of ['weeklySchedule', 'monthlySchedule', 'yearlySchedule'] as const) {
    if (retention[field] !== undefined)
      refuse(`retentionPolicy.${field}`, `is given, ${NOT_YET}: only dailySchedule can be kept`);
  }
  const daily = retention.dailySchedule;
  if (daily === undefined) {
    refuse('retentionPolicy.dailySchedule', 'is missing: a Daily schedule needs daily retention');
    return RETENTION_DAYS.least;
  }
  for (const time of daily.retentionTimes ?? []) {
    if (timeOfDay(time) !== minuteOfDay) {
      refuse(
        'retentionPolicy.dailySchedule.retentionTimes',
        `has ${quoted(time)}: expected the time of day of the schedule`,
      );
    }
  }
  const { count, durationType } = daily.retentionDuration;
  if (durationType !== 'Days') {
    refuse('retentionPolicy.dailySchedule.retentionDuration.durationType', `is ${quoted(durationType)}: expected Days`);
  }
  if (count < RETENTION_DAYS.least || count > RETENTION_DAYS.most) {
    refuse(
      'retentionPolicy.dailySchedule.retentionDuration.count',
      `is ${count}: expected ${RETENTION_DAYS.least} to ${RETENTION_DAYS.most} days`,
    );
  }
  return count;
}

function instantOf(wire: PolicyProperties, policyType: 'V1' | 'V2', retentionDays: number, refuse: Refuse): number {
  const { most, default: usual } = INSTANT_DAYS[policyType];
  const given = wire.instantRpRetentionRangeInDays;
  // A short retention alone must not be refused for a default that nobody has asked for.
  if (given === undefined) return Math.max(1, Math.min(usual, retentionDays));
  if (given < 1 || given > most) {
    refuse(
      'instantRpRetentionRangeInDays',
      `is ${given}: a policy of type ${policyType} keeps snapshots 1 to ${most} days`,
    );
  } else if (given > retentionDays) {
    refuse(
      'instantRpRetentionRangeInDays',
      `is ${given}: snapshots cannot be kept longer than their points, ${retentionDays} days`,
    );
  }
  return given;
}

const DATE_TIME = /^(\d{4}-\d{2}-\d{2})T(\d{2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?(?:Z|[+-]00:?00)?$/;

/** Minutes after midnight on the wall clock of the policy's zone, whatever the date: so the service reads these times, in spite of their Z. */
function timeOfDay(text: string): number | undefined {
  const [, day = '', hour = '', minute = '', second = '0'] = DATE_TIME.exec(text) ?? [];
  if (
    Number.isNaN(Date.parse(`${day}T00:00:00Z`)) ||
    Number(hour) > 23 ||
    Number(minute) > 59 ||
    Number(second) !== 0
  ) {
    return undefined;
  }
  return Number(hour) * 60 + Number(minute);
}

/** Plain data as a row keeps it: what is undefined is left out at every depth. */
function withoutUndefined(value: Record<string, unknown>): Record<string, unknown> {
  return JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
}
