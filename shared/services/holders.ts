import type { ItemRow, JobError, JobRow } from '../catalog/catalog.ts';
import type { JobId } from '../domain/ids.ts';
import { adviceFor } from './advice.ts';
import { ENDED, readJob } from './jobs.ts';
import type { Ports } from './ports.ts';

/*
 * One backup of an item transfers at a time: the one that holds the item (`activeJob`). A scheduled one that comes meanwhile takes its
 * snapshots and waits (`waiting`), so that the day has a point. At any moment at most one of all these has not recorded its set yet, or
 * the sets of two would overlap; that is why a backup may begin to wait only when everybody else has.
 */

type Holds = Pick<ItemRow, 'activeJob' | 'waiting'>;

/** Whether the job is one of the item's backups that run or wait. */
export function holdsItem({ activeJob, waiting }: Holds, jobId: JobId): boolean {
  return activeJob === jobId || (waiting ?? []).some((each) => each.jobId === jobId);
}

/**
 * What the item's row says of its backups when those of `isEnded` are gone. The newest that waits takes the place of the one that held
 * the item: the points of older ones could come into the vault before it, but then it would have to wait for all of them.
 */
export function withoutEnded(item: Holds, isEnded: (jobId: JobId) => boolean): Holds {
  const waiting = (item.waiting ?? []).filter(({ jobId }) => !isEnded(jobId));
  const stays = item.activeJob !== undefined && !isEnded(item.activeJob);
  const activeJob = stays ? item.activeJob : waiting.pop()?.jobId;
  return { activeJob, waiting: waiting.length === 0 ? undefined : waiting };
}

/** What another backup meets: nobody, backups that have all recorded their sets, so that one more may wait behind
 * them, or some of which one has not. */
export type InTheWay = 'nobody' | 'transfer' | 'snapshots';

/** Looks at the jobs that hold the item or wait for it. A row may still name jobs that have ended. */
export async function inTheWay(ports: Ports, vault: string, item: Holds): Promise<InTheWay> {
  const waiting = (item.waiting ?? []).map(({ jobId }) => jobId);
  const holders = [...(item.activeJob === undefined ? [] : [item.activeJob]), ...waiting];
  const running: JobRow[] = [];
  for (const jobId of holders) {
    const job = await readJob(ports, { vault, jobId });
    if (job !== undefined && !ENDED.has(job.status)) running.push(job);
  }
  if (running.length === 0) return 'nobody';
  // Where only such run that wait, the item is about to be handed on: that row must not be written over.
  const isHeld = running.some(({ jobId }) => jobId === item.activeJob);
  return isHeld && running.every(({ set }) => set !== undefined) ? 'transfer' : 'snapshots';
}

/** The code of a job that waits. */
export const WAITS = 'UserErrorBackupOperationInProgress';

/** What a job says of itself as long as it waits for `other`. */
export function waitsFor(other: JobId): JobError {
  return {
    code: WAITS,
    message: `an earlier backup (job ${other}) is still transferring: the snapshots of this one are taken now, and its transfer waits`,
    recommendations: adviceFor(WAITS),
  };
}
