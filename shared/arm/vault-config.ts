import type { VaultRow } from '../catalog/catalog.ts';
import type { Versioned } from '../catalog/catalog-table.ts';
import type { VaultSettings } from '../domain/vault-settings.ts';
import { holdsData } from '../services/vault-contents.ts';
import { etagOf, withEtag } from './etag.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import { VAULT_TYPE, vaultId } from './ids.ts';
import type { StorageConfigBody, VaultConfigBody } from './schemas/vault.ts';
import { changeVault, theVault, type VaultCall } from './vaults.ts';

/*
 * A vault's settings in the words of the backup plane. They have no row of their own: these views read and write the vault's own properties,
 * so that whichever of them a client uses, all show the same.
 */

/** Soft delete. */
async function vaultConfig(call: VaultCall, { row, etag }: Versioned<VaultRow>): Promise<ArmAnswer> {
  const { softDeleteState, softDeleteRetentionPeriodInDays, enhancedSecurityState } =
    (row.properties as VaultSettings).securitySettings?.softDeleteSettings ?? {};
  const view = {
    id: `${vaultId({ ...row, vault: row.name })}/backupconfig/vaultconfig`,
    name: 'vaultconfig',
    type: `${VAULT_TYPE}/backupconfig`,
    eTag: etagOf(etag),
    properties: {
      // Of vaults that were made before it was recorded.
      enhancedSecurityState: enhancedSecurityState ?? 'Disabled',
      softDeleteFeatureState: softDeleteState,
      softDeleteRetentionPeriodInDays,
      isSoftDeleteFeatureStateEditable: softDeleteState !== 'AlwaysON',
      ...(await redundancyOf(call, row)),
      resourceGuardOperationRequests: [],
    },
  };
  return withEtag(ok(view), etag);
}

async function redundancyOf(call: VaultCall, row: VaultRow): Promise<Record<string, unknown>> {
  const { standardTierStorageRedundancy } = (row.properties as VaultSettings).redundancySettings ?? {};
  return {
    storageModelType: standardTierStorageRedundancy,
    storageType: standardTierStorageRedundancy,
    storageTypeState: (await holdsData(call.ports, row)) ? 'Locked' : 'Unlocked',
  };
}

export async function getVaultConfig(call: VaultCall): Promise<ArmAnswer> {
  return vaultConfig(call, await theVault(call));
}

/** PUT and PATCH alike: what the body leaves out stays, so that a client that knows fewer settings switches none off. */
export async function changeVaultConfig(call: VaultCall<unknown, VaultConfigBody>): Promise<ArmAnswer> {
  const { softDeleteFeatureState, softDeleteRetentionPeriodInDays, enhancedSecurityState } = call.body.properties;
  const softDeleteSettings = {
    softDeleteState: softDeleteFeatureState,
    softDeleteRetentionPeriodInDays,
    enhancedSecurityState,
  };
  const vault = await changeVault(call, { properties: { securitySettings: { softDeleteSettings } } });
  return vaultConfig(call, vault);
}

/** Redundancy: recorded and shown; that of the data is its storage account's. */
async function storageConfig(call: VaultCall, { row, etag }: Versioned<VaultRow>): Promise<ArmAnswer> {
  const { crossRegionRestore } = (row.properties as VaultSettings).redundancySettings ?? {};
  const view = {
    id: `${vaultId({ ...row, vault: row.name })}/backupstorageconfig/vaultstorageconfig`,
    name: 'vaultstorageconfig',
    type: `${VAULT_TYPE}/backupstorageconfig`,
    eTag: etagOf(etag),
    properties: {
      ...(await redundancyOf(call, row)),
      crossRegionRestoreFlag: crossRegionRestore === 'Enabled',
      dedupState: 'Disabled',
      xcoolState: 'Disabled',
    },
  };
  return withEtag(ok(view), etag);
}

export async function getStorageConfig(call: VaultCall): Promise<ArmAnswer> {
  return storageConfig(call, await theVault(call));
}

function changeRedundancy(call: VaultCall<unknown, StorageConfigBody>): Promise<Versioned<VaultRow>> {
  const { storageModelType } = call.body.properties;
  return changeVault(call, { properties: { redundancySettings: { standardTierStorageRedundancy: storageModelType } } });
}

export async function putStorageConfig(call: VaultCall<unknown, StorageConfigBody>): Promise<ArmAnswer> {
  return storageConfig(call, await changeRedundancy(call));
}

/** Clients take nothing but 204 here. */
export async function patchStorageConfig(call: VaultCall<unknown, StorageConfigBody>): Promise<ArmAnswer> {
  const { etag } = await changeRedundancy(call);
  return withEtag(noContent, etag);
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
