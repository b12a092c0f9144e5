import type { JobRow } from '../catalog/catalog.ts';
import { BackupError, ERROR_TABLE, isBackupError } from '../domain/errors.ts';
import type { Step } from '../queue/steps.ts';
import { watchCleanUps } from './clean-up-look.ts';
import { endJob, finishJob } from './end-job.ts';
import { finishRestore } from './finish-restore.ts';
import { ENDED, type JobAddress, changeJob, describeError, isHousekeeping, readJob } from './jobs.ts';
import type { Ports } from './ports.ts';

/** A job without a sign of life for this long gets its messages again: longer than a dead host's message stays invisible. */
const QUIET_MS = 15 * 60_000;
/**
 * The nightly verification is left alone for longer: nobody waits for it, the queue brings back what a dead host had, and whoever takes it
 * on sends all that is not done once more.
 */
const QUIET_NIGHTLY_MS = 4 * 3_600_000;
/** A job that is this old fails: a first backup of the largest disks takes days, not weeks. */
const MOST_MS = 14 * 86_400_000;
/** How much longer the end of an old restore is tried while its account does not answer. */
const GIVE_UP_MS = 86_400_000;

/**
 * Looks after jobs that have not ended: what was begun is ended, what has nothing in flight any more is given its messages again (they
 * all may come twice), what is too old fails with a reason. So nothing waits for ever, whatever message or host was lost.
 */
export async function watchJobs(ports: Ports): Promise<number> {
  let woken = 0;
  for await (const { partition: vault, key, row: open, etag } of ports.catalog.openJobs.listAll()) {
    try {
      if (await lookAfter(ports, { vault, jobId: key as JobAddress['jobId'] }, open.startedAt, etag)) woken++;
    } catch (error) {
      // What stands in the way of one job must not keep the others waiting.
      if (!isBackupError(error)) throw error;
      ports.log(`job ${key} could not be looked after: ${error.code}: ${error.message}`);
    }
  }
  await watchCleanUps(ports);
  return woken;
}

const quietMs = ({ operation, userTriggered }: JobRow): number =>
  operation === 'Verify' && !userTriggered ? QUIET_NIGHTLY_MS : QUIET_MS;

/** True when the job has been given its messages again. `etag` is that of the mark under which it was found. */
async function lookAfter(ports: Ports, address: JobAddress, begunAt: number, etag: string): Promise<boolean> {
  const { vault, jobId } = address;
  const job = await readJob(ports, address);
  const now = ports.clock.now();
  if (job === undefined) {
    // Its row comes right after this one; a job that never got it has done nothing.
    if (now - begunAt > QUIET_MS) await ports.catalog.openJobs.remove(vault, jobId, etag);
  } else if (ENDED.has(job.status)) {
    await endJob(ports, address, 'Failed');
  } else if (now - job.startedAt > MOST_MS && job.operation === 'Restore' && job.outcome !== undefined) {
    await endOldRestore(ports, address, job);
  } else if (job.status === 'Ending' || job.status === 'Cancelling') {
    await endJob(ports, address, job.outcome ?? 'Failed');
  } else if (now - job.startedAt > MOST_MS) {
    await failJob(
      ports,
      address,
      new BackupError('JobTimedOut', `the job has run for more than ${MOST_MS / 86_400_000} days`),
    );
  } else if (now - job.updatedAt > quietMs(job)) {
    const steps = nextSteps(vault, job);
    // It tells of something that had been done before the job was made: only its end is missing.
    if (steps.length === 0) await finishJob(ports, address, 'Completed');
    for (const step of steps) await ports.queue.send(step);
    await changeJob(ports, address, (row) => (ENDED.has(row.status) ? undefined : { ...row }));
    return true;
  }
  return false;
}

/**
 * Hands a restore's disks over or takes them away, as was decided, once more. Where neither can be done, because they or their account
 * are not what they were, it ends as it is: disks that were handed over stay, the others keep the mark that says that they are
 * not complete.
 */
async function endOldRestore(
  ports: Ports,
  address: JobAddress,
  { outcome, attempt, restore, startedAt }: JobRow,
): Promise<void> {
  try {
    if (outcome === 'Completed' && attempt !== undefined && restore?.verifyJob === undefined)
      await finishRestore(ports, { ...address, attempt, round: 0 });
    else await endJob(ports, address, outcome ?? 'Failed');
  } catch (error) {
    // One lost answer is no reason; an account that has not answered for another day may never do so.
    const passing = isBackupError(error) && ERROR_TABLE[error.code].retry;
    if (passing && ports.clock.now() - startedAt < MOST_MS + GIVE_UP_MS) throw error;
    const reason = describeError(error, ports);
    await changeJob(ports, address, (job) =>
      ENDED.has(job.status) ? undefined : { ...job, errors: [...job.errors, reason] },
    );
    await finishJob(ports, address, 'Failed');
  }
}

/** The message that takes a running job on from where its row says it is. */
function nextSteps(vault: string, job: JobRow): Step[] {
  const at = { v: 1, vault, jobId: job.jobId } as const;
  switch (job.operation) {
    case 'Backup':
      return [{ step: 'take-snapshot', ...at }];
    case 'Merge':
      return [{ step: 'plan-merge', ...at }];
    case 'Verify':
      return [{ step: 'plan-verify', ...at }];
    case 'Compact':
      return [{ step: 'plan-compaction', ...at }];
    case 'Restore':
      return [{ step: 'plan-restore', ...at }];
    case 'Rebuild':
      return [{ step: 'rebuild-vault', ...at, round: 0 }];
    case 'ConfigureBackup':
    case 'DisableBackup':
    case 'DeleteBackupData':
    case 'Undelete':
      return [];
    default:
      return job.operation satisfies never;
  }
}

/** Fails a job for a reason that a person can act on; a job that has ended stays as it is. */
export async function failJob(ports: Ports, address: JobAddress, error: unknown): Promise<void> {
  const job = await readJob(ports, address);
  if (job === undefined) return;
  await endJob(ports, address, outcomeOf(job), describeError(error, ports));
  // Cleanup goes on with the item's other points.
  if (job.operation === 'Merge' || job.operation === 'Compact')
    await ports.queue.send({ step: 'clean-item', v: 1, vault: address.vault, itemId: job.itemKey });
}

/** A backup whose snapshots are taken has made a point that can be restored, whatever becomes of its transfer. */
function outcomeOf(job: JobRow): 'Failed' | 'CompletedWithWarnings' {
  return job.operation === 'Backup' && job.set !== undefined ? 'CompletedWithWarnings' : 'Failed';
}

/** Cancels a running backup or restore; one that is being cancelled already is fine. @throws BackupError ResourceNotFound, UserErrorJobNotCancellable */
export async function cancelJob(ports: Ports, address: JobAddress): Promise<void> {
  const job = await readJob(ports, address);
  if (job === undefined || isHousekeeping(job)) {
    throw new BackupError('ResourceNotFound', `there is no job ${address.jobId} in this vault`);
  }
  const isCancellable = job.status === 'InProgress' || job.status === 'Cancelling';
  if (!isCancellable || (job.operation !== 'Backup' && job.operation !== 'Restore')) {
    throw new BackupError(
      'UserErrorJobNotCancellable',
      `job ${job.jobId} (${job.operation}) is ${job.status}: only a running backup or restore can be cancelled`,
    );
  }
  await endJob(ports, address, 'Cancelled', {
    code: 'UserErrorJobSuccessfullyCancelled',
    message: 'the job was cancelled on request',
    recommendations: [],
  });
}
