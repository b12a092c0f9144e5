import type { PointRow } from '../catalog/catalog.ts';
import { BackupError } from '../domain/errors.ts';
import { startBackup } from '../services/backup.ts';
import { pointsPartition } from '../services/keys.ts';
import { openFindings } from '../services/findings.ts';
import { policyOf } from '../services/policies.ts';
import { readPoints } from '../services/projection.ts';
import { type RestoreRequest, startRestore } from '../services/restore.ts';
import { resourceNotFound } from './errors.ts';
import { type ArmAnswer, ok } from './http.ts';
import { isResourceGroupId, isStorageAccountId, protectedItemPath, VAULT_TYPE } from './ids.ts';
import { type FoundItem, type ItemCall, namesOf, theItem } from './items.ts';
import { regionName } from './names.ts';
import { accepted } from './operations.ts';
import { newestFirst } from '../catalog/newest-first.ts';
import { page } from './paging.ts';
import { fullPoint, isVisible, pointView, type PointContext } from './point-view.ts';
import type { Call } from './route.ts';
import type { BackupBody, PointsQuery, RestoreBody } from './schemas/point.ts';
import { listLink } from './vaults.ts';

type PointCall<Body = unknown> = Call<
  'subscription' | 'group' | 'vault' | 'container' | 'item' | 'point',
  unknown,
  Body
>;

/** The points of an item that can be restored, in snapshot order, and what is needed to show them. */
async function visiblePoints(
  call: ItemCall,
  { vault, row }: FoundItem,
): Promise<{ points: PointRow[]; contextOf: (point: PointRow) => PointContext }> {
  const partition = pointsPartition(vault.row.containerName, row.itemId);
  const rows = await readPoints(call.ports, partition);
  const findings = await openFindings(call.ports, partition);
  const points = rows.filter(isVisible);
  const policy = await policyOf(call.ports, vault.key, row);
  const full = fullPoint(points)?.point;
  const contextOf = ({ point }: PointRow): PointContext => ({
    vault: vault.address,
    names: namesOf(row),
    policy,
    kind: point === full ? 'full' : 'incremental',
    findings: findings
      .filter((found) => found.row.points.includes(point))
      .map(({ row: { kind, code, message } }) => ({ kind, code, message })),
  });
  return { points, contextOf };
}

export async function listPoints(call: ItemCall<PointsQuery>): Promise<ArmAnswer> {
  const item = await theItem(call);
  const { startDate: from = -Infinity, endDate: until = Infinity } = call.query.$filter;
  const { points, contextOf } = await visiblePoints(call, item);
  const entries = points
    .filter(({ time }) => time >= from && time <= until)
    .map((row) => ({ sortKey: newestFirst(row.time, row.point), entry: pointView(row, contextOf(row), 'listed') }));
  const path = `${protectedItemPath(namesOf(item.row))}/recoveryPoints`;
  return ok(page(entries, call.query, (token) => listLink(call, item.vault, path, token)));
}

async function thePoint(call: PointCall, item: FoundItem): Promise<{ row: PointRow; context: PointContext }> {
  const { points, contextOf } = await visiblePoints(call, item);
  const row = points.find(({ point }) => point === call.params.point);
  if (row === undefined) {
    throw resourceNotFound(
      `${VAULT_TYPE}/recoveryPoints`,
      `${item.row.vmName}/${call.params.point}`,
      item.vault.row.resourceGroup,
    );
  }
  return { row, context: contextOf(row) };
}

export async function getPoint(call: PointCall): Promise<ArmAnswer> {
  const { row, context } = await thePoint(call, await theItem(call));
  return ok(pointView(row, context, 'single'));
}

export async function backup(call: ItemCall<unknown, BackupBody>): Promise<ArmAnswer> {
  const item = await theItem(call);
  const { properties } = call.body;
  const jobId = await startBackup(call.ports, item.vault.key, item.key, {
    kind: 'onDemand',
    retainUntil: properties.recoveryPointExpiryTimeInUTC,
  });
  return accepted(call, item.vault, protectedItemPath(namesOf(item.row)), jobId);
}

export async function restore(call: PointCall<RestoreBody>): Promise<ArmAnswer> {
  const item = await theItem(call);
  const { row } = await thePoint(call, item);
  const { properties } = call.body;
  const { accountId, managed } = checkRestore(properties, item, row);
  const jobId = await startRestore(call.ports, item.vault.key, item.key, row.point, {
    accountId,
    managed,
    containerName: properties.targetContainerName,
    luns: properties.restoreDiskLunList,
  });
  return accepted(call, item.vault, protectedItemPath(namesOf(item.row)), jobId);
}

/** What a restore can be asked for in this version: new page blobs in a storage account, or new managed disks in a resource group. */
function checkRestore(
  asked: RestoreBody['properties'],
  { row, vault }: FoundItem,
  { point }: PointRow,
): Pick<RestoreRequest, 'accountId' | 'managed'> {
  const refuse = (field: string, problem: string): never => {
    const target = `properties.${field}`;
    throw new BackupError('UserErrorInvalidRestoreRequest', `${target} ${problem}`, { target });
  };
  const notYet = (field: string, found: string, expected: string): never =>
    refuse(field, `is ${found}, which this version does not support: expected ${expected}`);
  if (asked.objectType !== 'IaasVMRestoreRequest')
    notYet('objectType', asked.objectType, 'IaasVMRestoreRequest (nothing is archived)');
  if (asked.recoveryType !== 'RestoreDisks') notYet('recoveryType', asked.recoveryType, 'RestoreDisks');
  if (asked.originalStorageAccountOption === true) notYet('originalStorageAccountOption', 'true', 'false');
  if (asked.encryptionDetails?.encryptionEnabled === true)
    notYet('encryptionDetails.encryptionEnabled', 'true', 'false');
  if ((asked.zones ?? []).length > 0) notYet('zones', 'given', 'none');
  for (const field of [
    'diskEncryptionSetId',
    'identityInfo',
    'identityBasedRestoreDetails',
    'securedVMDetails',
    'targetDiskNetworkAccessSettings',
  ] as const) {
    const value = asked[field];
    if (value !== undefined && value !== '')
      notYet(field, 'given', 'none (disks are encrypted with platform keys and reached over the public endpoint)');
  }
  if (asked.recoveryPointId !== undefined && asked.recoveryPointId !== point) {
    refuse('recoveryPointId', `is ${JSON.stringify(asked.recoveryPointId)}, but the path names ${point}`);
  }
  if (asked.sourceResourceId !== undefined && asked.sourceResourceId.toLowerCase() !== row.vmResourceId.toLowerCase()) {
    refuse(
      'sourceResourceId',
      `is ${JSON.stringify(asked.sourceResourceId)}: expected the item's VM, ${row.vmResourceId}`,
    );
  }
  if (asked.region !== undefined && asked.region !== '' && regionName(asked.region) !== vault.row.location) {
    refuse('region', `is ${JSON.stringify(asked.region)}: expected the vault's, ${vault.row.location}`);
  }
  const { storageAccountId = '' } = asked;
  if (!isStorageAccountId(storageAccountId)) {
    const expected = '/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.Storage/storageAccounts/<name>';
    refuse('storageAccountId', `is ${JSON.stringify(storageAccountId)}: expected ${expected}`);
  }
  const { targetResourceGroupId: groupId = '', restoreWithManagedDisks: all = false } = asked;
  if (groupId !== '' && !isResourceGroupId(groupId)) {
    const expected = '/subscriptions/<id>/resourceGroups/<group>';
    refuse('targetResourceGroupId', `is ${JSON.stringify(groupId)}: expected ${expected}`);
  }
  if (all && groupId === '') {
    refuse('targetResourceGroupId', 'is missing: restoreWithManagedDisks needs a resource group for the managed disks');
  }
  return { accountId: storageAccountId, managed: groupId === '' ? undefined : { groupId, all } };
}
