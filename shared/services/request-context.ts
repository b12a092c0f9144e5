import { AsyncLocalStorage } from 'node:async_hooks';

/** What is being worked on: every line of the log is labelled with it, and jobs that are started keep the correlation id. */
export interface WorkIds {
  /** Of this one request, message or tick. */
  readonly requestId: string;
  /** What the caller calls all that belongs together; of a job's steps that of the request which started the job. */
  readonly correlationId: string;
  /** The job that a message belongs to. */
  readonly jobId?: string;
  /** The keys of the vault and of the protected item that a message is about. */
  readonly vault?: string;
  readonly item?: string;
}

const storage = new AsyncLocalStorage<{ -readonly [Key in keyof WorkIds]: WorkIds[Key] }>();

/** Runs `work`; whatever it does or waits for has these ids. */
export function withIds<Result>(ids: WorkIds, work: () => Result): Result {
  return storage.run({ ...ids }, work);
}

/** The ids of the work in hand; undefined outside of any. */
export function currentIds(): WorkIds | undefined {
  return storage.getStore();
}

/** A step has read its job: from now on it works in the name of the request that started that. */
export function adoptActivity(job: {
  readonly jobId: string;
  readonly activityId?: string | undefined;
  readonly itemKey?: string;
}): void {
  const ids = storage.getStore();
  if (ids?.jobId !== job.jobId) return;
  if (job.activityId !== undefined) ids.correlationId = job.activityId;
  if (job.itemKey !== undefined && job.itemKey !== '') ids.item = job.itemKey;
}

/** A line of the log with the ids of the work in hand in front of it. */
export function labelled(line: string): string {
  const ids = storage.getStore();
  if (ids === undefined) return line;
  const { requestId, correlationId, jobId, item } = ids;
  const job = jobId === undefined ? '' : ` job=${jobId}`;
  const about = item === undefined ? '' : ` item=${item}`;
  return `request=${requestId} correlation=${correlationId}${job}${about} ${line}`;
}
