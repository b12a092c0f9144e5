import { z } from 'zod';
import { among, anyText, filterOf } from '../filter.ts';
import { MANAGEMENT_TYPES } from '../kinds.ts';
import { paged } from '../paging.ts';
import { onOff, oneOf, optional } from './common.ts';

/** What one property of a table's row holds. */
const MOST_TAG_CHARS = 32_000;

const tags = z
  .record(z.string().min(1).max(512), z.string().max(256))
  .refine((value) => Object.keys(value).length <= 50, 'expected at most 50 tags')
  .refine(
    (value) => JSON.stringify(value).length <= MOST_TAG_CHARS,
    `expected at most ${MOST_TAG_CHARS} characters as JSON`,
  );

const redundancy = oneOf('LocallyRedundant', 'GeoRedundant', 'ZoneRedundant');
const softDelete = {
  state: optional(oneOf('Enabled', 'Disabled', 'AlwaysON')),
  days: optional(z.int().min(14).max(180)),
};

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
      standardTierStorageRedundancy: optional(redundancy),
      crossRegionRestore: optional(onOff),
    }),
  ),
  securitySettings: optional(
    z.object({
      immutabilitySettings: optional(z.object({ state: optional(oneOf('Disabled', 'Unlocked', 'Locked')) })),
      softDeleteSettings: optional(
        z.object({
          softDeleteState: softDelete.state,
          softDeleteRetentionPeriodInDays: softDelete.days,
          enhancedSecurityState: softDelete.state,
        }),
      ),
    }),
  ),
  encryption: optional(z.object({ keyVaultProperties: optional(z.object({ keyUri: optional(z.string()) })) })),
});

/** Older clients send lower case and no blank. */
const IDENTITIES = ['None', 'SystemAssigned', 'UserAssigned', 'SystemAssigned, UserAssigned'] as const;
const identity = z.object({
  type: optional(z.preprocess((type) => (typeof type === 'string' ? identityType(type) : type), oneOf(...IDENTITIES))),
});
const identityType = (given: string): string =>
  IDENTITIES.find((type) => type.replace(' ', '').toLowerCase() === given.replace(' ', '').toLowerCase()) ?? given;
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
export type VaultPatchBody = z.infer<typeof vaultPatchBody>;

export const backupStatusBody = z.object({ resourceType: oneOf('VM'), resourceId: z.string() });

export type BackupStatusBody = z.infer<typeof backupStatusBody>;

const managed = { backupManagementType: among(MANAGEMENT_TYPES) };

export const containersQuery = z.object({
  ...paged,
  $filter: filterOf({ ...managed, status: anyText, friendlyName: anyText }),
});
export type ContainersQuery = z.infer<typeof containersQuery>;

export const protectableItemsQuery = z.object({
  ...paged,
  $filter: filterOf({ ...managed, workloadType: anyText, friendlyName: anyText }),
});
export type ProtectableItemsQuery = z.infer<typeof protectableItemsQuery>;

export const refreshQuery = z.object({ $filter: filterOf({ backupManagementType: anyText }) });

/** Fields that the service fills in are taken back as they are: clients send what they got. */
export const vaultConfigBody = z.object({
  properties: z.object({
    softDeleteFeatureState: softDelete.state,
    softDeleteRetentionPeriodInDays: softDelete.days,
    enhancedSecurityState: softDelete.state,
  }),
});
export type VaultConfigBody = z.infer<typeof vaultConfigBody>;

const off = (what: string) =>
  optional(oneOf('Invalid', 'Disabled', 'Enabled').refine((state) => state !== 'Enabled', `is "Enabled": ${what}`));

export const storageConfigBody = z.object({
  properties: z.object({
    storageModelType: optional(redundancy),
    /** Read-only: what the model has led to. */
    crossRegionRestoreFlag: optional(
      z
        .boolean()
        .refine(
          (flag) => !flag,
          'is true, which this version does not support: expected false, since a vault is in one region',
        ),
    ),
    dedupState: off('this version does not deduplicate: expected Disabled'),
    xcoolState: off('this version has no such tier: expected Disabled'),
  }),
});
export type StorageConfigBody = z.infer<typeof storageConfigBody>;

/** The platform's keys are the only ones: what asks for others is refused, the rest is how it is. */
export const encryptionBody = z.object({
  properties: z.object({
    encryptionAtRestType: z
      .string()
      .refine(
        (type) => type === 'MicrosoftManaged',
        "this version does not support it: expected MicrosoftManaged, since the vault's storage account encrypts, with its own key",
      ),
    infrastructureEncryptionState: optional(oneOf('Invalid', 'Disabled')),
  }),
});
