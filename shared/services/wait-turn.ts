import type { ItemRow, JobError, JobRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import type { JobId, PointId } from '../domain/ids.ts';
import { adviceFor } from './advice.ts';
import { TRANSFER } from './backup.ts';
import { endJob, releaseEnded } from './end-job.ts';
import { WAITS, holdsItem } from './holders.ts';
import { type JobAddress, changeJob, isRunning, readJob, withTask } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import type { Ports } from './ports.ts';
import { changePoint } from './projection.ts';
import { openVault } from './vault-of.ts';

/*
 * A backup that came while another transferred has its snapshots, and waits with its transfer until the other has ended. Nothing polls
 * meanwhile: who ends hands the item on and sends the next one's message, and the watch makes up for messages that were lost. When a
 * still newer one has its snapshots too, it goes on instead: its transfer brings the vault up to date in one go.
 */

/**
 * Whether the job's transfer may go on: true once it holds the item. A job whose item is not known has never to wait. One that the item
 * neither names as the one that transfers nor as one that waits has been stood in for: it ends.
 */
export async function takeTurn(ports: Ports, address: JobAddress, job: JobRow): Promise<boolean> {
  if (job.waitsFor === undefined) return true;
  const itemOf = async () => (await ports.catalog.items.get(address.vault, job.itemKey))?.row;
  let item = await itemOf();
  if (item !== undefined && isWaiting(item, address.jobId)) {
    if (await isRunning(ports, address.vault, item.activeJob)) return false;
    // Who held the item has ended, and died before it could hand it on.
    await releaseEnded(ports, address.vault, job.itemKey);
    item = await itemOf();
    if (item !== undefined && isWaiting(item, address.jobId)) return false;
  }
  if (item !== undefined && item.activeJob !== address.jobId && job.errors.some(({ code }) => code === WAITS)) {
    await endOvertaken(ports, address, job, 'a newer recovery point');
    return false;
  }
  await changeJob(ports, address, (row) =>
    row.status === 'InProgress' && row.errors.some(({ code }) => code === WAITS)
      ? {
          ...row,
          errors: row.errors.filter(({ code }) => code !== WAITS),
          tasks: withTask(row.tasks, TRANSFER, { status: 'InProgress', startedAt: ports.clock.now() }),
        }
      : undefined,
  );
  return true;
}

const isWaiting = ({ waiting }: Pick<ItemRow, 'waiting'>, jobId: JobId): boolean =>
  waiting?.some((each) => each.jobId === jobId) ?? false;

/**
 * The job has its snapshots: backups that wait for as long, or longer, stay in the snapshot tier, and say so. Repeats safely.
 *
 * First they are taken off the item's row, under the ETag with which this job was seen to hold it or to wait for it: from then on none of them
 * can have its turn, and none that has it is among them. A handler that slept until its job had ended finds the row changed. Where it dies
 * before it has ended them they end when the watch wakes them (`takeTurn`).
 */
export async function standInFor(ports: Ports, address: JobAddress, job: JobRow): Promise<void> {
  if (job.waitsFor === undefined || job.point === undefined) return;
  for (const { jobId } of await claim(ports, address, job, job.point)) {
    const other: JobAddress = { vault: address.vault, jobId };
    const row = await readJob(ports, other);
    if (row !== undefined) await endOvertaken(ports, other, row, `recovery point ${job.point}`);
  }
}

/** Takes the backups that wait and are older off the item's row; those that it answers are this job's to end. */
async function claim(
  ports: Ports,
  address: JobAddress,
  { itemKey }: JobRow,
  point: PointId,
): Promise<NonNullable<ItemRow['waiting']>> {
  for (;;) {
    const found = await ports.catalog.items.get(address.vault, itemKey);
    if (found === undefined || !holdsItem(found.row, address.jobId)) return [];
    const { waiting = [] } = found.row;
    const older = waiting.filter((each) => each.point < point);
    // The row may still name a job that has ended: that is looked at between the reading and the writing of the row.
    if (older.length === 0 || (await readJob(ports, address))?.status !== 'InProgress') return [];
    const others = waiting.filter((each) => each.point >= point);
    const row = { ...found.row, waiting: others.length === 0 ? undefined : others };
    try {
      await ports.catalog.items.replace(address.vault, itemKey, row, found.etag);
      return older;
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw error;
    }
  }
}

/** Ends a backup that can have its turn no more: `instead` goes into the vault. */
async function endOvertaken(ports: Ports, address: JobAddress, job: JobRow, instead: string): Promise<void> {
  const note = `a transfer was still running when ${instead} was taken, which goes into the vault in place of this one; this one stays in the snapshot tier and ends with its snapshots`;
  const error = { code: 'RecoveryPointOvertaken', message: note, recommendations: adviceFor('RecoveryPointOvertaken') };
  if (!(await endsWaiting(ports, address, error))) return;
  const { row: vault } = await openVault(ports, address.vault);
  if (job.point !== undefined)
    await changePoint(ports, pointsPartition(vault.containerName, job.itemId), job.point, (row) =>
      row.vault === 'None' && row.note === undefined ? { ...row, note } : undefined,
    );
  await endJob(ports, address, 'CompletedWithWarnings');
}

/** Begins the end of a job that has not had its turn; true also where an earlier run has begun it. */
async function endsWaiting(ports: Ports, address: JobAddress, error: JobError): Promise<boolean> {
  await changeJob(ports, address, (row) =>
    row.status === 'InProgress' && row.outcome === undefined && row.errors.some(({ code }) => code === WAITS)
      ? { ...row, status: 'Ending', outcome: 'CompletedWithWarnings', errors: [...row.errors, error] }
      : undefined,
  );
  const { errors = [] } = (await readJob(ports, address)) ?? {};
  return errors.some(({ code }) => code === error.code);
}
