import { z } from 'zod';
import { among, filterOf } from '../filter.ts';
import { MANAGEMENT_TYPES, WORKLOAD_TYPES } from '../kinds.ts';
import { paged } from '../paging.ts';
import { oneOf, optional } from './common.ts';

const times = z.array(z.string());
const count = z.int('expected a whole number');
const duration = z.object({ count, durationType: z.string() });
const weekly = z.looseObject({});

/** Types alone: what the values mean, and which of them this version can do, policy-wire says. */
const policyProperties = z.object({
  backupManagementType: oneOf('AzureIaasVM'),
  workloadType: optional(oneOf('VM')),
  policyType: optional(oneOf('V1', 'V2')),
  timeZone: optional(z.string()),
  instantRpRetentionRangeInDays: optional(count),
  instantRPDetails: optional(
    z.object({
      azureBackupRGNamePrefix: optional(z.string().max(74)),
      azureBackupRGNameSuffix: optional(z.string().max(74)),
    }),
  ),
  snapshotConsistencyType: optional(oneOf('OnlyCrashConsistent')),
  schedulePolicy: z.object({
    schedulePolicyType: z.string(),
    scheduleRunFrequency: z.string(),
    scheduleRunDays: optional(z.array(z.string())),
    scheduleRunTimes: optional(times),
    scheduleWeeklyFrequency: optional(z.number()),
    hourlySchedule: optional(weekly),
    dailySchedule: optional(z.object({ scheduleRunTimes: times })),
    weeklySchedule: optional(weekly),
  }),
  retentionPolicy: z.object({
    retentionPolicyType: z.string(),
    dailySchedule: optional(z.object({ retentionTimes: optional(times), retentionDuration: duration })),
    weeklySchedule: optional(weekly),
    monthlySchedule: optional(weekly),
    yearlySchedule: optional(weekly),
  }),
  tieringPolicy: optional(z.record(z.string(), z.object({ tieringMode: z.string() }))),
});
export type PolicyProperties = z.infer<typeof policyProperties>;

export const policyBody = z.object({ properties: policyProperties });

export type PolicyBody = z.infer<typeof policyBody>;

export const policiesQuery = z.object({
  ...paged,
  $filter: filterOf({ backupManagementType: among(MANAGEMENT_TYPES), workloadType: among(WORKLOAD_TYPES) }),
});
export type PoliciesQuery = z.infer<typeof policiesQuery>;
