import type { JobError, JobRow } from '../catalog/catalog.ts';
import { adviceFor } from './advice.ts';
import { TRANSFER } from './backup.ts';
import { endJob, releaseEnded } from './end-job.ts';
import { WAITS } from './holders.ts';
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

/** Whether the job's transfer may go on: true once it holds the item. A job whose item does not say that it waits has never to wait. */
export async function takeTurn(ports: Ports, address: JobAddress, job: JobRow): Promise<boolean> {
  if (job.waitsFor === undefined) return true;
  const itemOf = async () => (await ports.catalog.items.get(address.vault, job.itemKey))?.row;
  const isWaiting = async (): Promise<boolean> =>
    (await itemOf())?.waiting?.some(({ jobId }) => jobId === address.jobId) ?? false;
  if (await isWaiting()) {
    if (await isRunning(ports, address.vault, (await itemOf())?.activeJob)) return false;
    // Who held the item has ended, and died before it could hand it on.
    await releaseEnded(ports, address.vault, job.itemKey);
    if (await isWaiting()) return false;
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

/**
 * The job has its snapshots: backups that wait for as long, or longer, stay in the snapshot tier, and say so. Repeats safely. A handler that
 * slept until its job had ended, or until one of the others had had its turn, ends nobody: nothing would go into the vault in its place.
 */
export async function standInFor(ports: Ports, address: JobAddress, job: JobRow): Promise<void> {
  if (job.waitsFor === undefined || job.point === undefined) return;
  const item = (await ports.catalog.items.get(address.vault, job.itemKey))?.row;
  const older = (item?.waiting ?? []).filter(({ point }) => point < job.point!);
  if (older.length === 0) return;
  const { row: vault } = await openVault(ports, address.vault);
  for (const { jobId, point } of older) {
    const other: JobAddress = { vault: address.vault, jobId };
    const note = `a transfer was still running when recovery point ${job.point} was taken, which goes into the vault in place of this one; this one stays in the snapshot tier and ends with its snapshots`;
    const error = {
      code: 'RecoveryPointOvertaken',
      message: note,
      recommendations: adviceFor('RecoveryPointOvertaken'),
    };
    if ((await readJob(ports, address))?.status !== 'InProgress') return;
    if (!(await endsWaiting(ports, other, error))) continue;
    await changePoint(ports, pointsPartition(vault.containerName, job.itemId), point, (row) =>
      row.vault === 'None' ? { ...row, note } : undefined,
    );
    await endJob(ports, other, 'CompletedWithWarnings');
  }
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
