import type { JobRow } from '../catalog/catalog.ts';
import type { JobId } from '../domain/ids.ts';
import { isHousekeeping, readJob } from '../services/jobs.ts';
import { cancelJob } from '../services/watch.ts';
import { resourceNotFound } from './errors.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import { VAULT_TYPE } from './ids.ts';
import { jobView, statusOf } from './job-view.ts';
import { VM_MANAGEMENT } from './kinds.ts';
import { accepted, statusAnswer, theOperation } from './operations.ts';
import { newestFirst, page, type Sorted } from './paging.ts';
import type { Call } from './route.ts';
import type { JobsFilter, JobsQuery } from './schemas/job.ts';
import { type FoundVault, theVault, type VaultCall, listLink } from './vaults.ts';

type JobCall = Call<'subscription' | 'group' | 'vault' | 'job'>;

/** The test that a jobs filter puts to a row. Strata's own work is never shown. */
export function jobFilter(filter: JobsFilter): (row: JobRow) => boolean {
  const { status, operation, backupManagementType: management = VM_MANAGEMENT } = filter;
  const { startTime: from = -Infinity, endTime: until = Infinity } = filter;
  const id = filter.jobId?.toLowerCase();
  return (row) =>
    !isHousekeeping(row) &&
    management === VM_MANAGEMENT &&
    (status === undefined || statusOf(row) === status) &&
    (operation === undefined || row.operation === operation) &&
    (id === undefined || row.jobId === id) &&
    row.startedAt >= from &&
    row.startedAt <= until;
}

export async function listJobs(call: VaultCall<JobsQuery>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const isWanted = jobFilter(call.query.$filter);
  const now = call.ports.clock.now();
  const jobs: Sorted<Record<string, unknown>>[] = [];
  for await (const { row } of call.ports.catalog.jobs.list(vault.key)) {
    if (!isWanted(row)) continue;
    jobs.push({ sortKey: newestFirst(row.startedAt, row.jobId), entry: jobView(vault.address, row, now, 'listed') });
  }
  return ok(page(jobs, call.query, (token) => listLink(call, vault, 'backupJobs', token)));
}

async function theJob(call: JobCall): Promise<{ vault: FoundVault; row: JobRow }> {
  const vault = await theVault(call);
  const row = await readJob(call.ports, { vault: vault.key, jobId: call.params.job.toLowerCase() as JobId });
  if (row !== undefined && !isHousekeeping(row)) return { vault, row };
  throw resourceNotFound(`${VAULT_TYPE}/backupJobs`, `${vault.row.name}/${call.params.job}`, vault.row.resourceGroup);
}

export async function getJob(call: JobCall): Promise<ArmAnswer> {
  const { vault, row } = await theJob(call);
  return ok(jobView(vault.address, row, call.ports.clock.now(), 'single'));
}

export async function cancel(call: JobCall): Promise<ArmAnswer> {
  const { vault, row } = await theJob(call);
  await cancelJob(call.ports, { vault: vault.key, jobId: row.jobId });
  return accepted(call, vault, `backupJobs/${row.jobId}`, row.jobId);
}

type JobOperationCall = Call<'subscription' | 'group' | 'vault' | 'job' | 'operation'>;

export async function getJobOperation(call: JobOperationCall): Promise<ArmAnswer> {
  const { vault, row } = await theJob(call);
  return statusAnswer(call.params.operation, await theOperation(call, vault, `backupJobs/${row.jobId}`));
}

export async function getJobOperationResult(call: JobOperationCall): Promise<ArmAnswer> {
  const { vault, row } = await theJob(call);
  await theOperation(call, vault, `backupJobs/${row.jobId}`);
  return noContent;
}
