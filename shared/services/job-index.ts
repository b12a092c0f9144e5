import type { JobIndexRow, JobRow } from '../catalog/catalog.ts';
import { keysOfTimes, newestFirst } from '../catalog/newest-first.ts';
import { isBackupError } from '../domain/errors.ts';
import type { JobId } from '../domain/ids.ts';
import { ENDED, isHousekeeping } from './jobs.ts';
import { vaultRowKey } from './keys.ts';
import { forEachAtOnce, inOrder } from './pipeline.ts';
import type { Ports } from './ports.ts';

/*
 * Lists of jobs that read no more than they show.
 *
 * The rows of jobs are found by id; a vault has tens of thousands of them. Those that run have a mark each, which tells when they
 * began. Those that have ended have rows in an index, under the time at which they began, newest first, in a partition for each question
 * that a list may put: all, of an operation, of a status, of both. A list is the two together.
 *
 * A job gets its rows in the index after its final status and before its mark goes: so at any moment a job has one or the other or both, and
 * who reads the marks first and then the index misses none. A handler that dies between the writes leaves the mark, by which the watch ends
 * the job once more. A job that has ended does not change, so its rows are never out of date.
 *
 * The row under "all" (or "own") is the last to come and the last to go: while it is not there, the others may be in part. The daily cleanup
 * compares these rows with the jobs and mends what differs, and so brings the index to a vault that is older than it: until it has been
 * there, which the vault's row tells, lists go through the jobs themselves.
 */

/** Jobs whose rows are read or written at the same time. */
const JOBS_IN_FLIGHT = 32;

/** What a list is asked for. Times are those of jobs' starts, both included. */
export interface JobsAsked {
  /** Jobs as the service knows them, or Strata's own. */
  readonly kind: 'service' | 'own';
  /** Of service jobs: one that clients know, so that a job which is Ending is InProgress. */
  readonly status?: JobRow['status'] | undefined;
  readonly operation?: string | undefined;
  readonly from?: number | undefined;
  readonly until?: number | undefined;
  /** Sort key below which nothing is wanted any more, itself included. */
  readonly after?: string | undefined;
}

/** A job as lists show it, and where it stands in them. */
export interface ListedJob {
  readonly sortKey: string;
  readonly row: JobIndexRow;
}

const main = (vault: string, kind: JobsAsked['kind']): string => `${vault}|${kind === 'own' ? 'own' : 'all'}`;
const ofOperation = (vault: string, operation: string): string => `${vault}|op|${operation}`;
const ofStatus = (vault: string, status: string): string => `${vault}|status|${status}`;
const ofBoth = (vault: string, operation: string, status: string): string => `${vault}|both|${operation}|${status}`;

const keyOf = ({ startedAt, jobId }: Pick<JobRow, 'startedAt' | 'jobId'>): string => newestFirst(startedAt, jobId);

/** Where an ended job stands in the index: the main place, and those that come before it and go before it. */
function placesOf(vault: string, job: Pick<JobRow, 'operation' | 'status'>): { last: string; others: string[] } {
  const { operation, status } = job;
  if (isHousekeeping(job)) return { last: main(vault, 'own'), others: [] };
  const others = [ofOperation(vault, operation), ofStatus(vault, status), ofBoth(vault, operation, status)];
  return { last: main(vault, 'service'), others };
}

/** What lists show of a job. */
function shownOf(job: JobRow): JobIndexRow {
  const { jobId, operation, activityId, status, vmName, resourceGroup } = job;
  const { userTriggered, startedAt, endedAt, point, errors, bag } = job;
  const told = { activityId, endedAt, point };
  return { jobId, operation, status, vmName, resourceGroup, userTriggered, startedAt, errors, bag, ...told };
}

/** Writes what lists find an ended job by; one that runs is left alone. Repeats safely. */
export async function indexJob(ports: Ports, vault: string, job: JobRow): Promise<void> {
  if (!ENDED.has(job.status)) return;
  const { jobIndex } = ports.catalog;
  const { last, others } = placesOf(vault, job);
  const row = shownOf(job);
  await forEachAtOnce(others, others.length, (partition) => jobIndex.upsert(partition, keyOf(job), row));
  await jobIndex.upsert(last, keyOf(job), row);
}

/** Takes a job out of all lists of ended ones. Comes before its own row goes: no list may show what cannot be asked for. */
export async function unindexJob(
  ports: Ports,
  vault: string,
  job: Pick<JobRow, 'jobId' | 'operation' | 'status' | 'startedAt'>,
): Promise<void> {
  const { jobIndex } = ports.catalog;
  const { last, others } = placesOf(vault, job);
  await forEachAtOnce(others, others.length, (partition) => jobIndex.remove(partition, keyOf(job)));
  await jobIndex.remove(last, keyOf(job));
}

/** Takes all jobs of a vault out of its lists. */
export async function forgetIndex(ports: Ports, vault: string): Promise<void> {
  for (const kind of ['service', 'own'] as const)
    for await (const { row } of ports.catalog.jobIndex.list(main(vault, kind))) await unindexJob(ports, vault, row);
}

/**
 * Jobs of a vault, newest first. The caller takes as many as it wants; about `most` are read at a time. Of a vault whose index is not there yet
 * (`isIndexed`), all of its jobs are.
 */
export async function* jobsNewestFirst(
  ports: Ports,
  vault: string,
  isIndexed: boolean,
  asked: JobsAsked,
  most: number,
): AsyncGenerator<ListedJob> {
  if (!isIndexed) {
    const all: ListedJob[] = [];
    for await (const { row } of ports.catalog.jobs.list(vault))
      if (isAsked(row, asked)) all.push({ sortKey: keyOf(row), row: shownOf(row) });
    yield* all.sort((a, b) => (a.sortKey < b.sortKey ? -1 : 1));
    return;
  }
  const marks = await openMarks(ports, vault, asked); // before the index, which jobs go over to
  yield* merged(openOnes(ports, vault, marks, asked), endedOnes(ports, vault, asked, most));
}

/** Whether the job is what was asked for, by its row. */
export function isAsked(row: JobRow, asked: JobsAsked): boolean {
  const status = row.status === 'Ending' ? 'InProgress' : row.status;
  return (
    isHousekeeping(row) === (asked.kind === 'own') &&
    (asked.status === undefined || status === asked.status) &&
    (asked.operation === undefined || row.operation === asked.operation) &&
    row.startedAt >= (asked.from ?? -Infinity) &&
    row.startedAt <= (asked.until ?? Infinity) &&
    (asked.after === undefined || keyOf(row) > asked.after)
  );
}

interface Mark {
  readonly sortKey: string;
  readonly jobId: JobId;
}

/** The marks of jobs that may be what was asked for, in the order of the list. */
async function openMarks(ports: Ports, vault: string, asked: JobsAsked): Promise<Mark[]> {
  const marks: Mark[] = [];
  const { from = -Infinity, until = Infinity, operation: wanted, after } = asked;
  const columns = ['startedAt', 'operation'] as const;
  for await (const { key, row } of ports.catalog.openJobs.listColumns(vault, columns)) {
    const { startedAt, operation } = row;
    // Marks of an older version do not tell the operation: their jobs' rows do.
    const isOther =
      operation !== undefined &&
      (isHousekeeping({ operation }) !== (asked.kind === 'own') || (wanted !== undefined && wanted !== operation));
    const sortKey = newestFirst(startedAt, key);
    if (isOther || startedAt < from || startedAt > until || (after !== undefined && sortKey <= after)) continue;
    marks.push({ sortKey, jobId: key as JobId });
  }
  return marks.sort((a, b) => (a.sortKey < b.sortKey ? -1 : 1));
}

/** The jobs of marks, by their rows: they may have ended since, or never have begun. */
async function* openOnes(
  ports: Ports,
  vault: string,
  marks: readonly Mark[],
  asked: JobsAsked,
): AsyncGenerator<ListedJob> {
  const read = inOrder(marks, JOBS_IN_FLIGHT, ({ jobId }) => ports.catalog.jobs.get(vault, jobId));
  for await (const { item, result } of read)
    if (result !== undefined && isAsked(result.row, asked)) yield { sortKey: item.sortKey, row: shownOf(result.row) };
}

async function* endedOnes(ports: Ports, vault: string, asked: JobsAsked, most: number): AsyncGenerator<ListedJob> {
  const { kind, status, operation, after } = asked;
  if (status !== undefined && !ENDED.has(status)) return;
  const { from = '', to } = keysOfTimes(asked.from, asked.until);
  const partition = partitionOf(vault, kind, operation, status);
  // As many as a page has, then more of them if the caller goes on.
  for (let at = after !== undefined && after > from ? after : from, isFirst = true; ; isFirst = false) {
    let read = 0;
    const seen = isFirst ? after : at;
    const range = { ...(at === '' ? {} : { from: at }), to, top: most + 1 };
    for await (const { key, row } of ports.catalog.jobIndex.list(partition, range)) {
      read++;
      at = key;
      if (seen === undefined || key > seen) yield { sortKey: key, row };
    }
    if (read <= most) return;
  }
}

function partitionOf(vault: string, kind: JobsAsked['kind'], operation?: string, status?: string): string {
  if (kind === 'own') return main(vault, kind);
  if (operation !== undefined && status !== undefined) return ofBoth(vault, operation, status);
  if (operation !== undefined) return ofOperation(vault, operation);
  return status === undefined ? main(vault, kind) : ofStatus(vault, status);
}

/** Two lists in the same order as one; what stands in both comes once. */
async function* merged(one: AsyncIterable<ListedJob>, other: AsyncIterable<ListedJob>): AsyncGenerator<ListedJob> {
  const lists = [one[Symbol.asyncIterator](), other[Symbol.asyncIterator]()] as const;
  try {
    let [a, b] = await Promise.all([lists[0].next(), lists[1].next()]);
    while (a.done !== true || b.done !== true) {
      const [first, second] = [a.done === true ? undefined : a.value, b.done === true ? undefined : b.value];
      const next = second === undefined || (first !== undefined && first.sortKey <= second.sortKey) ? first! : second;
      yield next;
      if (first?.sortKey === next.sortKey) a = await lists[0].next();
      if (second?.sortKey === next.sortKey) b = await lists[1].next();
    }
  } finally {
    for (const list of lists) await list.return?.(undefined);
  }
}

/**
 * Compares the index with the jobs of a vault as `jobs` reads them, and mends what differs: ended jobs that it lacks, entries whose job is gone,
 * running jobs whose mark is lost. Then the vault is marked as indexed.
 */
export class IndexCheck {
  readonly #ports: Ports;
  readonly #vault: string;
  readonly #entries: ReadonlyMap<string, JobId>;
  readonly #met = new Set<string>();

  private constructor(ports: Ports, vault: string, entries: ReadonlyMap<string, JobId>) {
    this.#ports = ports;
    this.#vault = vault;
    this.#entries = entries;
  }

  /** Reads which jobs the index has: before any job is read, so that one which ends meanwhile is at most indexed again. */
  static async begin(ports: Ports, vault: string): Promise<IndexCheck> {
    const entries = new Map<string, JobId>();
    for (const kind of ['service', 'own'] as const)
      for await (const { key, row } of ports.catalog.jobIndex.listColumns(main(vault, kind), ['jobId']))
        entries.set(key, row.jobId);
    return new IndexCheck(ports, vault, entries);
  }

  /** Must hear of every job of the vault. */
  async see(job: JobRow): Promise<void> {
    const key = keyOf(job);
    this.#met.add(key);
    if (ENDED.has(job.status)) {
      if (!this.#entries.has(key)) await indexJob(this.#ports, this.#vault, job);
      return;
    }
    const { openJobs } = this.#ports.catalog;
    if ((await openJobs.get(this.#vault, job.jobId)) !== undefined) return;
    // It may have ended since it was read, and then needs no mark; the watch takes one away that comes too late all the same.
    const now = (await this.#ports.catalog.jobs.get(this.#vault, job.jobId))?.row;
    if (now === undefined || ENDED.has(now.status)) return;
    const { startedAt, itemId, operation } = now;
    await openJobs.upsert(this.#vault, job.jobId, { startedAt, itemId, operation });
  }

  /** When all jobs have been seen. */
  async end(): Promise<void> {
    const gone = [...this.#entries].filter(([key]) => !this.#met.has(key));
    await forEachAtOnce(gone, JOBS_IN_FLIGHT, async ([key, jobId]) => {
      if ((await this.#ports.catalog.jobs.get(this.#vault, jobId)) !== undefined) return;
      for (const kind of ['service', 'own'] as const) {
        const found = await this.#ports.catalog.jobIndex.get(main(this.#vault, kind), key);
        if (found !== undefined) await unindexJob(this.#ports, this.#vault, found.row);
      }
    });
    await markIndexed(this.#ports, this.#vault);
  }
}

async function markIndexed(ports: Ports, vault: string): Promise<void> {
  const at = vaultRowKey(vault);
  for (;;) {
    const found = await ports.catalog.vaults.get(at.partition, at.key);
    if (found === undefined || found.row.jobsIndexed === true) return;
    try {
      await ports.catalog.vaults.replace(at.partition, at.key, { ...found.row, jobsIndexed: true }, found.etag);
      return;
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw error;
    }
  }
}
