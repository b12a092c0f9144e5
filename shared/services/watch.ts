import type { JobRow } from '../catalog/catalog.ts';
import { BackupError } from '../domain/errors.ts';
import type { Step } from '../queue/steps.ts';
import { endJob } from './end-job.ts';
import { ENDED, type JobAddress, changeJob, describeError, readJob } from './jobs.ts';
import type { Ports } from './ports.ts';

/** A job without a sign of life for this long gets its messages again: longer than a dead host's message stays invisible. */
const QUIET_MS = 15 * 60_000;
/** A job that is this old fails: a first backup of the largest disks takes days, not weeks. */
const MOST_MS = 14 * 86_400_000;

/**
 * Looks after jobs that have not ended: what was begun is ended, what has nothing in flight any more is given its messages again (they
 * all may come twice), what is too old fails with a reason. So nothing waits for ever, whatever message or host was lost.
 */
export async function watchJobs(ports: Ports): Promise<number> {
  let woken = 0;
  for await (const { partition: vault, key, row: open } of ports.catalog.openJobs.listAll()) {
    const address: JobAddress = { vault, jobId: key as JobAddress['jobId'] };
    const job = await readJob(ports, address);
    const now = ports.clock.now();
    if (job === undefined) {
      // Its row comes right after this one; a job that never got it has done nothing.
      if (now - open.startedAt > QUIET_MS) await ports.catalog.openJobs.remove(vault, key);
    } else if (ENDED.has(job.status) || job.status === 'Ending' || job.status === 'Cancelling') {
      await endJob(ports, address, job.outcome ?? 'Failed');
    } else if (now - job.startedAt > MOST_MS) {
      await failJob(ports, address, new BackupError('JobTimedOut', `the job has run for more than ${MOST_MS / 86_400_000} days`));
    } else if (now - job.updatedAt > QUIET_MS) {
      for (const step of nextSteps(vault, job)) await ports.queue.send(step);
      await changeJob(ports, address, (row) => (ENDED.has(row.status) ? undefined : { ...row }));
      woken++;
    }
  }
  return woken;
}

/** The message that takes a running job on from where its row says it is. */
function nextSteps(vault: string, job: JobRow): Step[] {
  const at = { v: 1, vault, jobId: job.jobId } as const;
  switch (job.operation) {
    case 'Backup':
      return [{ step: 'take-snapshot', ...at }];
    case 'Merge':
      return [{ step: 'plan-merge', ...at }];
    case 'Restore':
      return [{ step: 'plan-restore', ...at }];
    case 'ConfigureBackup':
    case 'DisableBackup':
      return []; // done when it was answered
    default:
      return job.operation satisfies never;
  }
}

/** Fails a job for a reason that a person can act on; a job that has ended stays as it is. */
export async function failJob(ports: Ports, address: JobAddress, error: unknown): Promise<void> {
  const job = await readJob(ports, address);
  if (job === undefined) return;
  await endJob(ports, address, outcomeOf(job), describeError(error, ports));
}

/** A backup whose snapshots are taken has made a point that can be restored, whatever becomes of its transfer. */
function outcomeOf(job: JobRow): 'Failed' | 'CompletedWithWarnings' {
  return job.operation === 'Backup' && job.set !== undefined ? 'CompletedWithWarnings' : 'Failed';
}

/** Cancels a running backup or restore. @throws BackupError ResourceNotFound, UserErrorJobNotCancellable */
export async function cancelJob(ports: Ports, address: JobAddress): Promise<void> {
  const job = await readJob(ports, address);
  if (job === undefined || job.operation === 'Merge') {
    throw new BackupError('ResourceNotFound', `there is no job ${address.jobId} in this vault`);
  }
  if (job.status !== 'InProgress' || (job.operation !== 'Backup' && job.operation !== 'Restore')) {
    throw new BackupError('UserErrorJobNotCancellable', `job ${job.jobId} (${job.operation}) is ${job.status}: only a running backup or restore can be cancelled`);
  }
  await endJob(ports, address, 'Cancelled', {
    code: 'UserErrorJobSuccessfullyCancelled',
    message: 'the job was cancelled on request',
    recommendations: [],
  });
}
