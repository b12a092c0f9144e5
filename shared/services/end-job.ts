import type { Versioned } from '../catalog/catalog-table.ts';
import type { ItemRow, JobError, JobRow } from '../catalog/catalog.ts';
import { attemptId } from '../domain/ids.ts';
import type { ChainRecord } from '../format/documents.ts';
import { Chain } from './chain.ts';
import { churnWarnings } from './churn-report.ts';
import { holdsItem, withoutEnded } from './holders.ts';
import { changeItem } from './items.ts';
import { indexJob } from './job-index.ts';
import { ENDED, type JobAddress, changeJob, isRunning, readJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { makePointKnown } from './point-known.ts';
import type { Ports } from './ports.ts';
import { project } from './projection.ts';
import { discardRestore } from './restore-leftovers.ts';
import { openVault } from './vault-of.ts';
import { discardVerify } from './verify-leftovers.ts';

export type Outcome = NonNullable<JobRow['outcome']>;

/**
 * Ends a job otherwise than by its commit. A paused handler of the job could still commit its plan, naming objects that are
 * leftovers by then; so a job that has noted a plan is first Ending, then puts a record that changes nothing behind the newest
 * (won or lost, a later record stands now, and the paused handler's has become impossible or has already happened), and only
 * then ended. Where the plan turns out to have been committed after all, the job has completed. Goes on where a crash left it.
 */
export async function endJob(ports: Ports, address: JobAddress, outcome: Outcome, error?: JobError): Promise<void> {
  await changeJob(ports, address, (job) =>
    ENDED.has(job.status) || job.outcome !== undefined
      ? undefined
      : {
          ...job,
          status: outcome === 'Cancelled' ? 'Cancelling' : 'Ending',
          outcome,
          errors: error ? [...job.errors, error] : job.errors,
        },
  );
  const row = await readJob(ports, address);
  if (row === undefined) return;
  if (ENDED.has(row.status)) return release(ports, address, row);
  const isDrill = row.restore?.verifyJob !== undefined; // its disks are never handed over
  if (row.operation === 'Restore' && row.outcome === 'Completed' && !isDrill) return; // its coordinator is handing the disks over
  const committed = hasChainPlan(row) && (await closeInChain(ports, address, row));
  // Its snapshots are a point that can be restored, whatever becomes of the transfer: without a row nobody would know of them.
  if (row.operation === 'Backup' && !committed) await makePointKnown(ports, address.vault, row);
  if (row.operation === 'Restore') await discardRestore(ports, address.vault, row);
  if (row.operation === 'Verify') await discardVerify(ports, address.vault, row);
  await finishJob(ports, address, committed ? 'Completed' : (row.outcome ?? 'Failed'));
}

/**
 * Sets a job's final status, then frees what it held. Repeats safely; the first final status stands. A backup that has met what its
 * source had left out completes with a warning. Rows of `seen` that nobody has changed since need not be read again.
 */
export async function finishJob(ports: Ports, address: JobAddress, status: Outcome, seen: Seen = {}): Promise<void> {
  const now = ports.clock.now();
  const finished = (job: JobRow): JobRow | undefined => {
    if (ENDED.has(job.status)) return undefined;
    const warnings = status === 'Completed' ? churnWarnings(job) : [];
    return {
      ...job,
      status: warnings.length > 0 ? 'CompletedWithWarnings' : status,
      endedAt: now,
      errors: status === 'Completed' ? warnings : job.errors,
      doneBytes: status === 'Completed' ? job.totalBytes : job.doneBytes,
      tasks: job.tasks.map((task) =>
        task.status === 'InProgress' || (task.status === 'NotStarted' && status === 'Completed')
          ? { ...task, status: endOfTask(status), startedAt: task.startedAt ?? now, endedAt: now }
          : task,
      ),
    };
  };
  const row = (await changeJob(ports, address, finished, seen.job)) ?? (await readJob(ports, address));
  if (row !== undefined) await release(ports, address, row, seen.item);
}

/** The rows of a job and its item as the caller has read or written them last. */
interface Seen {
  readonly job?: Versioned<JobRow> | undefined;
  readonly item?: Versioned<ItemRow> | undefined;
}

function endOfTask(status: Outcome): 'Completed' | 'Failed' | 'Cancelled' {
  if (status === 'Completed') return 'Completed';
  return status === 'Cancelled' ? 'Cancelled' : 'Failed';
}

/**
 * Frees what the job held of its item, hands that on to a backup that waits, and takes the job off the list of open ones once it is among
 * those that have ended.
 */
async function release(ports: Ports, address: JobAddress, row: JobRow, seen?: Versioned<ItemRow>): Promise<void> {
  let next: JobRow['jobId'] | undefined;
  const freed = (item: ItemRow): ItemRow | undefined => {
    next = undefined;
    const backup = holdsItem(item, row.jobId);
    const merge = item.mergeJob === row.jobId;
    const verify = item.verifyJob === row.jobId;
    const pins = item.pins.filter(({ jobId }) => jobId !== row.jobId);
    if (!backup && !merge && !verify && pins.length === item.pins.length) return undefined;
    const holds = withoutEnded(item, (id) => id === row.jobId);
    if (holds.activeJob !== item.activeJob) next = holds.activeJob;
    const isLast = backup && row.startedAt >= (item.lastBackupAt ?? 0);
    return {
      ...item,
      pins,
      ...(backup ? holds : {}),
      ...(isLast ? { lastBackupStatus: row.status, lastBackupAt: row.startedAt } : {}),
      ...(merge ? { mergeJob: undefined, leaving: undefined } : {}),
      ...(verify ? { verifyJob: undefined } : {}),
    };
  };
  await changeItem(ports, address.vault, row.itemKey, freed, seen);
  if (next !== undefined) await goOn(ports, { vault: address.vault, jobId: next });
  await indexJob(ports, address.vault, row);
  await ports.catalog.openJobs.remove(address.vault, row.jobId);
}

/**
 * Frees what an item's row holds for jobs that run no more: a handler that slept may have written it after its job's end. A merge that
 * has ended takes nothing away, so the point that was leaving may be read again.
 */
export async function releaseEnded(ports: Ports, vault: string, key: string): Promise<void> {
  const item = (await ports.catalog.items.get(vault, key))?.row;
  if (item === undefined) return;
  const others = [...item.pins, ...(item.waiting ?? [])].map(({ jobId }) => jobId);
  const holders = new Set([item.activeJob, item.mergeJob, item.verifyJob, ...others]);
  const ended = new Set<JobRow['jobId']>();
  for (const holder of holders) if (holder !== undefined && !(await isRunning(ports, vault, holder))) ended.add(holder);
  const has = (holder: JobRow['jobId'] | undefined): boolean => holder !== undefined && ended.has(holder);
  if (ended.size === 0) return;
  let next: JobRow['jobId'] | undefined;
  await changeItem(ports, vault, key, (now) => {
    const holds = withoutEnded(now, has);
    next = holds.activeJob === now.activeJob ? undefined : holds.activeJob;
    return {
      ...now,
      ...holds,
      pins: now.pins.filter(({ jobId }) => !has(jobId)),
      ...(has(now.mergeJob) ? { mergeJob: undefined, leaving: undefined } : {}),
      ...(has(now.verifyJob) ? { verifyJob: undefined } : {}),
    };
  });
  if (next !== undefined) await goOn(ports, { vault, jobId: next });
}

/**
 * A backup that waited holds the item now. It goes on from its snapshots, by way of what follows them: the point's row has to be there
 * before a record names the point. Where it has no set yet its own message is under way. What is lost here the watch makes up for.
 */
async function goOn(ports: Ports, address: JobAddress): Promise<void> {
  const job = await readJob(ports, address);
  if (job?.set !== undefined) await ports.queue.send({ step: 'take-snapshot', v: 1, ...address });
}

function hasChainPlan(row: JobRow): boolean {
  const commits = row.operation === 'Backup' || row.operation === 'Merge' || row.operation === 'Compact';
  return row.attempt !== undefined && commits;
}

/** Makes sure that the job's plan cannot be committed any more; true when it has been. */
async function closeInChain(ports: Ports, address: JobAddress, row: JobRow): Promise<boolean> {
  const { container, row: vault } = await openVault(ports, address.vault);
  const chain = new Chain(container, row.itemId);
  const committedIn = async (newest: ChainRecord): Promise<boolean> => {
    if ((await chain.committed(row.attempts, row.planSeq ?? 0, newest)) === undefined) return false;
    await project(ports, pointsPartition(vault.containerName, row.itemId), chain, newest);
    return true;
  };
  const newest = await chain.newest();
  if (await committedIn(newest)) return true;
  const { won, record } = await chain.append(newest, {
    kind: 'end',
    attempt: attemptId(ports.ids.hex(16)),
    job: row.jobId,
    writtenAt: new Date(ports.clock.now()).toISOString(),
  });
  return won ? false : committedIn(record);
}
