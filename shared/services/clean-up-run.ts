import type { CleanUpReportRow, CleanUpRow } from '../catalog/clean-up-row.ts';
import { equalShares, inTurn } from '../domain/clean-up.ts';
import { isBackupError } from '../domain/errors.ts';
import { endRun, lookAtRun } from './clean-up-look.ts';
import { readReports, readRuns, removeReports, removeRun, reportsOf, unlessChanged } from './clean-up-report.ts';
import { vaultKey, vaultRowKey } from './keys.ts';
import { pruneJobs } from './prune-jobs.ts';
import type { Ports } from './ports.ts';

/*
 * A run of the cleanup of one vault. Its bytes are shared equally between the items. Each gets one message, does one merge with it, and
 * goes to the queue's tail with the message that the merge's end leaves: so all get on alike. Whoever stops looks whether all have
 * stopped; then what some have not needed goes to those that were stopped by their share, and at last the run ends. The watch sees to
 * items that lost their message.
 *
 * Nothing of this has to be kept for the next run, apart from who was served last and up to which record the chain has been
 * counted: whatever is expired then is seen then. A run that broke off is made up for by the next.
 */

/** The timer's: a run for each vault. Answers how many there are. */
export async function cleanUp(ports: Ports): Promise<number> {
  let vaults = 0;
  for await (const { row } of ports.catalog.vaults.listAll()) {
    await startCleanUp(ports, vaultKey({ ...row, vault: row.name }));
    vaults++;
  }
  return vaults;
}

/** Starts a run; one that is going on is made to look at all its items once more instead. Resolves the run. */
export async function startCleanUp(ports: Ports, vault: string): Promise<CleanUpRow> {
  const newest = (await readRuns(ports, vault)).at(-1);
  const going = newest !== undefined && newest.endedAt === undefined && ports.clock.now() < newest.endsAt;
  const run = going ? newest : newRun(ports, newRunId(ports, newest));
  await ports.queue.send({ step: 'clean-vault', v: 1, vault, run: run.runId });
  return openRun(ports, vault, run);
}

/** Ids ascend even if the clock steps back. */
function newRunId(ports: Ports, newest: CleanUpRow | undefined): string {
  const ms = Math.max(Math.trunc(ports.clock.now()), newest === undefined ? 0 : newest.startedAt + 1);
  return `${ms.toString().padStart(13, '0')}-${ports.ids.hex(8)}`;
}

/** What a run's id says of it. */
function newRun(ports: Ports, runId: string): CleanUpRow {
  const startedAt = Number(runId.slice(0, 13));
  const { cleanUpSeconds, cleanUpBytes } = ports.settings;
  return { runId, startedAt, endsAt: startedAt + cleanUpSeconds * 1000, bytes: cleanUpBytes };
}

async function openRun(ports: Ports, vault: string, run: CleanUpRow): Promise<CleanUpRow> {
  try {
    await ports.catalog.cleanUps.insert(vault, run.runId, run);
    return run;
  } catch (error) {
    if (!isBackupError(error, 'RowAlreadyExists')) throw error;
    return (await ports.catalog.cleanUps.get(vault, run.runId))?.row ?? run;
  }
}

/** Opens the reports of a run and gives every item its message. Again: for items that are new or have stopped for now. */
export async function cleanVault(ports: Ports, step: { vault: string; run: string }): Promise<void> {
  const { vault } = step;
  const at = vaultRowKey(vault);
  // A vault that was deleted meanwhile has no runs: one made anew under its name must not be told of any.
  if ((await ports.catalog.vaults.get(at.partition, at.key)) === undefined) return removeRun(ports, vault, step.run);
  const run = await openRun(ports, vault, newRun(ports, step.run));
  if (run.instead !== undefined) return removeReports(ports, vault, run.runId);
  if (run.endedAt !== undefined) return;
  const earlier = (await readRuns(ports, vault)).filter(({ runId }) => runId < run.runId);
  for (const other of earlier.filter(({ endedAt }) => endedAt === undefined)) {
    // Of two that were started at once the first goes on.
    if (ports.clock.now() < other.endsAt) return giveWay(ports, vault, run, other);
    // Its merges that still run are counted by this one.
    await endRun(ports, vault, other);
  }
  await openReports(ports, vault, run, earlier.at(-1));
  await lookAtRun(ports, vault, run);
  await pruneJobs(ports, vault);
}

/** Ends a run for another, which whoever asks for it is told of; what it has begun the other goes on with. */
async function giveWay(ports: Ports, vault: string, run: CleanUpRow, other: CleanUpRow): Promise<void> {
  await changeRun(ports, vault, run.runId, { endedAt: ports.clock.now(), instead: other.runId });
  await removeReports(ports, vault, run.runId);
}

/** Changes a run that has not ended; one that has stays as it is. */
async function changeRun(ports: Ports, vault: string, runId: string, change: Partial<CleanUpRow>): Promise<void> {
  for (;;) {
    const found = await ports.catalog.cleanUps.get(vault, runId);
    if (found === undefined || found.row.endedAt !== undefined) return;
    try {
      await ports.catalog.cleanUps.replace(vault, runId, { ...found.row, ...change }, found.etag);
      return;
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw error;
    }
  }
}

/** Every item of the vault takes part: a report each, the bytes in equal shares. */
async function openReports(
  ports: Ports,
  vault: string,
  run: CleanUpRow,
  before: CleanUpRow | undefined,
): Promise<void> {
  const reports = before === undefined ? [] : await readReports(ports, vault, before.runId);
  const earlier = new Map(reports.map(({ key, row }) => [key, row]));
  const own = new Map((await readReports(ports, vault, run.runId)).map((report) => [report.key, report]));
  const items = [];
  for await (const { key, row } of ports.catalog.items.list(vault))
    items.push({ key, row, servedAt: earlier.get(key)?.servedAt });
  const shares = equalShares(run.bytes, run.items ?? items.length);
  if (run.items === undefined) await changeRun(ports, vault, run.runId, { items: items.length });
  const partition = reportsOf(vault, run.runId);
  for (const [i, { key, row, servedAt }] of inTurn(items).entries()) {
    const there = own.get(key);
    if (there === undefined) {
      const known = earlier.get(key);
      const seq = known?.itemId === row.itemId ? known.seq : undefined;
      const report = newReport(ports, row, { grantedBytes: shares[i] ?? 0, servedAt, seq });
      await unlessChanged(() => ports.catalog.cleanUpReports.insert(partition, key, report));
    } else if (['done', 'held', 'failed'].includes(there.row.status)) {
      const again: CleanUpReportRow = {
        ...there.row,
        status: 'open',
        askedAt: undefined,
        // What has failed is tried again, and told of again where it still fails.
        failures: [],
        inVain: 0,
        isCompacted: false,
      };
      await unlessChanged(() => ports.catalog.cleanUpReports.replace(partition, key, again, there.etag));
    }
  }
}

function newReport(
  ports: Ports,
  { itemId, vmName, resourceGroup }: Pick<CleanUpReportRow, 'itemId' | 'vmName' | 'resourceGroup'>,
  known: Pick<CleanUpReportRow, 'grantedBytes' | 'servedAt' | 'seq'>,
): CleanUpReportRow {
  return {
    itemId,
    vmName,
    resourceGroup,
    status: 'open',
    merged: 0,
    foldedBytes: 0,
    compactions: 0,
    compactedBytes: 0,
    endedSnapshots: 0,
    removedPoints: 0,
    failures: [],
    left: { expiredPoints: 0, wastedBytes: 0 },
    isCompacted: false,
    inVain: 0,
    ending: [],
    updatedAt: ports.clock.now(),
    ...known,
  };
}
