import type { PointRow } from '../catalog/catalog.ts';
import { BackupError } from '../domain/errors.ts';
import type { PointId } from '../domain/ids.ts';
import { startBackup } from '../services/backup.ts';
import { pointsPartition } from '../services/keys.ts';
import { openFindings } from '../services/findings.ts';
import { policyOf } from '../services/policies.ts';
import { fullPointOf, isVisible, pointsNewestFirst } from '../services/point-list.ts';
import { readPoint } from '../services/projection.ts';
import { type RestoreRequest, startRestore } from '../services/restore.ts';
import { resourceNotFound } from './errors.ts';
import { type ArmAnswer, ok } from './http.ts';
import { isResourceGroupId, isStorageAccountId, protectedItemPath, VAULT_TYPE } from './ids.ts';
import { type FoundItem, type ItemCall, namesOf, theItem } from './items.ts';
import { regionName } from './names.ts';
import { accepted } from './operations.ts';
import { pageOf, type Sorted } from './paging.ts';
import { pointView, type PointContext } from './point-view.ts';
import type { Call } from './route.ts';
import type { BackupBody, PointsQuery, RestoreBody } from './schemas/point.ts';
import { listLink } from './vaults.ts';

type PointCall<Body = unknown> = Call<
  'subscription' | 'group' | 'vault' | 'container' | 'item' | 'point',
  unknown,
  Body
>;

/** What is no id would not be a key either. */
const POINT_ID = /^\d{17}$/;

/** What the points of an item are shown with. */
async function contextOf(call: ItemCall, { vault, row }: FoundItem): Promise<(point: PointRow) => PointContext> {
  const partition = partitionOf({ vault, row });
  const [findings, policy, full] = await Promise.all([
    openFindings(call.ports, partition),
    policyOf(call.ports, vault.key, row),
    fullPointOf(call.ports, partition),
  ]);
  return ({ point }) => ({
    vault: vault.address,
    names: namesOf(row),
    policy,
    kind: point === full ? 'full' : 'incremental',
    findings: findings
      .filter((found) => found.row.points.includes(point))
      .map(({ row: { kind, code, message } }) => ({ kind, code, message })),
  });
}

const partitionOf = ({ vault, row }: Pick<FoundItem, 'vault' | 'row'>): string =>
  pointsPartition(vault.row.containerName, row.itemId);

export async function listPoints(call: ItemCall<PointsQuery>): Promise<ArmAnswer> {
  const item = await theItem(call);
  const { startDate: from, endDate: until } = call.query.$filter;
  const contexts = await contextOf(call, item);
  const list = async function* (before: string | undefined): AsyncGenerator<Sorted<unknown>> {
    for await (const row of pointsNewestFirst(call.ports, partitionOf(item), {
      from,
      until,
      before,
      newest: item.row.lastPoint,
    }))
      yield { sortKey: row.point, entry: pointView(row, contexts(row), 'listed') };
  };
  const path = `${protectedItemPath(namesOf(item.row))}/recoveryPoints`;
  return ok(await pageOf(list, call.query, (token) => listLink(call, item.vault, path, token)));
}

/** @throws BackupError ResourceNotFound */
async function thePoint(call: PointCall, item: FoundItem): Promise<PointRow> {
  const { point } = call.params;
  const row = POINT_ID.test(point) ? await readPoint(call.ports, partitionOf(item), point as PointId) : undefined;
  if (row !== undefined && isVisible(row)) return row;
  throw resourceNotFound(`${VAULT_TYPE}/recoveryPoints`, `${item.row.vmName}/${point}`, item.vault.row.resourceGroup);
}

export async function getPoint(call: PointCall): Promise<ArmAnswer> {
  const item = await theItem(call);
  const row = await thePoint(call, item);
  return ok(pointView(row, (await contextOf(call, item))(row), 'single'));
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
  const row = await thePoint(call, item);
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
