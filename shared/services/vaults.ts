import type { VaultRow } from '../catalog/catalog.ts';
import type { Versioned } from '../catalog/catalog-table.ts';
import { BackupError, isBackupError } from '../domain/errors.ts';
import type { JobId } from '../domain/ids.ts';
import { BLOCK_BYTES } from '../domain/units.ts';
import { checkVaultChange } from '../domain/vault-security.ts';
import { encodeDocument } from '../format/document.ts';
import type { VaultDocument } from '../format/documents.ts';
import { VAULT_NAME } from '../format/names.ts';
import { readAllRuns, removeRun } from './clean-up-report.ts';
import { DEFAULT_POLICY_NAME, defaultPolicy } from './default-policy.ts';
import { forgetIndex, unindexJob } from './job-index.ts';
import { runningRebuild } from './jobs.ts';
import { type VaultAddress, vaultKey, vaultRowKey } from './keys.ts';
import { putPolicy } from './policies.ts';
import type { Ports } from './ports.ts';
import { always, type Precondition } from './precondition.ts';
import { removeReport } from './reports.ts';
import { heldIn } from './vault-contents.ts';

/** What a client says of a vault. */
export interface VaultRequest {
  readonly location: string;
  readonly skuName: string;
  readonly tags: Record<string, string>;
  readonly properties: Record<string, unknown>;
}

/** The vault's row; undefined when there is none. */
export async function findVault(ports: Ports, address: VaultAddress): Promise<VaultRow | undefined> {
  return (await vaultVersion(ports, address))?.row;
}

/** The vault's row and the version of it; undefined when there is none. */
export function vaultVersion(ports: Ports, address: VaultAddress): Promise<Versioned<VaultRow> | undefined> {
  const at = vaultRowKey(vaultKey(address));
  return ports.catalog.vaults.get(at.partition, at.key);
}

/**
 * Creates a vault with its container and its default policy, or changes what may be changed of one that exists. What is asked for may
 * hang on the vault that stands, each time anew when another writer was first.
 * @throws BackupError InvalidRequest for another location, PreconditionFailed, and what `checkVaultChange` throws
 */
export async function putVault(
  ports: Ports,
  address: VaultAddress,
  asked: VaultRequest | ((standing: VaultRow | undefined) => Promise<VaultRequest>),
  precondition: Precondition = always,
): Promise<Versioned<VaultRow> & { created: boolean }> {
  const at = vaultRowKey(vaultKey(address));
  for (;;) {
    const found = await ports.catalog.vaults.get(at.partition, at.key);
    precondition(found?.etag);
    const request = typeof asked === 'function' ? await asked(found?.row) : asked;
    if (found !== undefined && found.row.location !== request.location) {
      throw new BackupError(
        'InvalidRequest',
        `vault ${address.vault} is in ${found.row.location} and cannot be moved to ${request.location}`,
        { target: 'location' },
      );
    }
    if (found !== undefined) checkVaultChange(found.row.properties, request.properties);
    const row: VaultRow = found === undefined ? newVault(ports, address, request) : { ...found.row, ...request };
    let etag: string;
    try {
      if (found === undefined) etag = await ports.catalog.vaults.insert(at.partition, at.key, row);
      else etag = await ports.catalog.vaults.replace(at.partition, at.key, row, found.etag);
    } catch (error) {
      if (isBackupError(error, 'EtagMismatch', 'RowAlreadyExists', 'RowNotFound')) continue;
      throw error;
    }
    await prepare(ports, address, row);
    return { row, etag, created: found === undefined };
  }
}

function newVault(ports: Ports, address: VaultAddress, request: VaultRequest): VaultRow {
  // With prefix and suffix at most 63 characters, the most that a container's name may have.
  const readable = address.vault
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 48);
  return {
    name: address.vault,
    resourceGroup: address.resourceGroup,
    subscriptionId: address.subscriptionId,
    containerName: `vault-${readable}-${ports.ids.hex(8)}`.replaceAll(/-+/g, '-'),
    createdAt: ports.clock.now(),
    jobsIndexed: true,
    ...request,
  };
}

/** Everything that a vault needs from the first moment. Repeats safely, so that a crash half way is mended by the next PUT. */
async function prepare(ports: Ports, address: VaultAddress, row: VaultRow): Promise<void> {
  const container = await ports.vaults.open(row.containerName);
  const document: VaultDocument = {
    format: 1,
    vaultId: row.containerName,
    blockBytes: BLOCK_BYTES,
    regionBytes: ports.settings.geometry.regionBytes,
    createdAt: new Date(row.createdAt).toISOString(),
    subscriptionId: row.subscriptionId,
    resourceGroup: row.resourceGroup,
    name: row.name,
    location: row.location,
  };
  try {
    await container.put(VAULT_NAME, encodeDocument(VAULT_NAME, document));
  } catch (error) {
    if (!isBackupError(error, 'BlobAlreadyExists')) throw error;
  }
  const key = vaultKey(address);
  if ((await ports.catalog.policies.get(key, DEFAULT_POLICY_NAME.toLowerCase())) === undefined) {
    const { properties, rules } = defaultPolicy();
    await putPolicy(ports, key, DEFAULT_POLICY_NAME, properties, rules);
  }
}

/**
 * Puts the row of a vault back whose container is there, and its default policy. A row that stands is left as it is, but for the
 * container: `row`'s is the vault's.
 */
export async function putBackVault(ports: Ports, row: VaultRow): Promise<void> {
  const address: VaultAddress = { ...row, vault: row.name };
  const at = vaultRowKey(vaultKey(address));
  for (;;) {
    const found = await ports.catalog.vaults.get(at.partition, at.key);
    try {
      if (found === undefined) await ports.catalog.vaults.insert(at.partition, at.key, row);
      else if (found.row.containerName !== row.containerName)
        await ports.catalog.vaults.replace(
          at.partition,
          at.key,
          { ...found.row, containerName: row.containerName },
          found.etag,
        );
      return await prepare(ports, address, { ...(found?.row ?? row), containerName: row.containerName });
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch', 'RowAlreadyExists', 'RowNotFound')) throw error;
    }
  }
}

/** Yields the vaults of a subscription, or of one of its resource groups. */
export async function* listVaults(
  ports: Ports,
  subscriptionId: string,
  resourceGroup?: string,
): AsyncGenerator<VaultRow> {
  for await (const { row } of listVaultVersions(ports, subscriptionId, resourceGroup)) yield row;
}

/** As listVaults, with the version of each row. */
export function listVaultVersions(
  ports: Ports,
  subscriptionId: string,
  resourceGroup?: string,
): AsyncIterable<Versioned<VaultRow>> {
  const prefix = resourceGroup === undefined ? undefined : `${resourceGroup.toLowerCase()}|`;
  return ports.catalog.vaults.list(subscriptionId.toLowerCase(), prefix);
}

/**
 * Deletes an empty vault; absent is fine. What is in its container is asked of the container: rows may be lost, or not be back yet.
 * The container goes first and the vault's own row last, so that where a policy of the storage holds the container nothing has
 * changed, and after a crash the same request goes on.
 * @throws BackupError ServiceResourceNotEmptyWithBackendMessage naming what is in the way, BMSUserErrorObjectLocked
 */
export async function deleteVault(
  ports: Ports,
  address: VaultAddress,
  precondition: Precondition = always,
): Promise<void> {
  const key = vaultKey(address);
  const at = vaultRowKey(key);
  const found = await vaultVersion(ports, address);
  precondition(found?.etag);
  if (found === undefined) return;
  const { row } = found;
  await refuseNotEmpty(ports, key, row);
  await ports.vaults.drop(row.containerName);
  await removeRows(ports, key);
  await ports.catalog.vaults.remove(at.partition, at.key);
}

async function refuseNotEmpty(ports: Ports, key: string, { name, containerName }: VaultRow): Promise<void> {
  const refuse = (why: string): never => {
    throw new BackupError(
      'ServiceResourceNotEmptyWithBackendMessage',
      `vault ${name} cannot be deleted as there are existing resources within the vault: ${why}`,
    );
  };
  const items: string[] = [];
  const deleted: string[] = [];
  for await (const { row: item } of ports.catalog.items.list(key))
    (item.deferredDelete === undefined ? items : deleted).push(item.vmName);
  if (items.length > 0) refuse(`it protects ${items.join(', ')}`);
  if (deleted.length > 0)
    refuse(`it still keeps the data of ${deleted.map((vm) => `${vm} (in soft deleted state)`).join(', ')}`);
  const rebuild = await runningRebuild(ports, key);
  if (rebuild !== undefined) refuse(`its catalog is being rebuilt by job ${rebuild}`);
  const held = await heldIn(ports, containerName);
  if (held.length > 0)
    refuse(`in its container ${held.slice(0, 5).join(', ')}; rebuild its catalog to have its items back`);
}

/** Everything that rows say of a vault but its own row: one made anew under the name shall know nothing of it. */
async function removeRows(ports: Ports, key: string): Promise<void> {
  const { policies, jobs, operations } = ports.catalog;
  for await (const { partition, key: name } of policies.list(key)) await policies.remove(partition, name);
  await forgetIndex(ports, key);
  for await (const { partition, key: id, row } of jobs.list(key)) {
    await unindexJob(ports, key, row);
    await removeReport(ports, { vault: key, jobId: id as JobId });
    await jobs.remove(partition, id);
  }
  for await (const { partition, key: id } of operations.list(key)) await operations.remove(partition, id);
  for (const { runId } of await readAllRuns(ports, key)) await removeRun(ports, key, runId);
}
