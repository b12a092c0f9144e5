import type { VaultRow } from '../catalog/catalog.ts';
import { BackupError } from '../domain/errors.ts';
import { type VaultAddress, vaultKey } from '../services/keys.ts';
import { deleteVault, findVault, listVaults, putVault } from '../services/vaults.ts';
import { parseBody, type VaultBody, vaultBody, vaultPatchBody } from './bodies.ts';
import { resourceNotFound } from './errors.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import { VAULT_TYPE, vaultId } from './ids.ts';
import { regionName } from './names.ts';
import { page, type Sorted } from './paging.ts';
import type { Call } from './route.ts';

export type VaultCall = Call<'subscription' | 'group' | 'vault'>;

/** An existing vault: its address in its own spelling, its key, its row. */
export interface FoundVault {
  readonly address: VaultAddress;
  readonly key: string;
  readonly row: VaultRow;
}

const asked = ({ params }: VaultCall): VaultAddress => ({
  subscriptionId: params.subscription,
  resourceGroup: params.group,
  vault: params.vault,
});

const addressOf = (row: VaultRow): VaultAddress => ({
  subscriptionId: row.subscriptionId,
  resourceGroup: row.resourceGroup,
  vault: row.name,
});

/** The vault that the call's path names. @throws BackupError ResourceNotFound */
export async function theVault(call: VaultCall): Promise<FoundVault> {
  const row = await findVault(call.ports, asked(call));
  if (row === undefined) throw resourceNotFound(VAULT_TYPE, call.params.vault, call.params.group);
  return { address: addressOf(row), key: vaultKey(addressOf(row)), row };
}

/** The link to the next page of one of a vault's lists: the same question with the token. */
export function listLink(call: VaultCall, vault: FoundVault, path: string, skipToken: string): string {
  return call.link(`${vaultId(vault.address)}/${path}`, {
    $filter: call.query.get('$filter'),
    $top: call.query.get('$top'),
    $skipToken: skipToken,
  });
}

/** What holds of a vault whose maker has not said otherwise. */
export const VAULT_DEFAULTS = {
  publicNetworkAccess: 'Enabled',
  monitoringSettings: {
    azureMonitorAlertSettings: { alertsForAllJobFailures: 'Disabled' },
    classicAlertSettings: { alertsForCriticalOperations: 'Disabled' },
  },
  restoreSettings: { crossSubscriptionRestoreSettings: { crossSubscriptionRestoreState: 'Disabled' } },
  redundancySettings: { standardTierStorageRedundancy: 'LocallyRedundant', crossRegionRestore: 'Disabled' },
  securitySettings: {
    immutabilitySettings: { state: 'Disabled' },
    softDeleteSettings: { softDeleteState: 'Disabled', softDeleteRetentionPeriodInDays: 14 },
  },
};

/** The ARM view of a vault. Newer clients want the three settings objects in every vault. */
export function vaultView(row: VaultRow): Record<string, unknown> {
  return {
    id: vaultId(addressOf(row)),
    name: row.name,
    type: VAULT_TYPE,
    location: row.location,
    sku: { name: row.skuName },
    tags: row.tags,
    properties: {
      ...row.properties,
      provisioningState: 'Succeeded',
      privateEndpointStateForBackup: 'None',
      privateEndpointStateForSiteRecovery: 'None',
      backupStorageVersion: 'V2',
    },
  };
}

export async function putVaultCall(call: VaultCall): Promise<ArmAnswer> {
  const body = parseBody(vaultBody, await call.body());
  refuseUnsupported(body);
  const { row, created } = await putVault(call.ports, asked(call), {
    location: regionName(body.location),
    skuName: body.sku?.name ?? 'Standard',
    tags: body.tags ?? {},
    properties: merged(VAULT_DEFAULTS, body.properties ?? {}),
  });
  return { status: created ? 201 : 200, body: vaultView(row) };
}

export async function patchVault(call: VaultCall): Promise<ArmAnswer> {
  const { row, address } = await theVault(call);
  const body = parseBody(vaultPatchBody, await call.body());
  refuseUnsupported(body);
  const changed = await putVault(call.ports, address, {
    location: row.location,
    skuName: body.sku?.name ?? row.skuName,
    tags: body.tags ?? row.tags,
    properties: merged(row.properties, body.properties ?? {}),
  });
  return ok(vaultView(changed.row));
}

export async function getVault(call: VaultCall): Promise<ArmAnswer> {
  return ok(vaultView((await theVault(call)).row));
}

/** Clients before 2023 take nothing but 200 for an answer, later ones nothing but 202 and 204. */
export async function deleteVaultCall(call: VaultCall): Promise<ArmAnswer> {
  await deleteVault(call.ports, asked(call));
  return call.apiVersion < '2023' ? { status: 200 } : noContent;
}

export async function listVaultsCall(call: Call<'subscription'>, group?: string): Promise<ArmAnswer> {
  const rows: Sorted<Record<string, unknown>>[] = [];
  const { subscription } = call.params;
  for await (const row of listVaults(call.ports, subscription, group)) {
    rows.push({ sortKey: `${row.resourceGroup}|${row.name}`.toLowerCase(), entry: vaultView(row) });
  }
  const within = group === undefined ? '' : `/resourceGroups/${group}`;
  const path = `/subscriptions/${subscription}${within}/providers/${VAULT_TYPE}`;
  return ok(page(rows, call.query, (token) => call.link(path, { $top: call.query.get('$top'), $skipToken: token })));
}

export const listVaultsOfGroup = (call: Call<'subscription' | 'group'>): Promise<ArmAnswer> =>
  listVaultsCall(call, call.params.group);

/** What would change what the vault promises is refused rather than kept without effect. */
function refuseUnsupported({ identity, properties }: Pick<VaultBody, 'identity' | 'properties'>): void {
  const refuse = (target: string, found: string, expected: string): never => {
    throw new BackupError(
      'InvalidRequest',
      `${target} is ${found}, which this version does not support: expected ${expected}`,
      {
        target,
      },
    );
  };
  const state = properties?.securitySettings?.immutabilitySettings?.state;
  if (state !== undefined && state !== 'Disabled')
    refuse('properties.securitySettings.immutabilitySettings.state', state, 'Disabled');
  if (properties?.redundancySettings?.crossRegionRestore === 'Enabled') {
    refuse('properties.redundancySettings.crossRegionRestore', 'Enabled', 'Disabled');
  }
  if (properties?.publicNetworkAccess === 'Disabled') refuse('properties.publicNetworkAccess', 'Disabled', 'Enabled');
  if (properties?.encryption?.keyVaultProperties !== undefined) {
    refuse(
      'properties.encryption.keyVaultProperties',
      'given',
      "none: the vault's storage account encrypts, with its own key",
    );
  }
  if (identity?.type !== undefined && identity.type !== 'None') refuse('identity.type', identity.type, 'None');
}

/** `change` laid over `base`, object by object. */
function merged(
  base: Readonly<Record<string, unknown>>,
  change: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(change)) {
    const before = result[key];
    if (value !== undefined) result[key] = isObject(value) ? merged(isObject(before) ? before : {}, value) : value;
  }
  return result;
}
