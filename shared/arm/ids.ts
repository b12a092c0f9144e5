import { BackupError } from '../domain/errors.ts';
import { type VaultAddress, vaultKey } from '../services/keys.ts';
import { containerName, type ItemNames, protectableItemName, protectedItemName } from './names.ts';

export const VAULT_TYPE = 'Microsoft.RecoveryServices/vaults';

/** A vault's resource id, spelled as the address has it. */
export function vaultId({ subscriptionId, resourceGroup, vault }: VaultAddress): string {
  return `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}/providers/${VAULT_TYPE}/${vault}`;
}

export const policyId = (vault: VaultAddress, policy: string): string => `${vaultId(vault)}/backupPolicies/${policy}`;
export const jobResourceId = (vault: VaultAddress, job: string): string => `${vaultId(vault)}/backupJobs/${job}`;
export const containerId = (vault: VaultAddress, names: ItemNames): string =>
  `${vaultId(vault)}/${containerPath(names)}`;
export const protectedItemId = (vault: VaultAddress, names: ItemNames): string =>
  `${vaultId(vault)}/${protectedItemPath(names)}`;
export const protectableItemId = (vault: VaultAddress, names: ItemNames): string =>
  `${containerId(vault, names)}/protectableItems/${protectableItemName(names)}`;
export const pointResourceId = (vault: VaultAddress, names: ItemNames, point: string): string =>
  `${protectedItemId(vault, names)}/recoveryPoints/${point}`;

/** The container's path below its vault. */
export const containerPath = (names: ItemNames): string =>
  `backupFabrics/Azure/protectionContainers/${containerName(names)}`;

/** The item's path below its vault. */
export const protectedItemPath = (names: ItemNames): string =>
  `${containerPath(names)}/protectedItems/${protectedItemName(names)}`;

const VAULT_ID =
  /^\/subscriptions\/([^/]+)\/resourceGroups\/([^/]+)\/providers\/Microsoft\.RecoveryServices\/vaults\/([^/]+)\/?$/i;
const POLICY_ID = /^(.+)\/backupPolicies\/([^/]+)\/?$/i;
const ACCOUNT_ID =
  /^\/subscriptions\/[^/]+\/resourceGroups\/[^/]+\/providers\/Microsoft\.(?:Classic)?Storage\/storageAccounts\/[a-z0-9]{3,24}$/i;

/** @throws BackupError InvalidRequest naming `field` */
export function parseVaultId(id: string, field: string): VaultAddress {
  const [, subscriptionId, resourceGroup, vault] = VAULT_ID.exec(id) ?? [];
  if (subscriptionId !== undefined && resourceGroup !== undefined && vault !== undefined) {
    return { subscriptionId, resourceGroup, vault };
  }
  const expected = vaultId({ subscriptionId: '<id>', resourceGroup: '<group>', vault: '<name>' });
  throw new BackupError('InvalidRequest', `${field} is ${JSON.stringify(id)}: expected ${expected}`, { target: field });
}

/** The name of a policy of `vault`. @throws BackupError BMSUserErrorInvalidConfigureProtectionRequest */
export function policyNameOf(id: string, vault: VaultAddress): string {
  const [, parent = '', name] = POLICY_ID.exec(id) ?? [];
  if (name !== undefined && VAULT_ID.test(parent) && vaultKey(parseVaultId(parent, 'policyId')) === vaultKey(vault)) {
    return name;
  }
  throw new BackupError(
    'BMSUserErrorInvalidConfigureProtectionRequest',
    `properties.policyId is ${JSON.stringify(id)}: expected a policy of this vault, ${policyId(vault, '<name>')}`,
    { target: 'properties.policyId' },
  );
}

const GROUP_ID = /^\/subscriptions\/[^/]+\/resourceGroups\/[\w.()-]{1,89}[\w()-]$/i;

/** Whether `id` is the resource id of a resource group. */
export const isResourceGroupId = (id: string): boolean => GROUP_ID.test(id);

/** Whether `id` is the resource id of a storage account. */
export const isStorageAccountId = (id: string): boolean => ACCOUNT_ID.test(id);
