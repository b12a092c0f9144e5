import { z } from 'zod';
import { among, anyText, filterOf } from '../filter.ts';
import { MANAGEMENT_TYPES, WORKLOAD_TYPES } from '../kinds.ts';
import { paged } from '../paging.ts';
import { oneOf, optional } from './common.ts';

/** What a request about protection is refused with. */
export const INVALID_PROTECTION = 'BMSUserErrorInvalidConfigureProtectionRequest';

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

export const itemsQuery = z.object({
  ...paged,
  $filter: filterOf({
    backupManagementType: among(MANAGEMENT_TYPES),
    itemType: among(WORKLOAD_TYPES),
    policyName: anyText,
    friendlyName: anyText,
    containerName: anyText,
  }),
});
export type ItemsQuery = z.infer<typeof itemsQuery>;

export const itemQuery = z.object({ $filter: filterOf({ expand: anyText }) });
