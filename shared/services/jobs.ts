import type { Versioned } from '../catalog/catalog-table.ts';
import type { ItemRow, JobError, JobRow, JobTask } from '../catalog/catalog.ts';
import { BackupError, isBackupError } from '../domain/errors.ts';
import { hideSecrets } from '../domain/secrets.ts';
import { type AttemptId, type JobId, type PointId, jobId } from '../domain/ids.ts';
import { adviceFor } from './advice.ts';
import type { Ports } from './ports.ts';
import { adoptActivity, currentIds } from './request-context.ts';

/** Statuses that a job does not leave again. */
export const ENDED: ReadonlySet<JobRow['status']> = new Set([
  'Completed',
  'CompletedWithWarnings',
  'Failed',
  'Cancelled',
]);

/** Whether a job is Strata's own housekeeping: not listed by the API, nor to be cancelled by it. */
export const isHousekeeping = ({ operation }: Pick<JobRow, 'operation'>): boolean =>
  operation === 'Merge' || operation === 'Compact' || operation === 'Rebuild' || operation === 'Verify';

/** Where a job's row is: its vault's key and its id. */
export interface JobAddress {
  readonly vault: string;
  readonly jobId: JobId;
}

/** The job's row; undefined when the tables have lost it, which is to say that the job has ended. */
export async function readJob(ports: Ports, { vault, jobId }: JobAddress): Promise<JobRow | undefined> {
  const row = (await ports.catalog.jobs.get(vault, jobId))?.row;
  if (row !== undefined) adoptActivity(row);
  return row;
}

/** Whether a job still runs, by its row: one whose row is gone has ended. What such a job held of its item holds no more. */
export async function isRunning(ports: Ports, vault: string, jobId: JobId | undefined): Promise<boolean> {
  if (jobId === undefined) return false;
  const row = await readJob(ports, { vault, jobId });
  return row !== undefined && !ENDED.has(row.status);
}

/** The rebuild of the vault's catalog that runs; undefined when none does. */
export async function runningRebuild(ports: Ports, vault: string): Promise<JobId | undefined> {
  for await (const { key } of ports.catalog.openJobs.list(vault)) {
    const address = { vault, jobId: key as JobId };
    const row = await readJob(ports, address);
    if (row?.operation === 'Rebuild' && !ENDED.has(row.status)) return address.jobId;
  }
  return undefined;
}

/** Whether a running job reads from the point. */
export async function isPinned(ports: Ports, vault: string, item: ItemRow, point: PointId): Promise<boolean> {
  for (const pin of item.pins) {
    if (pin.point === point && (await isRunning(ports, vault, pin.jobId))) return true;
  }
  return false;
}

/** Takes back a job that never got hold of its item: it has done nothing and nobody has been told of it. */
export async function withdrawJob(ports: Ports, { vault, jobId }: JobAddress): Promise<void> {
  await ports.catalog.jobs.remove(vault, jobId);
  await ports.catalog.openJobs.remove(vault, jobId);
}

/** A job of an item, or of what stands in the place of one, that starts now. */
export function newJob(
  ports: Ports,
  item: Pick<ItemRow, 'itemId' | 'vmName' | 'resourceGroup'>,
  key: string,
  job: Pick<JobRow, 'operation' | 'userTriggered'> & Partial<JobRow>,
): JobRow {
  const now = ports.clock.now();
  const activityId = currentIds()?.correlationId;
  return {
    ...(activityId === undefined ? {} : { activityId }),
    jobId: jobId(ports.ids.guid()),
    status: 'InProgress',
    itemId: item.itemId,
    itemKey: key,
    vmName: item.vmName,
    resourceGroup: item.resourceGroup,
    startedAt: now,
    updatedAt: now,
    attempts: [],
    tasks: [],
    doneBytes: 0,
    totalBytes: 0,
    sources: [],
    errors: [],
    bag: {},
    ...job,
  };
}

/**
 * Makes a job known: first to the watch and the sweep, then to everybody. The watch takes away a mark that no job has followed; so
 * the mark is made once more when the job is there, and has another ETag than one that the watch has found without a job.
 */
export async function insertJob(ports: Ports, vault: string, row: JobRow): Promise<void> {
  const mark = { startedAt: row.startedAt, itemId: row.itemId, operation: row.operation };
  await ports.catalog.openJobs.upsert(vault, row.jobId, mark);
  await ports.catalog.jobs.insert(vault, row.jobId, row);
  await ports.catalog.openJobs.upsert(vault, row.jobId, mark);
}

/**
 * Changes a job's row under its ETag: `change` gets the newest row and answers the new one, or undefined to leave it. Resolves
 * the row that now stands, or undefined when `change` left it or there is none. `seen` is the row as the caller has read or written it
 * last: while nobody else has changed it, it need not be read again.
 */
export async function changeJob(
  ports: Ports,
  address: JobAddress,
  change: (row: JobRow) => JobRow | undefined,
  seen?: Versioned<JobRow>,
): Promise<JobRow | undefined> {
  return (await changeJobSeen(ports, address, change, seen))?.row;
}

/** As `changeJob`, and answers the version too, for who goes on changing the row. */
export async function changeJobSeen(
  ports: Ports,
  { vault, jobId }: JobAddress,
  change: (row: JobRow) => JobRow | undefined,
  seen?: Versioned<JobRow>,
): Promise<Versioned<JobRow> | undefined> {
  for (let known = seen; ; known = undefined) {
    const found = known ?? (await ports.catalog.jobs.get(vault, jobId));
    const next = found && change(found.row);
    if (found === undefined || next === undefined) {
      if (known === undefined) return undefined;
      continue; // what is to be left is looked at as it is now
    }
    const row: JobRow = { ...next, updatedAt: ports.clock.now() };
    try {
      return { row, etag: await ports.catalog.jobs.replace(vault, jobId, row, found.etag) };
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw error;
    }
  }
}

/**
 * Notes `attempt` as the one current plan of a running job, in place of `instead`, and with it what the plan tells of the job; answers the
 * row. Undefined: the job has ended or a twin was first.
 */
export function noteAttempt(
  ports: Ports,
  job: JobAddress,
  attempt: AttemptId,
  instead: AttemptId | undefined,
  planSeq: number,
  told: Partial<Pick<JobRow, 'totalBytes' | 'sources' | 'churn'>> = {},
  seen?: Versioned<JobRow>,
): Promise<Versioned<JobRow> | undefined> {
  return changeJobSeen(
    ports,
    job,
    (row) =>
      row.status === 'InProgress' && row.attempt === instead
        ? { ...row, ...told, attempt, planSeq: row.planSeq ?? planSeq, attempts: [...row.attempts, attempt] }
        : undefined,
    seen,
  );
}

/** The job if it still runs and `attempt` is its current plan; else its messages have nothing to do any more. */
export async function runningJob(ports: Ports, address: JobAddress, attempt: string): Promise<JobRow | undefined> {
  return (await runningJobSeen(ports, address, attempt))?.row;
}

/** As `runningJob`, and answers the version too, for who goes on to change the row. */
export async function runningJobSeen(
  ports: Ports,
  { vault, jobId }: JobAddress,
  attempt: string,
): Promise<Versioned<JobRow> | undefined> {
  const seen = await ports.catalog.jobs.get(vault, jobId);
  return seen?.row.status === 'InProgress' && seen.row.attempt === attempt ? seen : undefined;
}

/** `tasks` with one of them changed. */
export function withTask(tasks: readonly JobTask[], taskId: string, change: Partial<JobTask>): JobTask[] {
  return tasks.map((task) => (task.taskId === taskId ? { ...task, ...change } : task));
}

/** What a job says of a failure: a BackupError in its own words, anything else by an id only. */
export function describeError(error: unknown, ports: Pick<Ports, 'ids' | 'log'>): JobError {
  if (error instanceof BackupError)
    return { code: error.code, message: hideSecrets(error.message), recommendations: adviceFor(error.code) };
  const reference = ports.ids.guid();
  ports.log(`error ${reference}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`, 'error');
  return {
    code: 'InternalError',
    message: `an unexpected error; the log has it under ${reference}`,
    recommendations: adviceFor('InternalError'),
  };
}
