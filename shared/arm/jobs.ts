import type { JobRow } from '../catalog/catalog.ts';
import { newestFirst } from '../catalog/newest-first.ts';
import type { JobId } from '../domain/ids.ts';
import { type ListedJob, isAsked, jobsNewestFirst } from '../services/job-index.ts';
import { isHousekeeping, readJob } from '../services/jobs.ts';
import { cancelJob } from '../services/watch.ts';
import { resourceNotFound } from './errors.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import { VAULT_TYPE } from './ids.ts';
import { jobView, listedJobView } from './job-view.ts';
import { VM_MANAGEMENT } from './kinds.ts';
import { accepted, statusAnswer, theOperation } from './operations.ts';
import { pageOf, type Sorted } from './paging.ts';
import type { Call } from './route.ts';
import type { JobsFilter, JobsQuery } from './schemas/job.ts';
import { type FoundVault, theVault, type VaultCall, listLink } from './vaults.ts';

type JobCall = Call<'subscription' | 'group' | 'vault' | 'job'>;

/** The jobs that a filter asks for, newest first; about `most` are read at a time. Strata's own work is never shown. */
export async function* jobsOf(
  { ports }: Pick<VaultCall, 'ports'>,
  { key, row: { jobsIndexed = false } }: FoundVault,
  filter: JobsFilter,
  most: number,
  after?: string,
): AsyncGenerator<ListedJob> {
  const { status, operation, backupManagementType: management = VM_MANAGEMENT, jobId } = filter;
  if (management !== VM_MANAGEMENT) return;
  const asked = { kind: 'service', status, operation, from: filter.startTime, until: filter.endTime, after } as const;
  if (jobId === undefined) {
    yield* jobsNewestFirst(ports, key, jobsIndexed, asked, most);
    return;
  }
  const row = await readJob(ports, { vault: key, jobId: jobId.toLowerCase() as JobId });
  if (row !== undefined && isAsked(row, asked)) yield { sortKey: newestFirst(row.startedAt, row.jobId), row };
}

export async function listJobs(call: VaultCall<JobsQuery>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const now = call.ports.clock.now();
  const list = async function* (after: string | undefined, most: number): AsyncGenerator<Sorted<unknown>> {
    for await (const { sortKey, row } of jobsOf(call, vault, call.query.$filter, most, after))
      yield { sortKey, entry: listedJobView(vault.address, row, now) };
  };
  return ok(await pageOf(list, call.query, (token) => listLink(call, vault, 'backupJobs', token)));
}

async function theJob(call: JobCall): Promise<{ vault: FoundVault; row: JobRow }> {
  const vault = await theVault(call);
  const row = await readJob(call.ports, { vault: vault.key, jobId: call.params.job.toLowerCase() as JobId });
  if (row !== undefined && !isHousekeeping(row)) return { vault, row };
  throw resourceNotFound(`${VAULT_TYPE}/backupJobs`, `${vault.row.name}/${call.params.job}`, vault.row.resourceGroup);
}

export async function getJob(call: JobCall): Promise<ArmAnswer> {
  const { vault, row } = await theJob(call);
  return ok(jobView(vault.address, row, call.ports.clock.now()));
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
