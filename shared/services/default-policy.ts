import type { BackupPolicy } from '../domain/policy.ts';

/** The policy that every vault has from the start: daily at 21:00 UTC, kept 30 days, snapshots 5 days. */
export const DEFAULT_POLICY_NAME = 'DefaultPolicy';

const AT = '2026-01-01T21:00:00Z';
const RETENTION_DAYS = 30;
const INSTANT_DAYS = 5;

/** The default policy as clients see it and as it is meant. */
export function defaultPolicy(): { properties: Record<string, unknown>; rules: BackupPolicy } {
  return {
    properties: {
      backupManagementType: 'AzureIaasVM',
      policyType: 'V1',
      timeZone: 'UTC',
      instantRpRetentionRangeInDays: INSTANT_DAYS,
      schedulePolicy: {
        schedulePolicyType: 'SimpleSchedulePolicy',
        scheduleRunFrequency: 'Daily',
        scheduleRunTimes: [AT],
        scheduleWeeklyFrequency: 0,
      },
      retentionPolicy: {
        retentionPolicyType: 'LongTermRetentionPolicy',
        dailySchedule: { retentionTimes: [AT], retentionDuration: { count: RETENTION_DAYS, durationType: 'Days' } },
      },
    },
    rules: {
      minuteOfDay: 21 * 60,
      zone: 'UTC',
      dailyRetentionDays: RETENTION_DAYS,
      instantRetentionDays: INSTANT_DAYS,
    },
  };
}
