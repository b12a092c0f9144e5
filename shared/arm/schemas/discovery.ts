import { z } from 'zod';
import { among, filterOf } from '../filter.ts';
import { oneOf, optional } from './common.ts';

const SUMMARIES = ['BackupProtectedItemCountSummary', 'BackupProtectionContainerCountSummary'] as const;

export const usageSummariesQuery = z.object({
  $filter: filterOf({ type: among(SUMMARIES) }, ({ type }) =>
    type === undefined ? `type is missing: expected ${SUMMARIES.join(', ')}` : undefined,
  ),
});
export type UsageSummariesQuery = z.infer<typeof usageSummariesQuery>;

export const nameAvailabilityBody = z.object({
  type: z
    .string()
    .refine(
      (type) => type.toLowerCase() === 'microsoft.recoveryservices/vaults',
      'expected Microsoft.RecoveryServices/vaults',
    ),
  name: z.string(),
});
export type NameAvailabilityBody = z.infer<typeof nameAvailabilityBody>;

export const capabilitiesBody = z.object({ type: z.string().max(200) });
export type CapabilitiesBody = z.infer<typeof capabilitiesBody>;

export const featureSupportBody = z.object({
  featureType: oneOf('AzureVMResourceBackup', 'AzureBackupGoals'),
  vmSize: optional(z.string()),
  vmSku: optional(z.string()),
});
export type FeatureSupportBody = z.infer<typeof featureSupportBody>;

export const preValidateBody = z.object({
  resourceType: oneOf('VM'),
  resourceId: z.string(),
  vaultId: z.string(),
});
export type PreValidateBody = z.infer<typeof preValidateBody>;

/** Which VM a container is of its name says. */
export const containerBody = z.object({
  properties: z.object({ containerType: optional(z.string()), backupManagementType: optional(z.string()) }),
});
