import type { ItemRow } from '../catalog/catalog.ts';
import type { OperationRow } from '../catalog/operation-row.ts';
import type { Versioned } from '../catalog/catalog-table.ts';
import { parseVirtualMachineId } from '../compute/vm-id.ts';
import type { DiskSelection } from '../domain/disk-selection.ts';
import { BackupError } from '../domain/errors.ts';
import { pointsPartition, type VaultAddress } from '../services/keys.ts';
import { inOrder } from '../services/pipeline.ts';
import { type PointSummary, summaryOfPoints } from '../services/point-list.ts';
import { protect, stopProtection } from '../services/protection.ts';
import { softDelete, undelete } from '../services/soft-delete.ts';
import { resourceNotFound } from './errors.ts';
import { etagOf, withEtag } from './etag.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import { policyId, policyNameOf, protectedItemId, protectedItemPath, VAULT_TYPE, vaultId } from './ids.ts';
import { VM_MANAGEMENT } from './kinds.ts';
import { type ItemNames, keyOf, parseItemNames, protectedItemName, shortContainerName } from './names.ts';
import { accepted, changedItem, resultAnswer, statusAnswer, theOperation } from './operations.ts';
import { pageOf, type Sorted } from './paging.ts';
import type { Call } from './route.ts';
import { INVALID_PROTECTION, type ItemsQuery, type ProtectedItemBody } from './schemas/item.ts';
import { type FoundVault, theVault, type VaultCall, listLink } from './vaults.ts';
import { iso, timeSpan } from './times.ts';

export type ItemCall<Asked = unknown, Body = unknown> = Call<
  'subscription' | 'group' | 'vault' | 'container' | 'item',
  Asked,
  Body
>;

/** A protected item that is there. */
export interface FoundItem {
  readonly vault: FoundVault;
  readonly key: string;
  readonly row: ItemRow;
  readonly etag: string;
}

/** The names of an item, from its row: in lower case, as the service has them. */
export const namesOf = (row: ItemRow): ItemNames => ({ resourceGroup: row.resourceGroup, vmName: row.vmName });

/** The item that the call's path names. @throws BackupError ResourceNotFound */
export async function theItem(call: ItemCall): Promise<FoundItem> {
  const vault = await theVault(call);
  const names = parseItemNames(call.params.container, call.params.item);
  const found = await call.ports.catalog.items.get(vault.key, keyOf(names));
  if (found === undefined) {
    throw resourceNotFound(
      `${VAULT_TYPE}/protectedItems`,
      `${vault.row.name}/${call.params.item}`,
      vault.row.resourceGroup,
    );
  }
  return { vault, key: keyOf(names), row: found.row, etag: found.etag };
}

/** Rows of items that are read at the same time. */
const ITEMS_IN_FLIGHT = 32;

/** "No time yet" of an item that was never backed up, in the service's words. */
const NEVER = '2001-01-01T00:00:00Z';

/** The ARM view of a protected item at `nowMs`; with its points it also tells what there is to restore. */
export function itemView(
  vault: VaultAddress,
  { row, etag }: Versioned<ItemRow>,
  nowMs: number,
  points?: PointSummary,
): Record<string, unknown> {
  const names = namesOf(row);
  const hasFailed = row.lastBackupStatus === 'Failed' || row.lastBackupStatus === 'CompletedWithWarnings';
  return {
    id: protectedItemId(vault, names),
    name: protectedItemName(names),
    type: `${VAULT_TYPE}/backupFabrics/protectionContainers/protectedItems`,
    eTag: etagOf(etag),
    properties: {
      protectedItemType: 'Microsoft.Compute/virtualMachines',
      backupManagementType: VM_MANAGEMENT,
      workloadType: 'VM',
      friendlyName: row.vmName,
      virtualMachineId: row.vmResourceId,
      sourceResourceId: row.vmResourceId,
      containerName: shortContainerName(names),
      vaultId: vaultId(vault),
      policyId: row.policyName === '' ? '' : policyId(vault, row.policyName),
      policyName: row.policyName,
      protectionState: row.protectionState,
      protectionStatus: 'Healthy',
      healthStatus: hasFailed ? 'ActionRequired' : 'Passed',
      healthDetails: [
        hasFailed
          ? {
              code: 0,
              title: 'LastBackupNotCompleted',
              message: `The last backup ended as ${row.lastBackupStatus}; its job says why.`,
              recommendations: ['Look at the errors of the last backup job.'],
            }
          : {
              code: 400239,
              title: 'IaasVmHealthGreenDefault',
              message: 'Nothing is known to be wrong.',
              recommendations: [],
            },
      ],
      lastBackupStatus: row.lastBackupStatus,
      lastBackupTime: row.lastBackupAt === undefined ? NEVER : iso(row.lastBackupAt),
      protectedItemDataId: `${Number.parseInt(row.itemId.slice(-8), 16)}`,
      ...deferredDelete(row, nowMs),
      ...(row.diskSelection && { extendedProperties: { diskExclusionProperties: exclusionOf(row.diskSelection) } }),
      ...(points === undefined ? {} : whatToRestore(points)),
    },
  };
}

/** A soft delete in the service's words: its time is when it was asked for, and what remains ends at nothing. */
function deferredDelete({ deferredDelete: deleted }: ItemRow, nowMs: number): Record<string, unknown> {
  if (deleted === undefined) return { isScheduledForDeferredDelete: false };
  return {
    isScheduledForDeferredDelete: true,
    deferredDeleteTimeInUTC: iso(deleted.at),
    deferredDeleteTimeRemaining: timeSpan(Math.max(0, deleted.until - nowMs)),
    softDeleteRetentionPeriod: deleted.retentionDays,
    softDeleteRetentionPeriodInDays: deleted.retentionDays,
  };
}

const exclusionOf = ({ luns, isInclusion }: DiskSelection): Record<string, unknown> => ({
  diskLunList: luns,
  isInclusionList: isInclusion,
});

function whatToRestore({ count, oldest, newest, oldestInVault }: PointSummary): Record<string, unknown> {
  return {
    ...(newest === undefined ? {} : { lastRecoveryPoint: iso(newest) }),
    extendedInfo: {
      ...(oldest === undefined ? {} : { oldestRecoveryPoint: iso(oldest) }),
      ...(oldestInVault === undefined ? {} : { oldestRecoveryPointInVault: iso(oldestInVault) }),
      recoveryPointCount: count,
      policyInconsistent: false,
    },
  };
}

export async function getItem(call: ItemCall): Promise<ArmAnswer> {
  return answerWithPoints(call, await theItem(call));
}

async function answerWithPoints(call: Pick<ItemCall, 'ports'>, item: FoundItem): Promise<ArmAnswer> {
  const { vault, row, etag } = item;
  const points = await summaryOfPoints(call.ports, pointsPartition(vault.row.containerName, row.itemId));
  return withEtag(ok(itemView(vault.address, item, call.ports.clock.now(), points)), etag);
}

export async function listItems(call: VaultCall<ItemsQuery>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const now = call.ports.clock.now();
  const list = async function* (after: string | undefined, most: number): AsyncGenerator<Sorted<unknown>> {
    for await (const { key, ...item } of itemsOf(call, vault.key, call.query.$filter, after, most))
      yield { sortKey: key, entry: itemView(vault.address, item, now) };
  };
  return ok(await pageOf(list, call.query, (token) => listLink(call, vault, 'backupProtectedItems', token)));
}

type ListedItem = Versioned<ItemRow> & { readonly key: string };

/** The items that a filter asks for, in order of key, above `after`. */
async function* itemsOf(
  { ports }: Pick<VaultCall, 'ports'>,
  vault: string,
  filter: ItemsQuery['$filter'],
  after: string | undefined,
  most: number,
): AsyncGenerator<ListedItem> {
  const { backupManagementType = VM_MANAGEMENT, itemType = 'VM', ...wanted } = filter;
  if (backupManagementType !== VM_MANAGEMENT || itemType !== 'VM') return;
  const { items } = ports.catalog;
  const matches = (value: string | undefined, found: string): boolean =>
    value === undefined || value.toLowerCase() === found.toLowerCase();
  const isWanted = ({ policyName, vmName, resourceGroup }: Pick<ItemRow, 'policyName' | 'vmName' | 'resourceGroup'>) =>
    matches(wanted.policyName, policyName) &&
    matches(wanted.friendlyName, vmName) &&
    matches(wanted.containerName, shortContainerName({ resourceGroup, vmName }));
  if (Object.values(wanted).every((value) => value === undefined)) {
    // One more than asked for: the first may be the one that the page before has ended with.
    for (let at = after, read = most + 1; read > most;) {
      read = 0;
      const seen = at;
      for await (const item of items.list(vault, { from: at, top: most + 1 })) {
        read++;
        at = item.key;
        if (seen === undefined || item.key > seen) yield item;
      }
    }
    return;
  }
  const keys: string[] = [];
  const columns = ['policyName', 'vmName', 'resourceGroup'] as const;
  for await (const { key, row } of items.listColumns(vault, columns, { from: after })) {
    if ((after === undefined || key > after) && isWanted(row)) keys.push(key);
  }
  for await (const { item: key, result } of inOrder(keys, ITEMS_IN_FLIGHT, (each) => items.get(vault, each)))
    if (result !== undefined && isWanted(result.row)) yield { key, ...result };
}

function invalid(target: string, message: string): BackupError {
  return new BackupError(INVALID_PROTECTION, `${target} ${message}`, { target });
}

/** One PUT protects, gives another policy, resumes, stops and undeletes: the body tells which. */
export async function putItem(call: ItemCall<unknown, ProtectedItemBody>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const names = parseItemNames(call.params.container, call.params.item, INVALID_PROTECTION);
  const { properties } = call.body;
  refuseUnsupported(properties);
  const key = keyOf(names);
  const existing = (await call.ports.catalog.items.get(vault.key, key))?.row;
  const resourceId = properties.sourceResourceId ?? existing?.vmResourceId;
  if (resourceId === undefined)
    throw invalid('properties.sourceResourceId', 'is missing: expected the resource id of the VM');
  checkSource(resourceId, names, vault);

  const change = changeOf(properties);
  if (change === 'protect') {
    const policy = policyNameOf(properties.policyId ?? '', vault.address);
    // Extended properties that do not speak of disks take a selection back; clients that say nothing leave it as it is.
    const selection = properties.extendedProperties && (properties.extendedProperties.diskExclusionProperties ?? 'all');
    const vm = { resourceId, ...names };
    const jobId = await protect(call.ports, vault.key, vm, policy, selection, call.precondition);
    return accepted(call, vault, protectedItemPath(names), jobId);
  }
  if (change === 'stop') call.requireRole('Backup Contributor', 'stopping protection');
  if (existing === undefined) {
    throw resourceNotFound(
      `${VAULT_TYPE}/protectedItems`,
      `${vault.row.name}/${call.params.item}`,
      vault.row.resourceGroup,
    );
  }
  const changed = change === 'stop' ? stopProtection : undelete;
  const jobId = await changed(call.ports, vault.key, key, call.precondition);
  return accepted(call, vault, protectedItemPath(namesOf(existing)), jobId);
}

/**
 * What a PUT of an item asks for. Undeleting looks like stopping with one flag more, and must not stop what is protected.
 * @throws BackupError for a body that asks for two things, or for none
 */
function changeOf(properties: ProtectedItemBody['properties']): 'protect' | 'stop' | 'undelete' {
  const { policyId, protectionState, isRehydrate } = properties;
  const hasPolicy = (policyId ?? '') !== '';
  if (isRehydrate === true) {
    if (hasPolicy)
      throw invalid('properties.policyId', 'is given with isRehydrate: undelete first, then PUT the policy');
    if (protectionState !== undefined && protectionState !== 'ProtectionStopped') {
      throw invalid(
        'properties.protectionState',
        `is ${protectionState} with isRehydrate: expected ProtectionStopped, which an undeleted item is`,
      );
    }
    return 'undelete';
  }
  if (protectionState !== 'ProtectionStopped' && hasPolicy) return 'protect';
  if (protectionState !== 'ProtectionStopped' && policyId === undefined) {
    throw invalid('properties.policyId', 'is missing: expected the id of a policy of this vault');
  }
  if (hasPolicy) {
    throw invalid(
      'properties.policyId',
      'is given with protectionState ProtectionStopped: expected "" to stop protection',
    );
  }
  return 'stop';
}

function refuseUnsupported(properties: ProtectedItemBody['properties']): void {
  const refuse = (field: string, found: string, expected: string): never => {
    throw invalid(`properties.${field}`, `is ${found}, which this version does not support: expected ${expected}`);
  };
  if (properties.createMode === 'Recover') refuse('createMode', 'Recover', 'Default');
  if (properties.protectionState === 'BackupsSuspended') {
    refuse('protectionState', 'BackupsSuspended', 'ProtectionStopped, which keeps all points');
  }
}

/** The VM of a resource id, which must be in the vault's subscription. @throws BackupError */
export function sourceOf(resourceId: string, vault: VaultAddress): ItemNames {
  let source;
  try {
    source = parseVirtualMachineId(resourceId);
  } catch (error) {
    throw invalid('properties.sourceResourceId', `is not valid: ${(error as Error).message}`);
  }
  if (source.subscriptionId.toLowerCase() !== vault.subscriptionId.toLowerCase()) {
    throw invalid(
      'properties.sourceResourceId',
      `is in subscription ${source.subscriptionId}: expected one in the vault's, ${vault.subscriptionId}`,
    );
  }
  return { resourceGroup: source.resourceGroup, vmName: source.name };
}

/** The VM must be the one that the names say, in the vault's subscription. */
function checkSource(resourceId: string, names: ItemNames, vault: FoundVault): void {
  const key = keyOf(sourceOf(resourceId, vault.address));
  if (key !== keyOf(names))
    throw invalid('properties.sourceResourceId', `is the VM ${key}, but the path names ${keyOf(names)}`);
}

/** Deletes the backup data softly. The item stays visible, marked, until it is undeleted; deleting what is not there is done. */
export async function deleteItem(call: ItemCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const names = parseItemNames(call.params.container, call.params.item);
  const jobId = await softDelete(call.ports, vault.key, keyOf(names), call.caller.name, call.precondition);
  return jobId === undefined ? noContent : accepted(call, vault, protectedItemPath(names), jobId);
}

type ItemOperationCall = Call<'subscription' | 'group' | 'vault' | 'container' | 'item' | 'operation'>;

/** The operation that the path names, on the item that it names, be that there or not: an operation outlives its item. */
async function itemOperation(call: ItemOperationCall): Promise<{ vault: FoundVault; key: string; row: OperationRow }> {
  const vault = await theVault(call);
  const names = parseItemNames(call.params.container, call.params.item);
  return { vault, key: keyOf(names), row: await theOperation(call, vault, protectedItemPath(names)) };
}

export async function getItemOperation(call: ItemOperationCall): Promise<ArmAnswer> {
  return statusAnswer(call.params.operation, (await itemOperation(call)).row);
}

/** The item where the operation changed it, else nothing: a backup or a restore has only its job, and an item may be gone. */
export async function getItemOperationResult(call: ItemOperationCall): Promise<ArmAnswer> {
  const { vault, key, row } = await itemOperation(call);
  return resultAnswer(call, row, async () => {
    const found = (await changedItem(call, vault, row))
      ? await call.ports.catalog.items.get(vault.key, key)
      : undefined;
    return found === undefined ? noContent : answerWithPoints(call, { vault, key, ...found });
  });
}
