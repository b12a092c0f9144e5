import type { VaultRow } from '../catalog/catalog.ts';
import type { Versioned } from '../catalog/catalog-table.ts';
import { BackupError } from '../domain/errors.ts';
import { type VaultAddress, vaultKey } from '../services/keys.ts';
import { deleteVault, listVaultVersions, putVault, type VaultRequest, vaultVersion } from '../services/vaults.ts';
import { resourceNotFound } from './errors.ts';
import { etagOf, withEtag } from './etag.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import { VAULT_TYPE, vaultId } from './ids.ts';
import { regionName } from './names.ts';
import { page, type PageQuery, type Sorted } from './paging.ts';
import type { Call } from './route.ts';
import type { VaultBody, VaultPatchBody } from './schemas/vault.ts';

export type VaultCall<Asked = unknown, Body = unknown> = Call<'subscription' | 'group' | 'vault', Asked, Body>;

/** An existing vault: its address in its own spelling, its key, its row and the version of it. */
export interface FoundVault {
  readonly address: VaultAddress;
  readonly key: string;
  readonly row: VaultRow;
  readonly etag: string;
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
  const found = await vaultVersion(call.ports, asked(call));
  if (found === undefined) throw absent(call);
  const address = addressOf(found.row);
  return { address, key: vaultKey(address), row: found.row, etag: found.etag };
}

const absent = ({ params }: VaultCall): BackupError => resourceNotFound(VAULT_TYPE, params.vault, params.group);

/** The link to the next page of one of a vault's lists: the same question with the token. */
export function listLink(call: VaultCall, vault: FoundVault, path: string, skipToken: string): string {
  return call.pageLink(`${vaultId(vault.address)}/${path}`, skipToken);
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
    softDeleteSettings: { softDeleteState: 'Enabled', softDeleteRetentionPeriodInDays: 14 },
  },
};

/** The ARM view of a vault. Newer clients want the three settings objects in every vault. */
export function vaultView({ row, etag }: Versioned<VaultRow>): Record<string, unknown> {
  return {
    id: vaultId(addressOf(row)),
    name: row.name,
    type: VAULT_TYPE,
    location: row.location,
    sku: { name: row.skuName },
    tags: row.tags,
    etag: etagOf(etag),
    properties: {
      ...row.properties,
      provisioningState: 'Succeeded',
      privateEndpointStateForBackup: 'None',
      privateEndpointStateForSiteRecovery: 'None',
      backupStorageVersion: 'V2',
    },
  };
}

/** Creates a vault, or changes what the body speaks of in one that is there: what it leaves out stays as it is. */
export async function putVaultCall(call: VaultCall<unknown, VaultBody>): Promise<ArmAnswer> {
  const { body } = call;
  refuseUnsupported(body);
  const change = (standing: VaultRow | undefined): VaultRequest => ({
    location: regionName(body.location),
    skuName: body.sku?.name ?? standing?.skuName ?? 'Standard',
    tags: body.tags ?? standing?.tags ?? {},
    properties: merged(standing?.properties ?? VAULT_DEFAULTS, body.properties ?? {}),
  });
  const vault = await putVault(call.ports, asked(call), change, call.precondition);
  return withEtag({ status: vault.created ? 201 : 200, body: vaultView(vault) }, vault.etag);
}

export async function patchVault(call: VaultCall<unknown, VaultPatchBody>): Promise<ArmAnswer> {
  const { address } = await theVault(call);
  const { body } = call;
  refuseUnsupported(body);
  const change = (standing: VaultRow | undefined): VaultRequest => {
    if (standing === undefined) throw absent(call);
    return {
      location: standing.location,
      skuName: body.sku?.name ?? standing.skuName,
      tags: body.tags ?? standing.tags,
      properties: merged(standing.properties, body.properties ?? {}),
    };
  };
  const changed = await putVault(call.ports, address, change, call.precondition);
  return withEtag(ok(vaultView(changed)), changed.etag);
}

export async function getVault(call: VaultCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  return withEtag(ok(vaultView(vault)), vault.etag);
}

/** Clients before 2023 take nothing but 200 for an answer, later ones nothing but 202 and 204. */
export async function deleteVaultCall(call: VaultCall): Promise<ArmAnswer> {
  await deleteVault(call.ports, asked(call), call.precondition);
  return call.apiVersion < '2023' ? { status: 200 } : noContent;
}

export async function listVaultsCall(call: Call<'subscription', PageQuery>, group?: string): Promise<ArmAnswer> {
  const rows: Sorted<Record<string, unknown>>[] = [];
  const { subscription } = call.params;
  for await (const vault of listVaultVersions(call.ports, subscription, group)) {
    const { resourceGroup, name } = vault.row;
    rows.push({ sortKey: `${resourceGroup}|${name}`.toLowerCase(), entry: vaultView(vault) });
  }
  const within = group === undefined ? '' : `/resourceGroups/${group}`;
  const path = `/subscriptions/${subscription}${within}/providers/${VAULT_TYPE}`;
  return ok(page(rows, call.query, (token) => call.pageLink(path, token)));
}

export const listVaultsOfGroup = (call: Call<'subscription' | 'group', PageQuery>): Promise<ArmAnswer> =>
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
