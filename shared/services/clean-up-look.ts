import type { CleanUpReportRow, CleanUpRow } from '../catalog/clean-up-row.ts';
import { furtherShares, inTurn } from '../domain/clean-up.ts';
import { isBackupError } from '../domain/errors.ts';
import {
  type ReportEntry,
  readAllRuns,
  readReports,
  readRuns,
  removeRun,
  reportsOf,
  spentBytes,
  unlessChanged,
} from './clean-up-report.ts';
import { isRunning } from './jobs.ts';
import { vaultKey } from './keys.ts';
import type { Ports } from './ports.ts';

/** Longer than a dead host's message stays invisible. */
const QUIET_MS = 11 * 60_000;
/** How long reports of runs are kept. */
const KEPT_MS = 30 * 86_400_000;

/**
 * What a run needs, whoever looks: messages for open items that have had none; when all have stopped, further shares for those that
 * can use them; else its end. Safe to do twice or beside itself.
 */
export async function lookAtRun(ports: Ports, vault: string, run: CleanUpRow): Promise<void> {
  let reports = await readReports(ports, vault, run.runId);
  if (!reports.some(({ row }) => row.status === 'open') && ports.clock.now() < run.endsAt) {
    await shareFurther(ports, vault, run, reports);
    reports = await readReports(ports, vault, run.runId);
  }
  const open = reports.filter(({ row }) => row.status === 'open');
  if (open.length === 0) return endRun(ports, vault, run);
  const unasked = open.filter(({ row }) => row.askedAt === undefined);
  for (const report of inTurn(unasked.map((each) => ({ ...each, servedAt: each.row.servedAt }))))
    await ask(ports, vault, run, report);
}

async function ask(ports: Ports, vault: string, run: CleanUpRow, { key, row, etag }: ReportEntry): Promise<void> {
  await ports.queue.send({ step: 'clean-item', v: 1, vault, itemId: key, run: run.runId });
  const asked: CleanUpReportRow = { ...row, askedAt: ports.clock.now() };
  await unlessChanged(() => ports.catalog.cleanUpReports.replace(reportsOf(vault, run.runId), key, asked, etag));
}

/** Opens the reports of those that get something of what the others have left. */
async function shareFurther(
  ports: Ports,
  vault: string,
  run: CleanUpRow,
  reports: readonly ReportEntry[],
): Promise<void> {
  const shares = furtherShares(
    run.bytes,
    reports.map(({ key, row }) => ({
      key,
      servedAt: row.servedAt,
      stopped: row.status === 'budget' ? 'budget' : 'otherwise',
      grantedBytes: row.grantedBytes,
      spentBytes: spentBytes(row),
    })),
  );
  for (const { key, row, etag } of reports) {
    const share = shares.get(key);
    if (share === undefined) continue;
    const grantedBytes = spentBytes(row) + share;
    const again: CleanUpReportRow = { ...row, status: 'open', grantedBytes, askedAt: undefined };
    await unlessChanged(() => ports.catalog.cleanUpReports.replace(reportsOf(vault, run.runId), key, again, etag));
  }
}

/** The watch's: sees to runs whose messages were lost, or that broke off. One vault's trouble does not keep the others waiting. */
export async function watchCleanUps(ports: Ports): Promise<void> {
  for await (const { row } of ports.catalog.vaults.listAll()) {
    const vault = vaultKey({ ...row, vault: row.name });
    try {
      await watchRuns(ports, vault);
    } catch (error) {
      if (!isBackupError(error)) throw error;
      ports.log(`the cleanup of ${vault} could not be looked after: ${error.code}: ${error.message}`);
    }
  }
}

async function watchRuns(ports: Ports, vault: string): Promise<void> {
  for (const run of await readRuns(ports, vault)) {
    if (run.endedAt !== undefined || run.items === undefined) continue;
    for (const report of await readReports(ports, vault, run.runId)) await wake(ports, vault, run, report);
    await lookAtRun(ports, vault, run);
  }
}

/** An open item that nothing is under way for gets another message; when the time is over and it never answers, it has stopped. */
async function wake(ports: Ports, vault: string, run: CleanUpRow, report: ReportEntry): Promise<void> {
  const { key, row, etag } = report;
  const now = ports.clock.now();
  if (row.status !== 'open' || now - Math.max(row.askedAt ?? 0, row.updatedAt) < QUIET_MS) return;
  if (await isRunning(ports, vault, row.trying?.job)) return;
  if (now < run.endsAt + QUIET_MS || (row.askedAt ?? 0) <= row.updatedAt) return ask(ports, vault, run, report);
  const stopped: CleanUpReportRow = { ...row, status: 'time', updatedAt: now };
  await unlessChanged(() => ports.catalog.cleanUpReports.replace(reportsOf(vault, run.runId), key, stopped, etag));
}

/** Ends a run and says in one line what came of it; then takes the reports of old runs away. */
export async function endRun(ports: Ports, vault: string, run: CleanUpRow): Promise<void> {
  const now = ports.clock.now();
  const partition = reportsOf(vault, run.runId);
  // A handler may be at work on one: until its report is closed it counts there what happens.
  for (;;) {
    const open = (await readReports(ports, vault, run.runId)).filter(({ row }) => row.status === 'open');
    if (open.length === 0) break;
    for (const { key, row, etag } of open) {
      const stopped: CleanUpReportRow = { ...row, status: 'time', updatedAt: now };
      await unlessChanged(() => ports.catalog.cleanUpReports.replace(partition, key, stopped, etag));
    }
  }
  const found = await ports.catalog.cleanUps.get(vault, run.runId);
  if (found === undefined || found.row.endedAt !== undefined) return;
  try {
    await ports.catalog.cleanUps.replace(vault, run.runId, { ...found.row, endedAt: now }, found.etag);
  } catch (error) {
    if (isBackupError(error, 'EtagMismatch', 'RowNotFound')) return; // a twin has ended it
    throw error;
  }
  const reports = await readReports(ports, vault, run.runId);
  ports.log(
    summaryOf(
      vault,
      run,
      reports.map(({ row }) => row),
    ),
    'info',
  );
  await removeOld(ports, vault, run);
}

async function removeOld(ports: Ports, vault: string, run: CleanUpRow): Promise<void> {
  for (const { runId, startedAt } of await readAllRuns(ports, vault)) {
    if (ports.clock.now() - startedAt <= KEPT_MS || runId >= run.runId) continue;
    await removeRun(ports, vault, runId);
  }
}

function summaryOf(vault: string, run: CleanUpRow, reports: readonly CleanUpReportRow[]): string {
  const sum = (of: (row: CleanUpReportRow) => number): number => reports.reduce((total, row) => total + of(row), 0);
  const stopped = (['budget', 'time', 'held', 'failed'] as const)
    .map((status) => ({ status, items: reports.filter((row) => row.status === status).length }))
    .filter(({ items }) => items > 0)
    .map(({ status, items }) => `${items} stopped: ${status}`);
  return [
    `cleanup ${run.runId} of ${vault} has ended: ${reports.length} items`,
    `${sum((row) => row.merged)} points merged (${sum((row) => row.foldedBytes)} bytes written)`,
    `${sum((row) => row.compactions)} compactions (${sum((row) => row.compactedBytes)} bytes written)`,
    `${sum((row) => row.endedSnapshots)} snapshots ended`,
    `${sum((row) => row.removedPoints)} points removed`,
    `left: ${sum((row) => row.left.expiredPoints)} expired points, ${sum((row) => row.left.wastedBytes)} wasted bytes`,
    ...stopped,
  ].join(', ');
}
