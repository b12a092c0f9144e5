import type { ReportRow } from '../catalog/report-row.ts';
import { isBackupError } from '../domain/errors.ts';
import type { JobAddress } from './jobs.ts';
import type { Ports } from './ports.ts';

const partitionOf = ({ vault, jobId }: JobAddress): string => `${vault}|${jobId}`;

/** Adds an entry to a job's report. Of two under one key the first stands. */
export async function report(ports: Ports, job: JobAddress, key: string, entry: ReportRow): Promise<void> {
  try {
    await ports.catalog.reports.insert(partitionOf(job), key, entry);
  } catch (error) {
    if (!isBackupError(error, 'RowAlreadyExists')) throw error;
  }
}

export async function isReported(ports: Ports, job: JobAddress, key: string): Promise<boolean> {
  return (await ports.catalog.reports.get(partitionOf(job), key)) !== undefined;
}

/** A job's report, by key. */
export async function readReport(ports: Ports, job: JobAddress): Promise<Map<string, ReportRow>> {
  const entries = new Map<string, ReportRow>();
  for await (const { key, row } of ports.catalog.reports.list(partitionOf(job))) entries.set(key, row);
  return entries;
}

export async function removeReport(ports: Ports, job: JobAddress): Promise<void> {
  for await (const { partition, key } of ports.catalog.reports.list(partitionOf(job)))
    await ports.catalog.reports.remove(partition, key);
}
