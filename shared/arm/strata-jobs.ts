import type { JobIndexRow, JobRow } from '../catalog/catalog.ts';
import type { ReportRow } from '../catalog/report-row.ts';
import type { JobId } from '../domain/ids.ts';
import { jobsNewestFirst } from '../services/job-index.ts';
import { ENDED, isHousekeeping, readJob } from '../services/jobs.ts';
import type { VaultAddress } from '../services/keys.ts';
import { readReport } from '../services/reports.ts';
import { resourceNotFound } from './errors.ts';
import { type ArmAnswer, ok } from './http.ts';
import { VAULT_TYPE, vaultId } from './ids.ts';
import { statusOf } from './job-view.ts';
import { pageOf, type PageQuery, type Sorted } from './paging.ts';
import type { Call } from './route.ts';
import { type FoundVault, listLink, theVault, type VaultCall } from './vaults.ts';
import { iso } from './times.ts';

/*
 * Strata's own jobs: what it does beside the service's backups and restores. Their operations have the job's id and really last
 * as long as the job does, so that a client which follows one knows how the work went when it ends.
 */

const RETRY_AFTER_SECONDS = '1';

type OwnJobCall = Call<'subscription' | 'group' | 'vault' | 'job'>;
type OwnOperationCall = Call<'subscription' | 'group' | 'vault' | 'operation'>;

export const jobPath = (vault: VaultAddress, job: JobId): string => `${vaultId(vault)}/strata/jobs/${job}`;

/** 202 for a job that has been started: `Azure-AsyncOperation` tells how it goes, `Location` is the job with its report. */
export function acceptedJob(call: VaultCall, vault: VaultAddress, job: JobId): ArmAnswer {
  return {
    status: 202,
    headers: {
      'Azure-AsyncOperation': call.link(`${vaultId(vault)}/strata/operationsStatus/${job}`),
      Location: call.link(jobPath(vault, job)),
      'Retry-After': RETRY_AFTER_SECONDS,
    },
  };
}

/** All of them, newest first, without their reports. */
export async function listOwnJobs(call: VaultCall<PageQuery>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const { key, row: own } = vault;
  const list = async function* (after: string | undefined, most: number): AsyncGenerator<Sorted<unknown>> {
    const jobs = jobsNewestFirst(call.ports, key, own.jobsIndexed ?? false, { kind: 'own', after }, most);
    for await (const { sortKey, row } of jobs) yield { sortKey, entry: ownJobView(vault.address, row) };
  };
  return ok(await pageOf(list, call.query, (token) => listLink(call, vault, 'strata/jobs', token)));
}

export async function getOwnJob(call: OwnJobCall): Promise<ArmAnswer> {
  const { vault, row } = await theOwnJob(call, call.params.job);
  const report = await readReport(call.ports, { vault: vault.key, jobId: row.jobId });
  return ok(ownJobView(vault.address, row, [...report.values()]));
}

/** ARM's view of the job as an operation: Succeeded when it has completed, with or without warnings. */
export async function getOwnOperation(call: OwnOperationCall): Promise<ArmAnswer> {
  const { row } = await theOwnJob(call, call.params.operation);
  const isDone = row.status === 'Completed' || row.status === 'CompletedWithWarnings';
  const ended = row.status === 'Cancelled' ? 'Canceled' : isDone ? 'Succeeded' : 'Failed';
  const error = row.errors[0] ?? { code: 'InternalError', message: `the job is ${row.status}` };
  const answer = ok({
    id: row.jobId,
    name: row.jobId,
    status: ENDED.has(row.status) ? ended : 'InProgress',
    startTime: iso(row.startedAt),
    ...(row.endedAt === undefined ? {} : { endTime: iso(row.endedAt) }),
    properties: { jobId: row.jobId, progress: row.bag },
    ...(ENDED.has(row.status) && !isDone ? { error: { code: error.code, message: error.message } } : {}),
  });
  return ENDED.has(row.status) ? answer : { ...answer, headers: { 'Retry-After': RETRY_AFTER_SECONDS } };
}

async function theOwnJob(
  call: Call<'subscription' | 'group' | 'vault'>,
  id: string,
): Promise<{ vault: FoundVault; row: JobRow }> {
  const vault = await theVault(call);
  const row = await readJob(call.ports, { vault: vault.key, jobId: id.toLowerCase() as JobId });
  if (row !== undefined && isHousekeeping(row)) return { vault, row };
  throw resourceNotFound(`${VAULT_TYPE}/strata/jobs`, `${vault.row.name}/${id}`, vault.row.resourceGroup);
}

function ownJobView(vault: VaultAddress, row: JobIndexRow, report?: readonly ReportRow[]): Record<string, unknown> {
  return {
    id: jobPath(vault, row.jobId),
    name: row.jobId,
    type: `${VAULT_TYPE}/strata/jobs`,
    properties: {
      operation: row.operation,
      status: statusOf(row),
      startTime: iso(row.startedAt),
      ...(row.endedAt === undefined ? {} : { endTime: iso(row.endedAt) }),
      ...(row.vmName === '' ? {} : { virtualMachine: row.vmName }),
      ...(row.point === undefined ? {} : { recoveryPoint: row.point }),
      progress: row.bag,
      errors: row.errors,
      ...(report === undefined ? {} : { report }),
    },
  };
}
