import type { Versioned } from '../catalog/catalog-table.ts';
import type { ItemRow, JobRow, PointRow } from '../catalog/catalog.ts';
import { isManagedDisk } from '../disk/managed-ids.ts';
import { BackupError, ERROR_TABLE, isBackupError } from '../domain/errors.ts';
import type { JobId, PointId } from '../domain/ids.ts';
import { FOOTER_BYTES } from '../domain/vhd-footer.ts';
import { type JobAddress, insertJob, newJob, withdrawJob } from './jobs.ts';
import { changeItem } from './items.ts';
import { pointsPartition } from './keys.ts';
import type { Ports } from './ports.ts';
import { changePoint, readPoint } from './projection.ts';
import { isOutOfReach } from './remove-snapshots.ts';
import { refuseSoftDeleted } from './soft-delete.ts';
import { openVault, readItem } from './vault-of.ts';

/** The task that a restore job shows, in the service's words. */
export const TRANSFER_FROM_VAULT = 'Transfer data from vault';

/** What a restore is asked for: new page blobs in a chosen account, or new managed disks in a resource group. */
export interface RestoreRequest {
  /** Resource id of the storage account. */
  readonly accountId: string;
  /** The container to put the disks in; by default a new one named after the VM and the job. */
  readonly containerName?: string | undefined;
  /** Managed disks come back as such in this resource group; `all`: page blobs too. Without it every disk becomes a page blob. */
  readonly managed?: { readonly groupId: string; readonly all: boolean } | undefined;
  /** LUNs of the data disks wanted, the OS disk always with them; all disks when absent. */
  readonly luns?: readonly number[] | undefined;
}

/**
 * Starts the restore of a recovery point's disks: the job exists when this resolves, the rest goes by queue. The point is pinned, so
 * that nothing of it is merged away while it is read. `drill`: it is only tried, by a verify job, under an id that was chosen before.
 * @throws BackupError ResourceNotFound, ItemSoftDeleted, UserErrorInvalidRestoreRequest, UserErrorInstantRpNotFound, UserErrorRecoveryPointLeaving
 */
export async function startRestore(
  ports: Ports,
  vault: string,
  key: string,
  point: PointId,
  request: RestoreRequest,
  drill?: { readonly jobId: JobId; readonly verifyJob: JobId },
): Promise<JobId> {
  const [seen, { row: vaultRow }] = await Promise.all([readItem(ports, vault, key), openVault(ports, vault)]);
  const { row: item } = seen;
  if (drill === undefined) refuseSoftDeleted(item);
  const partition = pointsPartition(vaultRow.containerName, item.itemId);
  const row = await readPoint(ports, partition, point);
  if (row === undefined) throw new BackupError('ResourceNotFound', `${item.vmName} has no recovery point ${point}`);
  await tierOf(ports, partition, row);
  refuseUnknownLuns(row, request.luns);
  refuseTooLarge(row, request);
  const { accountName, endpoint } = targetAccount(ports, request);
  const started = newJob(ports, item, key, {
    operation: 'Restore',
    userTriggered: true,
    ...(drill === undefined ? {} : { jobId: drill.jobId }),
    point,
    tasks: [{ taskId: TRANSFER_FROM_VAULT, status: 'InProgress', startedAt: ports.clock.now() }],
  });
  const id = started.jobId;
  const containerName = request.containerName ?? defaultContainer(item.vmName, id);
  const configName = `config-${item.vmName}-${id}.json`;
  const job: JobRow = {
    ...started,
    bag: {
      'Job Type': drill === undefined ? 'Recover disks' : 'Restore drill',
      'Target Storage Account Name': accountName,
      'Recovery point time ': new Date(row.time).toISOString(),
      'Config Blob Name': configName,
      'Config Blob Container Name': containerName,
      'Config Blob Uri': `${endpoint}/${containerName}/${configName}`,
      ...(request.managed && { 'Target resource group': request.managed.groupId.split('/').at(-1)! }),
    },
    restore: {
      accountId: request.accountId,
      containerUrl: `${endpoint}/${containerName}`,
      luns: request.luns === undefined ? undefined : [...request.luns],
      managed: request.managed,
      verifyJob: drill?.verifyJob,
    },
  };
  await insertJob(ports, vault, job);
  try {
    await pin(ports, { vault, jobId: id }, key, point, seen);
  } catch (error) {
    if (isBackupError(error, 'UserErrorRecoveryPointLeaving')) await withdrawJob(ports, { vault, jobId: id });
    throw error; // else unclear: the watch takes the job on, and its first step pins the point
  }
  await ports.queue.send({ step: 'plan-restore', v: 1, vault, jobId: id });
  return id;
}

function targetAccount(ports: Ports, { accountId }: RestoreRequest): { accountName: string; endpoint: string } {
  const accountName = accountId.split('/').at(-1) ?? '';
  const endpoint = ports.accounts.blobEndpoint(accountName);
  if (endpoint !== undefined) return { accountName, endpoint };
  throw new BackupError('UserErrorInvalidRestoreRequest', `there is no storage account ${accountName} to restore to`, {
    target: 'properties.storageAccountId',
  });
}

/** All that would be refused of a restore that is asked for now, without starting it. @throws what is no fault of the request */
export async function restoreFaults(
  ports: Ports,
  partition: string,
  item: ItemRow,
  row: PointRow,
  request: RestoreRequest,
): Promise<BackupError[]> {
  const checks: (() => unknown)[] = [
    () => refuseLeaving(item, row.point),
    () => tierOf(ports, partition, row),
    () => refuseUnknownLuns(row, request.luns),
    () => refuseTooLarge(row, request),
    () => targetAccount(ports, request),
  ];
  const faults: BackupError[] = [];
  for (const check of checks) {
    try {
      await check();
    } catch (error) {
      if (!(error instanceof BackupError) || ERROR_TABLE[error.code].http >= 500) throw error;
      faults.push(error);
    }
  }
  return faults;
}

function refuseLeaving({ leaving }: ItemRow, point: PointId): void {
  if (leaving !== point) return;
  throw new BackupError(
    'UserErrorRecoveryPointLeaving',
    `recovery point ${point} has expired and is being merged into the next one`,
  );
}

/** Pins a point for a job; a point that a merge is taking away can no longer be pinned. Repeats safely. `seen` as for `changeItem`. */
export async function pin(
  ports: Ports,
  { vault, jobId: id }: JobAddress,
  key: string,
  point: PointId,
  seen?: Versioned<ItemRow>,
): Promise<void> {
  const pinned = (item: ItemRow): ItemRow | undefined => {
    refuseLeaving(item, point);
    return item.pins.some((own) => own.jobId === id)
      ? undefined
      : { ...item, pins: [...item.pins, { jobId: id, point }] };
  };
  await changeItem(ports, vault, key, pinned, seen);
}

/**
 * The tier that a point is restored from: its snapshots while they are all there, else the vault. A snapshot that somebody has
 * deleted is noticed here and noted on the point. While it cannot be asked for (the account of a lost VM's disk, say) the vault serves too.
 * @throws BackupError UserErrorInstantRpNotFound when the point is in neither
 */
export async function tierOf(ports: Ports, partition: string, row: PointRow): Promise<'snapshot' | 'vault'> {
  if (row.instant === 'Valid') {
    const sizes = await sizesOf(ports, row);
    if (sizes === 'out of reach') return 'vault';
    if (sizes.every((size) => size !== undefined)) return 'snapshot';
    await changePoint(ports, partition, row.point, (now) =>
      now.instant === 'Valid' ? { ...now, instant: 'Lost' } : undefined,
    );
  }
  if (row.vault === 'Valid') return 'vault';
  throw new BackupError(
    'UserErrorInstantRpNotFound',
    `a snapshot of recovery point ${row.point} has been deleted, and the point had not reached the vault`,
  );
}

/** The sizes of a point's snapshots, undefined of those that are gone. @throws what keeps them from being seen, where the vault has no copy */
async function sizesOf(
  ports: Ports,
  { set, vault, point }: PointRow,
): Promise<(number | undefined)[] | 'out of reach'> {
  try {
    return await Promise.all(set.disks.map(({ url, snapshot }) => ports.snapshots.sizeOf({ url, id: snapshot })));
  } catch (error) {
    if (vault !== 'Valid' || !isOutOfReach(error)) throw error;
    ports.log(`recovery point ${point} is restored from the vault, its snapshots are out of reach: ${error.message}`);
    return 'out of reach';
  }
}

/** Whether a disk is wanted: the OS disk (LUN -1) always is. */
export function isWanted(lun: number, luns: readonly number[] | undefined): boolean {
  return luns === undefined || lun === -1 || luns.includes(lun);
}

function refuseUnknownLuns(row: PointRow, luns: readonly number[] | undefined): void {
  const unknown = luns?.filter((lun) => !row.set.disks.some((disk) => disk.lun === lun)) ?? [];
  if (unknown.length === 0) return;
  const excluded = row.set.lacking.find(({ lun }) => unknown.includes(lun));
  if (excluded !== undefined) {
    const disk = excluded.name === '' ? 'a disk' : `disk ${excluded.name}`;
    throw new BackupError(
      'UserErrorInvalidRestoreRequest',
      `recovery point ${row.point} does not have ${disk} (LUN ${excluded.lun}): it was excluded from backup when the point was taken. Choose a point that includes it`,
      { target: 'properties.restoreDiskLunList' },
    );
  }
  const present = row.set.disks.map(({ lun }) => lun).join(', ');
  throw new BackupError(
    'UserErrorInvalidRestoreRequest',
    `recovery point ${row.point} has no disk with LUN ${unknown.join(', ')}; it has ${present}`,
    { target: 'properties.restoreDiskLunList' },
  );
}

/** The largest page blob: https://learn.microsoft.com/azure/storage/blobs/scalability-targets */
const PAGE_BLOB_BYTES = 8 * 1024 ** 4;

/** A managed disk may be larger than any page blob: it comes back as a managed disk or not at all. */
function refuseTooLarge(row: PointRow, { luns, managed }: RestoreRequest): void {
  if (managed !== undefined) return;
  const disk = row.set.disks.find(
    ({ lun, url, sizeBytes }) =>
      isWanted(lun, luns) && isManagedDisk(url) && sizeBytes + FOOTER_BYTES > PAGE_BLOB_BYTES,
  );
  if (disk === undefined) return;
  throw new BackupError(
    'UserErrorInvalidRestoreRequest',
    `disk ${disk.name} has ${disk.sizeBytes} bytes, more than a page blob can have: name a resource group for managed disks`,
    { target: 'properties.targetResourceGroupId' },
  );
}

/** `<vm>-<32 hexadecimal digits>`, as the service names it: a container name is at most 63 lower-case letters, digits and hyphens. */
function defaultContainer(vmName: string, id: JobId): string {
  const readable = vmName
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 30)
    .replace(/-+$/, '');
  return `${readable === '' ? 'vm' : readable}-${id.replaceAll('-', '')}`;
}
