import type { PointRow } from '../catalog/catalog.ts';
import type { FindingRow } from '../catalog/finding-row.ts';
import { isManagedDisk } from '../disk/managed-ids.ts';
import type { BackupPolicy } from '../domain/policy.ts';
import { expiryOf, instantExpiry } from '../domain/retention.ts';
import type { VaultAddress } from '../services/keys.ts';
import { pointResourceId, VAULT_TYPE } from './ids.ts';
import type { ItemNames } from './names.ts';
import { iso } from './times.ts';

type Tier = 'Snapshot' | 'Snapshot and vault' | 'Vault';

/** Where a visible point is. */
export function tierOf(row: PointRow): Tier {
  if (row.vault === 'None') return 'Snapshot';
  return row.instant === 'Valid' ? 'Snapshot and vault' : 'Vault';
}

const TIER_DETAILS: Readonly<Record<Tier, readonly { type: string; status: string }[]>> = {
  Snapshot: [{ type: 'InstantRP', status: 'Valid' }],
  'Snapshot and vault': [
    { type: 'InstantRP', status: 'Valid' },
    { type: 'HardenedRP', status: 'Valid' },
  ],
  Vault: [
    { type: 'InstantRP', status: 'Deleted' },
    { type: 'HardenedRP', status: 'Valid' },
  ],
};

export interface PointContext {
  readonly vault: VaultAddress;
  readonly names: ItemNames;
  readonly policy: BackupPolicy | undefined;
  readonly kind: 'full' | 'incremental';
  /** What is known to be wrong with the point in the vault. */
  readonly findings: readonly Pick<FindingRow, 'kind' | 'code' | 'message'>[];
}

/** The ARM view of a recovery point. A list tells how many disks there are, a single point which. */
export function pointView(
  row: PointRow,
  { vault, names, policy, kind, findings }: PointContext,
  form: 'listed' | 'single',
): Record<string, unknown> {
  const { set } = row;
  const disks = (from: readonly { lun: number; name: string }[]) => from.map(({ lun, name }) => ({ lun, name }));
  const tier = tierOf(row);
  return {
    id: pointResourceId(vault, names, row.point),
    name: row.point,
    type: `${VAULT_TYPE}/backupFabrics/protectionContainers/protectedItems/recoveryPoints`,
    properties: {
      objectType: 'IaasVMRecoveryPoint',
      recoveryPointType: 'CrashConsistent',
      recoveryPointTime: iso(row.time),
      recoveryPointAdditionalInfo: row.note ?? '',
      sourceVMStorageType: storageTypeOf(set.disks),
      isSourceVMEncrypted: false,
      isInstantIlrSessionActive: false,
      recoveryPointTierDetails: TIER_DETAILS[tier],
      isManagedVirtualMachine: set.disks.some(({ url }) => isManagedDisk(url)),
      virtualMachineSize: set.vm.size,
      originalStorageAccountOption: false,
      osType: set.vm.osType,
      recoveryPointDiskConfiguration: {
        numberOfDisksIncludedInBackup: set.disks.length,
        numberOfDisksAttachedToVm: set.disks.length + set.lacking.length,
        includedDiskList: form === 'listed' ? null : disks(set.disks),
        excludedDiskList: form === 'listed' ? null : disks(set.lacking),
      },
      recoveryPointMoveReadinessInfo: { ArchivedRP: { isReadyForMove: false } },
      recoveryPointProperties: { ...expiry(row, policy), isSoftDeleted: false },
      strata: {
        label: tier,
        kind,
        sizeBytes: row.sizeBytes,
        dataBlocks: row.dataBlocks,
        clearedBlocks: row.clearedBlocks,
        storedBytes: row.storedBytes,
        ...(row.note === undefined ? {} : { note: row.note }),
        ...(findings.length === 0 ? {} : { findings }),
      },
    },
  };
}

/** Whether the disks were on premium storage, as far as is known: of page blobs it is not. */
function storageTypeOf(disks: PointRow['set']['disks']): string {
  const premium = disks.filter(({ managed }) => managed !== undefined && !managed.sku.startsWith('Standard')).length;
  if (premium === 0) return 'NormalStorage';
  return premium === disks.length ? 'PremiumStorage' : 'PremiumVMOnPartialPremiumStorage';
}

/** A point that will never enter the vault ends with its snapshots. Without a policy in force nothing ends. */
function expiry(row: PointRow, policy: BackupPolicy | undefined): { expiryTime?: string; ruleName?: string } {
  const rule = expiryOf(row, policy);
  if (rule === undefined) return {};
  const snapshotsEnd = row.vault === 'None' && row.note !== undefined ? instantExpiry(row, policy) : undefined;
  const at = snapshotsEnd ?? rule.at;
  return { ...(Number.isFinite(at) ? { expiryTime: iso(at) } : {}), ruleName: rule.rule };
}
