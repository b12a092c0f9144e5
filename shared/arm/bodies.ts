import { z } from 'zod';
import type { ErrorCode } from '../domain/errors.ts';
import { pointId } from '../domain/ids.ts';
import { FieldsError } from './errors.ts';

/*
 * What clients may send, in one place. Fields that are not named here are ignored, as ARM does: clients send back what they got,
 * read-only fields and those of newer versions included.
 */

/** Clients send null for what they leave out. */
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullish().transform((value) => value ?? undefined);

const oneOf = <const Values extends readonly [string, ...string[]]>(...values: Values) =>
  z.enum(values, { error: (issue) => `is ${JSON.stringify(issue.input)}: expected ${values.join(', ')}` });

/** ISO 8601; a time without an offset is in UTC, as the names of these fields say. */
const utcTime = z.iso
  .datetime({ offset: true, local: true, error: 'expected a time in ISO 8601 such as 2026-12-31T00:00:00Z' })
  .transform((text) => Date.parse(/(?:Z|[+-]\d{2}:?\d{2})$/i.test(text) ? text : `${text}Z`));

/** What one property of a table's row holds. */
const MOST_TAG_CHARS = 32_000;

const tags = z
  .record(z.string().min(1).max(512), z.string().max(256))
  .refine((value) => Object.keys(value).length <= 50, 'expected at most 50 tags')
  .refine(
    (value) => JSON.stringify(value).length <= MOST_TAG_CHARS,
    `expected at most ${MOST_TAG_CHARS} characters as JSON`,
  );

const onOff = oneOf('Enabled', 'Disabled');

const vaultProperties = z.object({
  publicNetworkAccess: optional(onOff),
  monitoringSettings: optional(
    z.object({
      azureMonitorAlertSettings: optional(
        z.object({
          alertsForAllJobFailures: optional(onOff),
          alertsForAllReplicationIssues: optional(onOff),
          alertsForAllFailoverIssues: optional(onOff),
        }),
      ),
      classicAlertSettings: optional(
        z.object({ alertsForCriticalOperations: optional(onOff), emailNotificationsForSiteRecovery: optional(onOff) }),
      ),
    }),
  ),
  restoreSettings: optional(
    z.object({
      crossSubscriptionRestoreSettings: optional(
        z.object({ crossSubscriptionRestoreState: optional(oneOf('Enabled', 'Disabled', 'PermanentlyDisabled')) }),
      ),
    }),
  ),
  redundancySettings: optional(
    z.object({
      standardTierStorageRedundancy: optional(oneOf('LocallyRedundant', 'GeoRedundant', 'ZoneRedundant')),
      crossRegionRestore: optional(onOff),
    }),
  ),
  securitySettings: optional(
    z.object({
      immutabilitySettings: optional(z.object({ state: optional(oneOf('Disabled', 'Unlocked', 'Locked')) })),
      softDeleteSettings: optional(
        z.object({
          softDeleteState: optional(oneOf('Enabled', 'Disabled', 'AlwaysON')),
          softDeleteRetentionPeriodInDays: optional(z.int().min(14).max(180)),
          enhancedSecurityState: optional(oneOf('Enabled', 'Disabled', 'AlwaysON')),
        }),
      ),
    }),
  ),
  encryption: optional(z.object({ keyVaultProperties: optional(z.object({ keyUri: optional(z.string()) })) })),
});

const identity = z.object({
  type: optional(oneOf('None', 'SystemAssigned', 'UserAssigned', 'SystemAssigned, UserAssigned')),
});
const sku = z.object({ name: oneOf('Standard', 'RS0') });

export const vaultBody = z.object({
  location: z.string().regex(/^[A-Za-z0-9 ]{1,64}$/, 'expected the name of a region, such as westeurope'),
  sku: optional(sku),
  tags: optional(tags),
  identity: optional(identity),
  properties: optional(vaultProperties),
});
export type VaultBody = z.infer<typeof vaultBody>;

export const vaultPatchBody = z.object({
  sku: optional(sku),
  tags: optional(tags),
  identity: optional(identity),
  properties: optional(vaultProperties),
});

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

const VM = 'Microsoft.Compute/virtualMachines';

const DATA_LUN = 'expected LUNs of data disks: whole numbers from 0 to 63';

/** By LUN: these data disks alone, or all but these. The OS disk, by whatever sign, is always in. */
const diskExclusion = z
  .object({
    diskLunList: z.array(z.int(DATA_LUN).min(-1, DATA_LUN).max(63, DATA_LUN), DATA_LUN).max(65),
    isInclusionList: optional(z.boolean()),
  })
  .refine(({ diskLunList, isInclusionList }) => isInclusionList === true || !diskLunList.includes(-1), {
    path: ['diskLunList'],
    error: `has -1, the OS disk, which is always backed up: ${DATA_LUN}`,
  })
  .transform(({ diskLunList, isInclusionList }) => ({
    luns: [...new Set(diskLunList)].filter((lun) => lun >= 0).sort((a, b) => a - b),
    isInclusion: isInclusionList ?? false,
  }));

export const protectedItemBody = z.object({
  properties: z.object({
    protectedItemType: z
      .string()
      .refine(
        (type) => type.toLowerCase() === VM.toLowerCase(),
        `this version protects virtual machines only: expected ${VM}`,
      ),
    sourceResourceId: optional(z.string()),
    policyId: optional(z.string()),
    protectionState: optional(
      oneOf(
        'Invalid',
        'IRPending',
        'Protected',
        'ProtectionError',
        'ProtectionStopped',
        'ProtectionPaused',
        'BackupsSuspended',
      ),
    ),
    isRehydrate: optional(z.boolean()),
    createMode: optional(oneOf('Invalid', 'Default', 'Recover')),
    extendedProperties: optional(z.object({ diskExclusionProperties: optional(diskExclusion) })),
  }),
});
export type ProtectedItemBody = z.infer<typeof protectedItemBody>;

export const backupBody = z.object({
  properties: z.object({
    objectType: oneOf('IaasVMBackupRequest'),
    recoveryPointExpiryTimeInUTC: optional(utcTime),
  }),
});

const CONTAINER_NAME = /^(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*$/;

export const restoreBody = z.object({
  properties: z.object({
    objectType: oneOf('IaasVMRestoreRequest', 'IaasVMRestoreWithRehydrationRequest'),
    recoveryPointId: optional(z.string()),
    recoveryType: oneOf('RestoreDisks', 'AlternateLocation', 'OriginalLocation'),
    sourceResourceId: optional(z.string()),
    storageAccountId: optional(z.string()),
    targetResourceGroupId: optional(z.string()),
    region: optional(z.string()),
    originalStorageAccountOption: optional(z.boolean()),
    restoreDiskLunList: optional(z.array(z.int('expected LUNs: whole numbers').min(-1).max(63)).max(65)),
    restoreWithManagedDisks: optional(z.boolean()),
    diskEncryptionSetId: optional(z.string()),
    zones: optional(z.array(z.string())),
    identityInfo: optional(z.looseObject({})),
    identityBasedRestoreDetails: optional(z.looseObject({})),
    securedVMDetails: optional(z.looseObject({})),
    targetDiskNetworkAccessSettings: optional(z.looseObject({})),
    encryptionDetails: optional(z.object({ encryptionEnabled: optional(z.boolean()) })),
    /** Strata's own: the container of the restored disks. */
    targetContainerName: optional(
      z
        .string()
        .regex(
          CONTAINER_NAME,
          'expected the name of a blob container: 3 to 63 lower-case letters, digits and single hyphens',
        ),
    ),
  }),
});
export type RestoreBody = z.infer<typeof restoreBody>;

export const backupStatusBody = z.object({ resourceType: oneOf('VM'), resourceId: z.string() });

/** What is verified: one item or all, how much of it is read in depth, and the point whose restore is tried. */
export const verifyBody = z
  .strictObject({
    item: optional(z.string().min(1).max(200)),
    deepBytes: optional(z.int('expected a whole number of bytes').nonnegative()),
    deepPercent: optional(z.number().min(0).max(100)),
    drill: optional(
      z
        .union(
          [z.literal('latest'), z.string().regex(/^\d{17}$/)],
          'expected latest, or the 17 digits of a recovery point',
        )
        .transform((text) => (text === 'latest' ? text : pointId(text))),
    ),
  })
  .refine(({ deepBytes, deepPercent }) => deepBytes === undefined || deepPercent === undefined, {
    path: ['deepPercent'],
    error: 'expected deepBytes or deepPercent, not both',
  })
  .refine(({ item, drill }) => item !== undefined || drill === undefined || drill === 'latest', {
    path: ['drill'],
    error: 'expected latest, or an item too: a recovery point is that of one VM',
  });

export const backupNowBody = z.strictObject({ vaultId: z.string(), vmId: z.string(), expiry: optional(utcTime) });

/** Which container a vault's tables are rebuilt from; asked for only where more than one says that it is the vault's. */
export const rebuildBody = z.strictObject({ container: optional(z.string().min(1).max(63)) });

/** Of requests that say all by their path. */
export const emptyBody = z.strictObject({});

/** `value` as `schema` shapes it. @throws FieldsError of `code`, naming each field that does not fit and what would */
export function parseBody<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  code: ErrorCode = 'InvalidRequest',
): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new FieldsError(
    code,
    parsed.error.issues.slice(0, 20).map(({ path, message }) => ({ target: path.join('.') || 'body', message })),
  );
}
