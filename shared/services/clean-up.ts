import type { ItemRow } from '../catalog/catalog.ts';
import type { CleanUpReportRow, CleanUpRow, CleanUpStatus } from '../catalog/clean-up-row.ts';
import { COMPACTION_RULES } from '../domain/compaction.ts';
import { ERROR_TABLE, isBackupError } from '../domain/errors.ts';
import type { PointId } from '../domain/ids.ts';
import { type RetentionVerdict, decideRetention } from '../domain/retention.ts';
import type { ChainRecord } from '../format/documents.ts';
import { Chain } from './chain.ts';
import { OpenReport, ReportChanged, countRecords, readRuns, reportsOf, spentBytes } from './clean-up-report.ts';
import { lookAtRun } from './clean-up-look.ts';
import { endInstantTier } from './clean-up-snapshots.ts';
import { startCompaction } from './compact.ts';
import { releaseEnded } from './end-job.ts';
import { isPinned, readJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { startMerge } from './merge.ts';
import { policyOf } from './policies.ts';
import type { Ports } from './ports.ts';
import { project, readPoints } from './projection.ts';
import { eachSpan } from './spans.ts';
import { openVault } from './vault-of.ts';

/*
 * Cleaning up one item, one bounded step at a time: snapshots past their instant retention go, except the anchor of the next diff;
 * an expired point that never reached the vault goes; then one expired vault point begins to merge, and when it has, the next; then
 * sparse packs are compacted. Nothing that is to be done is written down: each step sees from the chain and the policy in
 * force what is left, so a step that was lost or killed is made up for by the next one, in this run or in a later.
 *
 * The item's report says what the run has done. What has been done is counted where it happened, by the chain's records, so that
 * it is counted once. A report that is not open is finished, unless a look at the run opens it again.
 */

type Stopped = Exclude<CleanUpStatus, 'open'>;
type Failure = CleanUpReportRow['failures'][number];

/** A merge that fails is tried once more: its handler may have died at a bad moment. Then its point is left alone for the rest of the run. */
const TRIES_OF_A_POINT = 2;
/** Failures that a report has room for: where so much fails the rest is left for somebody to look at. */
const MOST_FAILURES = 20;
/** Jobs that may end without a result and without a failure, because something else came first. */
const MOST_IN_VAIN = 10;
/** Tries of a handler whose report is changed by others meanwhile. */
const TRIES = 5;

/** One step for one item, in run `run` or else the newest. When no run is going on nothing is done. */
export async function cleanItem(
  ports: Ports,
  step: { vault: string; itemId: string; run?: string | undefined },
): Promise<void> {
  const { vault, itemId: key } = step;
  const runs = await readRuns(ports, vault);
  const run = step.run === undefined ? runs.at(-1) : runs.find(({ runId }) => runId === step.run);
  // A run whose items are still being looked up serves none yet, and must not be taken for done.
  if (run?.items === undefined || run.endedAt !== undefined) return;
  await serveOnce(ports, vault, key, run);
  const after = await ports.catalog.cleanUpReports.get(reportsOf(vault, run.runId), key);
  if (after?.row.status !== 'open') await lookAtRun(ports, vault, run);
}

async function serveOnce(ports: Ports, vault: string, key: string, run: CleanUpRow): Promise<void> {
  for (let tries = 1; ; tries++) {
    const found = await ports.catalog.cleanUpReports.get(reportsOf(vault, run.runId), key);
    if (found?.row.status !== 'open') return;
    const report = new OpenReport(ports, reportsOf(vault, run.runId), key, found);
    try {
      return await serveOrFail(ports, vault, key, run, report);
    } catch (error) {
      if (!(error instanceof ReportChanged)) throw error;
      if (tries === TRIES) return; // twins, or the coordinator, do what there is to do
    }
  }
}

/** @throws ReportChanged also where it has failed: what it failed over may be what the other has changed */
async function serveOrFail(
  ports: Ports,
  vault: string,
  key: string,
  run: CleanUpRow,
  report: OpenReport,
): Promise<void> {
  try {
    await serve(ports, vault, key, run, report);
  } catch (error) {
    if (error instanceof ReportChanged) throw error;
    const failures = eachOnce([...report.row.failures, failureOf('', error)]);
    await report.change({ status: 'failed', failures, trying: undefined });
  }
}

interface Served {
  readonly ports: Ports;
  readonly vault: string;
  readonly key: string;
  readonly item: ItemRow;
  readonly run: CleanUpRow;
  readonly report: OpenReport;
  readonly chain: Chain;
  readonly record: ChainRecord;
}

async function serve(ports: Ports, vault: string, key: string, run: CleanUpRow, report: OpenReport): Promise<void> {
  await releaseEnded(ports, vault, key);
  const item = (await ports.catalog.items.get(vault, key))?.row;
  if (item === undefined) return report.change({ status: 'done', trying: undefined });
  const { container, row: vaultRow } = await openVault(ports, vault);
  const partition = pointsPartition(vaultRow.containerName, item.itemId);
  const chain = new Chain(container, item.itemId);
  const record = await chain.newest();
  await project(ports, partition, chain, record);
  const counted = await countRecords(ports, vault, chain, record, report.row);
  if (counted.seq !== report.row.seq) await report.change(counted);
  const served: Served = { ports, vault, key, item, run, report, chain, record };
  if (await isWaiting(served)) return;

  const policy = await policyOf(ports, vault, item);
  let verdicts: RetentionVerdict[] = [];
  let unended: Failure[] = [];
  // Stopped with data retained: nothing expires.
  if (policy !== undefined) {
    const anchor = record.points.at(-1)?.point;
    unended = await endInstantTier(
      ports,
      { vault, partition, item, policy, anchor, runStartedAt: run.startedAt },
      report,
    );
    const live = new Set(record.points.map(({ point }) => point));
    const rows = (await readPoints(ports, partition)).filter(({ point }) => live.has(point));
    verdicts = decideRetention(rows, policy, ports.clock.now());
  }
  const expired = verdicts.filter(({ verdict }) => verdict === 'expire').map(({ point }) => point);
  // A merge would wait for the snapshots of its point, and the item's other merges for it.
  const able = expired.filter((point) => !unended.some((failure) => failure.point === point));
  const merging = await mergeNext(served, able);
  if (merging === 'begun') return;
  const failures = [...lastingFailures(report.row.failures, able), ...unended].slice(0, MOST_FAILURES);
  const left = { expiredPoints: expired.length, wastedBytes: 0 };
  let compacting: 'begun' | Stopped | undefined;
  try {
    const { wastedBytes, isSparse } = await wastedIn(ports, chain, record);
    left.wastedBytes = wastedBytes;
    if (merging === undefined && policy !== undefined && isSparse) compacting = await compactNext(served, wastedBytes);
  } catch (error) {
    failures.push(failureOf('', error));
  }
  if (compacting === 'begun') return;
  const otherwise = failures.length > 0 ? 'failed' : expired.length > 0 ? 'held' : 'done';
  await report.change({ status: merging ?? compacting ?? otherwise, left, failures, trying: undefined });
}

/** What has failed and is still to be done, each point once: what a later try has mended is no failure. */
function lastingFailures(failures: readonly Failure[], expired: readonly PointId[]): Failure[] {
  return eachOnce(failures).filter(({ point }) => point === '' || expired.some((id) => id === point));
}

/** Of each point the last failure; no more than a report has room for. */
function eachOnce(failures: readonly Failure[]): Failure[] {
  return [...new Map(failures.map((failure) => [failure.point, failure])).values()].slice(-MOST_FAILURES);
}

/** What trying again cannot mend. @throws what it can */
function failureOf(point: string, error: unknown): Failure {
  if (!isBackupError(error) || ERROR_TABLE[error.code].retry) throw error;
  return { point, code: error.code, message: error.message.slice(0, 300) };
}

/** Whether what has been begun still runs. A merge that has failed is noted. */
async function isWaiting({ ports, vault, item, report }: Served): Promise<boolean> {
  const { trying } = report.row;
  if (item.mergeJob !== undefined) {
    if (trying?.job !== item.mergeJob) await report.change({ trying: { job: item.mergeJob, point: item.leaving } });
    return true;
  }
  if (trying === undefined) return false;
  const job = trying.job && (await readJob(ports, { vault, jobId: trying.job }));
  const { failures, inVain, isCompacted } = report.row;
  // A compaction that has come to nothing is not begun again in this run: it would come to nothing again.
  const isIdle = job?.operation === 'Compact' && (job.status !== 'Completed' || job.attempt === undefined);
  const compacted = { isCompacted: isCompacted || isIdle };
  if (job?.status === 'Failed') {
    const { code, message } = job.errors.at(-1) ?? { code: 'InternalError', message: 'the job did not say why' };
    const failure = { point: job.point ?? trying.point ?? '', code, message: message.slice(0, 300) };
    await report.change({ trying: undefined, failures: [...failures, failure], ...compacted });
  } else {
    const once = job?.status === 'Cancelled' ? 1 : 0;
    await report.change({ trying: undefined, inVain: inVain + once, ...compacted });
  }
  return false;
}

/** Begins the next merge; undefined when none of `expired` can be merged in this run. */
async function mergeNext(served: Served, expired: readonly PointId[]): Promise<'begun' | Stopped | undefined> {
  const { ports, vault, key, item, report } = served;
  const { failures } = report.row;
  const able = expired.filter((id) => failures.filter(({ point }) => point === id).length < TRIES_OF_A_POINT);
  if (able.length === 0 || failures.length >= MOST_FAILURES || report.row.inVain >= MOST_IN_VAIN) return undefined;
  const limit = limitReached(served);
  // Every item may do one merge in each run: who has little to fold is not kept waiting by who has much.
  if (limit === 'time' || (limit === 'budget' && report.row.merged > 0)) return limit;
  for (const point of able) {
    if (await isPinned(ports, vault, item, point)) continue;
    await report.change({ trying: { point }, servedAt: ports.clock.now() });
    // The item's row may have changed since a moment ago, by a backup that has just begun, say.
    for (let tries = 0; tries < TRIES; tries++)
      if (await startMerge(ports, vault, key, point)) return noteJob(served, point);
  }
  if (report.row.trying !== undefined) await report.change({ trying: undefined });
  return undefined;
}

/** Begins a compaction within what the merges have left of the item's bytes; undefined when none would pay. */
async function compactNext(served: Served, wastedBytes: number): Promise<'begun' | Stopped | undefined> {
  const { ports, vault, key, report } = served;
  const { grantedBytes, isCompacted, compactions, left: before } = report.row;
  if (isCompacted || (compactions > 0 && wastedBytes >= before.wastedBytes)) return undefined; // the last one has gained nothing
  const limit = limitReached(served);
  if (limit !== undefined) return limit;
  await report.change({ trying: {}, servedAt: ports.clock.now(), left: { ...before, wastedBytes } });
  const { started, left } = await startCompaction(ports, vault, key, grantedBytes - spentBytes(report.row));
  if (started) return noteJob(served, undefined);
  return left > 0 ? 'budget' : undefined;
}

/** Notes what now holds the item, so that the next step learns how it ended. */
async function noteJob({ ports, vault, key, report }: Served, point: PointId | undefined): Promise<'begun'> {
  const job = (await ports.catalog.items.get(vault, key))?.row.mergeJob;
  await report.change({ trying: { point, job } });
  return 'begun';
}

function limitReached({ ports, run, report }: Served): 'time' | 'budget' | undefined {
  if (ports.clock.now() >= run.endsAt) return 'time';
  return spentBytes(report.row) >= report.row.grantedBytes ? 'budget' : undefined;
}

/** Stored bytes of the live points' layers that are not of blocks that they show, and whether there are layers that compaction would look at. */
async function wastedIn(
  ports: Ports,
  chain: Chain,
  record: ChainRecord,
): Promise<{ wastedBytes: number; isSparse: boolean }> {
  const { leastWasteBytes } = { ...COMPACTION_RULES, ...ports.settings.compaction };
  const manifests = await chain.manifests(record);
  let wastedBytes = 0;
  let isSparse = false;
  for (const manifest of manifests) {
    for await (const { manifests: reduced } of eachSpan(chain, [manifest], ports.settings.layout)) {
      const regions = reduced.flatMap(({ disks }) => disks.flatMap((disk) => disk.regions));
      for (const { slab, storedBytes, liveBytes } of regions.flatMap(({ layers }) => layers)) {
        wastedBytes += storedBytes - liveBytes;
        isSparse ||= slab === undefined && storedBytes - liveBytes >= leastWasteBytes;
      }
    }
  }
  return { wastedBytes, isSparse };
}
