import { z } from 'zod';
import { anyText, filterOf, filterTime } from '../filter.ts';
import { paged } from '../paging.ts';
import { oneOf, optional, utcTime } from './common.ts';

export const backupBody = z.object({
  properties: z.object({
    objectType: oneOf('IaasVMBackupRequest'),
    recoveryPointExpiryTimeInUTC: optional(utcTime),
  }),
});
export type BackupBody = z.infer<typeof backupBody>;

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

export const pointsQuery = z.object({
  ...paged,
  $filter: filterOf(
    { startDate: filterTime, endDate: filterTime, extendedInfo: anyText },
    ({ startDate = -Infinity, endDate = Infinity }) => (startDate > endDate ? 'startDate is after endDate' : undefined),
  ),
});
export type PointsQuery = z.infer<typeof pointsQuery>;
