import { etagOf, withEtag } from './etag.ts';
import { type ArmAnswer, ok } from './http.ts';
import { VAULT_TYPE, vaultId } from './ids.ts';
import { theVault, type VaultCall } from './vaults.ts';

/** The parts of a vault's properties that the older calls show in their own words. */
interface Settings {
  readonly securitySettings?: {
    readonly softDeleteSettings?: {
      readonly softDeleteState?: string;
      readonly softDeleteRetentionPeriodInDays?: number;
    };
  };
  readonly redundancySettings?: {
    readonly standardTierStorageRedundancy?: string;
    readonly crossRegionRestore?: string;
  };
}

/** Soft delete as the backup plane shows it: another view of the vault's own properties, so that both stay in step. */
export async function getVaultConfig(call: VaultCall): Promise<ArmAnswer> {
  const { address, row, etag } = await theVault(call);
  const { softDeleteState, softDeleteRetentionPeriodInDays } =
    (row.properties as Settings).securitySettings?.softDeleteSettings ?? {};
  const { standardTierStorageRedundancy } = (row.properties as Settings).redundancySettings ?? {};
  const view = {
    id: `${vaultId(address)}/backupconfig/vaultconfig`,
    name: 'vaultconfig',
    type: `${VAULT_TYPE}/backupconfig`,
    eTag: etagOf(etag),
    properties: {
      enhancedSecurityState: 'Disabled',
      softDeleteFeatureState: softDeleteState,
      softDeleteRetentionPeriodInDays,
      isSoftDeleteFeatureStateEditable: true,
      storageModelType: standardTierStorageRedundancy,
      storageType: standardTierStorageRedundancy,
      storageTypeState: 'Unlocked',
      resourceGuardOperationRequests: [],
    },
  };
  return withEtag(ok(view), etag);
}

/** Redundancy as the backup plane shows it. */
export async function getStorageConfig(call: VaultCall): Promise<ArmAnswer> {
  const { address, row, etag } = await theVault(call);
  const { standardTierStorageRedundancy, crossRegionRestore } = (row.properties as Settings).redundancySettings ?? {};
  const view = {
    id: `${vaultId(address)}/backupstorageconfig/vaultstorageconfig`,
    name: 'vaultstorageconfig',
    type: `${VAULT_TYPE}/backupstorageconfig`,
    eTag: etagOf(etag),
    properties: {
      storageModelType: standardTierStorageRedundancy,
      storageType: standardTierStorageRedundancy,
      storageTypeState: 'Unlocked',
      crossRegionRestoreFlag: crossRegionRestore === 'Enabled',
      dedupState: 'Disabled',
      xcoolState: 'Disabled',
    },
  };
  return withEtag(ok(view), etag);
}

/** How the vault's data is encrypted at rest: by the storage account, with the platform's keys. Clients ask before each restore. */
export async function getEncryptionConfig(call: VaultCall): Promise<ArmAnswer> {
  const { address } = await theVault(call);
  return ok({
    id: `${vaultId(address)}/backupEncryptionConfigs/backupResourceEncryptionConfig`,
    name: 'backupResourceEncryptionConfig',
    type: `${VAULT_TYPE}/backupEncryptionConfigs`,
    properties: {
      encryptionAtRestType: 'MicrosoftManaged',
      lastUpdateStatus: 'NotEnabled',
      infrastructureEncryptionState: 'Disabled',
    },
  });
}

/** There is nothing to change: the schema lets pass only what holds anyway. */
export function putEncryptionConfig(call: VaultCall): Promise<ArmAnswer> {
  return getEncryptionConfig(call);
}

/** No vault is guarded by another party in this version; clients ask before critical calls. */
export async function listResourceGuardProxies(call: VaultCall): Promise<ArmAnswer> {
  await theVault(call);
  return ok({ value: [], nextLink: null });
}
