import { BackupError } from '../domain/errors.ts';
import type { RestoreRequest } from '../services/restore.ts';
import { isResourceGroupId, isStorageAccountId } from './ids.ts';
import type { FoundItem } from './items.ts';
import { regionName } from './names.ts';
import type { RestoreBody } from './schemas/point.ts';

/** What a service is told of a restore without problems. */
export function restoreRequest(asked: RestoreBody['properties']): RestoreRequest {
  const { storageAccountId = '', targetResourceGroupId: groupId = '', restoreWithManagedDisks: all = false } = asked;
  return {
    accountId: storageAccountId,
    managed: groupId === '' ? undefined : { groupId, all },
    containerName: asked.targetContainerName,
    luns: asked.restoreDiskLunList,
  };
}

/**
 * All that keeps a request from being a restore of this version, by what it says alone: new page blobs in a storage account, or new managed
 * disks in a resource group.
 */
export function restoreProblems(
  asked: RestoreBody['properties'],
  { row, vault }: Pick<FoundItem, 'row' | 'vault'>,
  point: string | undefined,
): BackupError[] {
  const problems: BackupError[] = [];
  const refuse = (field: string, problem: string): void => {
    const target = `properties.${field}`;
    problems.push(new BackupError('UserErrorInvalidRestoreRequest', `${target} ${problem}`, { target }));
  };
  const notYet = (field: string, found: string, expected: string): void =>
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
  return problems;
}
