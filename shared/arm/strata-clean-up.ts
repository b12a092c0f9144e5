import type { CleanUpReportRow, CleanUpRow } from '../catalog/clean-up-row.ts';
import { type ReportEntry, readReports, readRun, readRuns } from '../services/clean-up-report.ts';
import { startCleanUp } from '../services/clean-up-run.ts';
import { resourceNotFound } from './errors.ts';
import { type ArmAnswer, ok } from './http.ts';
import { VAULT_TYPE, vaultId } from './ids.ts';
import { page, type PageQuery } from './paging.ts';
import { newestFirst } from '../catalog/newest-first.ts';
import type { Call } from './route.ts';
import { type FoundVault, listLink, theVault, type VaultCall } from './vaults.ts';
import { iso } from './times.ts';

type RunCall = Call<'subscription' | 'group' | 'vault' | 'run'>;

const RETRY_AFTER_SECONDS = '1';
const RUN_TYPE = `${VAULT_TYPE}/strata/cleanUps`;

const runPath = (vault: FoundVault, runId: string): string => `${vaultId(vault.address)}/strata/cleanUps/${runId}`;

/** Runs a cleanup now; one that is going on looks at everything once more. */
export async function cleanUpNow(call: VaultCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const run = await startCleanUp(call.ports, vault.key);
  return {
    status: 202,
    headers: {
      'Azure-AsyncOperation': call.link(`${runPath(vault, run.runId)}/operationStatus`),
      Location: call.link(runPath(vault, run.runId)),
      'Retry-After': RETRY_AFTER_SECONDS,
    },
    body: runView(vault, run, await readReports(call.ports, vault.key, run.runId)),
  };
}

/** The vault's runs of the last month with what each has done and left of every item, newest first. */
export async function listCleanUps(call: VaultCall<PageQuery>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const runs = (await readRuns(call.ports, vault.key)).map((run) => ({
    sortKey: newestFirst(run.startedAt, run.runId),
    entry: run,
  }));
  const { value, nextLink } = page(runs, call.query, (token) => listLink(call, vault, 'strata/cleanUps', token));
  const views = [];
  for (const run of value) views.push(runView(vault, run, await readReports(call.ports, vault.key, run.runId)));
  return ok({ value: views, nextLink });
}

export async function getCleanUp(call: RunCall): Promise<ArmAnswer> {
  const { vault, run } = await theRun(call);
  return ok(runView(vault, run, await readReports(call.ports, vault.key, run.runId)));
}

/** ARM's view of a run as an operation: it has succeeded when it has ended, whatever the items' reports say. */
export async function getCleanUpOperation(call: RunCall): Promise<ArmAnswer> {
  const { run } = await theRun(call);
  const { runId, startedAt, endedAt } = run;
  const times = { startTime: iso(startedAt), ...(endedAt === undefined ? {} : { endTime: iso(endedAt) }) };
  const answer = ok({ id: runId, name: runId, status: endedAt === undefined ? 'InProgress' : 'Succeeded', ...times });
  return endedAt === undefined ? { ...answer, headers: { 'Retry-After': RETRY_AFTER_SECONDS } } : answer;
}

/** The run that the path names, or the one that goes on in its place. */
async function theRun(call: RunCall): Promise<{ vault: FoundVault; run: CleanUpRow }> {
  const vault = await theVault(call);
  const run = await readRun(call.ports, vault.key, call.params.run.toLowerCase());
  if (run !== undefined) return { vault, run };
  throw resourceNotFound(RUN_TYPE, `${vault.row.name}/${call.params.run}`, vault.row.resourceGroup);
}

function runView(vault: FoundVault, run: CleanUpRow, reports: readonly ReportEntry[]): Record<string, unknown> {
  return {
    id: runPath(vault, run.runId),
    name: run.runId,
    type: RUN_TYPE,
    properties: {
      status: run.endedAt === undefined ? 'InProgress' : 'Ended',
      startTime: iso(run.startedAt),
      /** Nothing is begun after. */
      timeLimit: iso(run.endsAt),
      ...(run.endedAt === undefined ? {} : { endTime: iso(run.endedAt) }),
      budgetBytes: run.bytes,
      items: reports.map(({ row }) => itemView(row)),
    },
  };
}

function itemView(row: CleanUpReportRow): Record<string, unknown> {
  const { vmName, resourceGroup, status, grantedBytes, merged, foldedBytes, compactions, compactedBytes } = row;
  const { endedSnapshots, removedPoints, failures, left, servedAt, updatedAt } = row;
  const done = { merged, foldedBytes, compactions, compactedBytes, endedSnapshots, removedPoints };
  return {
    virtualMachine: vmName,
    resourceGroup,
    status,
    grantedBytes,
    done,
    left,
    failures: failures.map(({ point, code, message }) => ({ recoveryPoint: point || null, code, message })),
    ...(servedAt === undefined ? {} : { lastServedTime: iso(servedAt) }),
    lastUpdatedTime: iso(updatedAt),
  };
}
