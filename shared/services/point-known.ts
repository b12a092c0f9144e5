import type { JobRow, VaultRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import { ENDED, readJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import type { Ports } from './ports.ts';
import { openVault } from './vault-of.ts';

/**
 * Makes the recovery point of a backup known whose set of snapshots stands on the job's row: from here on it can be restored. Repeats
 * safely. A handler that slept until its job had ended may come too late, when the point has had its time: then its snapshots have gone,
 * and the row goes again. `vaultRow` is the vault's row, where the caller has read it.
 */
export async function makePointKnown(ports: Ports, vault: string, job: JobRow, vaultRow?: VaultRow): Promise<void> {
  const { point, set } = job;
  if (point === undefined || set === undefined) return;
  const { containerName } = vaultRow ?? (await openVault(ports, vault)).row;
  const partition = pointsPartition(containerName, job.itemId);
  try {
    await ports.catalog.points.insert(partition, point, {
      point,
      itemId: job.itemId,
      jobId: job.jobId,
      time: set.takenAt,
      trigger: job.dueAt === undefined ? 'onDemand' : 'scheduled',
      dueAt: job.dueAt,
      retainUntil: job.retainUntil,
      set,
      instant: 'Valid',
      vault: 'None',
      sizeBytes: set.disks.reduce((sum, disk) => sum + disk.sizeBytes, 0),
      dataBlocks: 0,
      clearedBlocks: 0,
      storedBytes: 0,
      seq: 0,
    });
  } catch (error) {
    if (!isBackupError(error, 'RowAlreadyExists')) throw error;
    return;
  }
  const now = await readJob(ports, { vault, jobId: job.jobId });
  if (now === undefined || !ENDED.has(now.status)) return;
  const sizes = await Promise.all(set.disks.map(({ url, snapshot }) => ports.snapshots.sizeOf({ url, id: snapshot })));
  if (sizes.includes(undefined)) await ports.catalog.points.remove(partition, point);
}
