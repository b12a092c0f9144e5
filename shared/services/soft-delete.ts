import type { ItemRow } from '../catalog/catalog.ts';
import { refuseIfImmutable, softDeleteOf } from '../domain/vault-security.ts';
import { BackupError } from '../domain/errors.ts';
import type { JobId } from '../domain/ids.ts';
import { adviceFor } from './advice.ts';
import { endJob } from './end-job.ts';
import { changeItem, claimItem } from './items.ts';
import { isRunning } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { policyOf } from './policies.ts';
import type { Ports } from './ports.ts';
import { always, type Precondition } from './precondition.ts';
import { readPoints } from './projection.ts';
import { dropAnchor, recordChange, setState } from './protection-state.ts';
import { openVault } from './vault-of.ts';

/*
 * An item that is deleted softly is stopped and has a mark on its row (`deferredDelete`). Its points and their snapshots stay, nothing of
 * it is merged away, and until it is undeleted it is neither backed up nor restored. The mark alone decides: it is one write under the
 * row's ETag. What comes after it, the chain's state and the end of running backups, is done again by whoever deletes again.
 *
 * The mark comes before the chain's state. A merge that was planned before may still commit, as one that ran before the request; after
 * the record no plan made on an earlier one can, and a new one asks the row. So no point is lost that was shown when the request was answered.
 */

const DAY_MS = 86_400_000;

/** @throws BackupError ItemSoftDeleted for an item that has to be undeleted first */
export function refuseSoftDeleted({ deferredDelete, vmName }: Pick<ItemRow, 'deferredDelete' | 'vmName'>): void {
  if (deferredDelete === undefined) return;
  throw new BackupError(
    'ItemSoftDeleted',
    `the backup data of ${vmName} was deleted softly on ${new Date(deferredDelete.at).toISOString()}: undelete it first, by a PUT of the ` +
      'item with properties.isRehydrate true, properties.protectionState "ProtectionStopped" and properties.policyId ""',
  );
}

/**
 * Deletes an item softly: it can be undeleted for as many days as its vault says at this moment. The same request twice keeps the first
 * one's time. Resolves the job that says so; undefined: there is no such item.
 * @throws BackupError DataDeletionNotSupported when the vault's soft delete is off, VaultIsImmutable, PreconditionFailed
 */
export async function softDelete(
  ports: Ports,
  vault: string,
  key: string,
  by: string,
  precondition: Precondition = always,
): Promise<JobId | undefined> {
  const { container, row: vaultRow } = await openVault(ports, vault);
  const found = await claimItem(ports, vault, key, precondition);
  if (found === undefined) return undefined;
  const { itemId, vmName } = found.row;
  const { isOn, retentionDays } = softDeleteOf(vaultRow.properties);
  if (found.row.deferredDelete === undefined)
    refuseIfImmutable(vaultRow.properties, `the data of ${vmName} cannot be deleted`);
  if (!isOn && found.row.deferredDelete === undefined) {
    throw new BackupError(
      'DataDeletionNotSupported',
      `soft delete of vault ${vaultRow.name} is off, and this version removes no data at once: switch soft delete on, or stop the ` +
        `protection of ${vmName} and keep its data`,
    );
  }
  const partition = pointsPartition(vaultRow.containerName, itemId);
  await dropAnchor(ports, vault, partition, found.row);
  const stoppedUnder = (await policyOf(ports, vault, found.row)) ?? found.row.stoppedUnder;
  const at = ports.clock.now();
  await changeItem(ports, vault, key, (item) =>
    item.deferredDelete !== undefined || item.itemId !== itemId
      ? undefined
      : {
          ...item,
          policyName: '',
          protectionState: 'ProtectionStopped',
          stoppedUnder: stoppedUnder && { ...stoppedUnder },
          deferredDelete: { at, until: at + retentionDays * DAY_MS, retentionDays, by },
        },
  );
  await setState(ports, container, itemId, 'stopped', () => isMarked(ports, vault, key));
  await endBackups(ports, vault, key);
  const points = await readPoints(ports, partition);
  return recordChange(ports, vault, key, 'DeleteBackupData', { 'Number of Recovery Points': `${points.length}` });
}

/**
 * Takes a soft delete back: the item is stopped, with all its points. Of an item that is stopped already it changes nothing.
 * @throws BackupError ResourceNotFound, ItemNotSoftDeleted for one that is protected, PreconditionFailed
 */
export async function undelete(
  ports: Ports,
  vault: string,
  key: string,
  precondition: Precondition = always,
): Promise<JobId> {
  const { container } = await openVault(ports, vault);
  const found = await claimItem(ports, vault, key, precondition);
  if (found === undefined) throw new BackupError('ResourceNotFound', `there is no protected item ${key} in this vault`);
  const { itemId, vmName, protectionState, deferredDelete } = found.row;
  if (deferredDelete === undefined && protectionState !== 'ProtectionStopped') {
    throw new BackupError(
      'ItemNotSoftDeleted',
      `${vmName} is protected: there is nothing to undelete. To stop its protection leave properties.isRehydrate out`,
    );
  }
  // A delete that has died before its record must not write it later, when the item may be protected again.
  await setState(ports, container, itemId, 'stopped', () => isMarked(ports, vault, key));
  await changeItem(ports, vault, key, (item) =>
    item.deferredDelete === undefined ? undefined : { ...item, deferredDelete: undefined },
  );
  return recordChange(ports, vault, key, 'Undelete', { 'Undelete flag': 'True' });
}

const isMarked = async (ports: Ports, vault: string, key: string): Promise<boolean> =>
  (await ports.catalog.items.get(vault, key))?.row.deferredDelete !== undefined;

/** Ends the item's backups: those that wait first, or they would be handed the item. None can begin any more. */
async function endBackups(ports: Ports, vault: string, key: string): Promise<void> {
  const item = (await ports.catalog.items.get(vault, key))?.row;
  if (item?.deferredDelete === undefined) return;
  const holders = [...(item.waiting ?? []).map(({ jobId }) => jobId), item.activeJob];
  for (const jobId of holders) {
    if (jobId === undefined || !(await isRunning(ports, vault, jobId))) continue;
    await endJob(ports, { vault, jobId }, 'Cancelled', {
      code: 'ItemSoftDeleted',
      message: `the backup data of ${item.vmName} was deleted while this backup ran`,
      recommendations: adviceFor('ItemSoftDeleted'),
    });
  }
}
