import type { CleanUpReportRow, CleanUpRow } from '../catalog/clean-up-row.ts';
import type { Versioned } from '../catalog/catalog-table.ts';
import { isBackupError } from '../domain/errors.ts';
import type { ChainRecord } from '../format/documents.ts';
import type { Chain } from './chain.ts';
import { ENDED, readJob } from './jobs.ts';
import type { Ports } from './ports.ts';

/** The partition of a run's reports. */
export const reportsOf = (vault: string, runId: string): string => `${vault}|${runId}`;

/** A vault's runs, the oldest first. */
export async function readRuns(ports: Ports, vault: string): Promise<CleanUpRow[]> {
  return (await readAllRuns(ports, vault)).filter(({ instead }) => instead === undefined);
}

/** The same with runs in whose place another goes on. */
export async function readAllRuns(ports: Ports, vault: string): Promise<CleanUpRow[]> {
  const runs: CleanUpRow[] = [];
  for await (const { row } of ports.catalog.cleanUps.list(vault)) runs.push(row);
  return runs;
}

/** The run of this id, or the one that goes on in its place. */
export async function readRun(ports: Ports, vault: string, runId: string): Promise<CleanUpRow | undefined> {
  for (let id = runId; ;) {
    const run = (await ports.catalog.cleanUps.get(vault, id))?.row;
    if (run?.instead === undefined) return run;
    id = run.instead;
  }
}

/** Takes away all that is known of a run: its reports first, so that none is left without it. */
export async function removeRun(ports: Ports, vault: string, runId: string): Promise<void> {
  await removeReports(ports, vault, runId);
  await ports.catalog.cleanUps.remove(vault, runId);
}

export async function removeReports(ports: Ports, vault: string, runId: string): Promise<void> {
  for (const { key } of await readReports(ports, vault, runId))
    await ports.catalog.cleanUpReports.remove(reportsOf(vault, runId), key);
}

/** A report as a run's listing gives it; `key` is the item's. */
export interface ReportEntry extends Versioned<CleanUpReportRow> {
  readonly key: string;
}

/** What a run has done and left, by item key. */
export async function readReports(ports: Ports, vault: string, runId: string): Promise<ReportEntry[]> {
  const reports: ReportEntry[] = [];
  for await (const { key, row, etag } of ports.catalog.cleanUpReports.list(reportsOf(vault, runId)))
    reports.push({ key, row, etag });
  return reports;
}

export const spentBytes = ({ foldedBytes, compactedBytes }: CleanUpReportRow): number => foldedBytes + compactedBytes;

/** Writes unless somebody else was first: then theirs stands, and the next look sees it. */
export async function unlessChanged(write: () => Promise<unknown>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (!isBackupError(error, 'EtagMismatch', 'RowNotFound', 'RowAlreadyExists')) throw error;
  }
}

/** Somebody else has changed the report: what was read of it holds no more. */
export class ReportChanged extends Error {}

/** An item's report while one handler works on it: every change is made under the ETag of the last, so that twins do not count twice. */
export class OpenReport {
  readonly #ports: Ports;
  readonly #partition: string;
  readonly #key: string;
  #row: CleanUpReportRow;
  #etag: string;

  constructor(ports: Ports, partition: string, key: string, found: Versioned<CleanUpReportRow>) {
    this.#ports = ports;
    this.#partition = partition;
    this.#key = key;
    this.#row = found.row;
    this.#etag = found.etag;
  }

  get row(): CleanUpReportRow {
    return this.#row;
  }

  /** @throws ReportChanged */
  async change(change: Partial<CleanUpReportRow>): Promise<void> {
    const next = { ...this.#row, ...change, updatedAt: this.#ports.clock.now() };
    try {
      this.#etag = await this.#ports.catalog.cleanUpReports.replace(this.#partition, this.#key, next, this.#etag);
    } catch (error) {
      if (isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw new ReportChanged();
      throw error;
    }
    this.#row = next;
  }
}

/**
 * What the chain says has been done since record `row.seq`. The chain is where merges and compactions happen, so each is counted once,
 * whatever became of the handlers: a record is counted when its job has ended, since only then are the job's bytes final.
 */
export async function countRecords(
  ports: Ports,
  vault: string,
  chain: Chain,
  newest: ChainRecord,
  row: CleanUpReportRow,
): Promise<Pick<CleanUpReportRow, 'seq' | 'merged' | 'foldedBytes' | 'compactions' | 'compactedBytes'>> {
  let { merged, foldedBytes, compactions, compactedBytes, seq } = row;
  seq ??= newest.seq;
  while (seq < newest.seq) {
    const record = seq + 1 === newest.seq ? newest : await chain.record(seq + 1);
    // An `end` closes a job that was in vain: what it wrote was written all the same.
    if (record.job !== null && ['merge', 'compact', 'end'].includes(record.kind)) {
      const job = await readJob(ports, { vault, jobId: record.job });
      if (job !== undefined && !ENDED.has(job.status)) break;
      const wrote = job?.doneBytes ?? 0;
      if (record.kind === 'merge') merged++;
      if (record.kind === 'compact') compactions++;
      if (record.kind === 'merge' || job?.operation === 'Merge') foldedBytes += wrote;
      else if (record.kind === 'compact' || job?.operation === 'Compact') compactedBytes += wrote;
    }
    seq++;
  }
  return { seq, merged, foldedBytes, compactions, compactedBytes };
}
