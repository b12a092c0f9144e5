import type { JobRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import type { ItemId } from '../domain/ids.ts';
import { Chain } from './chain.ts';
import { DAMAGE_CODES } from './findings.ts';
import { IndexCheck, unindexJob } from './job-index.ts';
import { ENDED } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import type { Ports } from './ports.ts';
import { readPoints } from './projection.ts';
import { removeReport } from './reports.ts';
import { openVault } from './vault-of.ts';

/*
 * Rows of jobs that ended long ago go: people look at some months of them, and whoever goes through all jobs of a vault must not read
 * those of years.
 *
 * A row that is gone is to everybody a job that has ended; so what may rely on more than that has to go first. That is a backup's row, which
 * says that the snapshots of its set are a point's even where the point's own row is lost: it stays while its point is live, by the rows
 * or by the chain, and while any of its snapshots is there. All else was done when the job ended: its last record stands in the chain,
 * and a handler that wakes up after months stops for want of a row, as it would for a job that has ended.
 */

/** Rows that one run takes away; the next run goes on. */
const MOST_ROWS = 5_000;

/**
 * Removes the rows of jobs that ended more than `jobHistoryDays` ago, with what they may have left in other tables, and mends the index of the
 * others on the way. Answers how many it has removed.
 */
export async function pruneJobs(ports: Ports, vault: string): Promise<number> {
  const before = ports.clock.now() - ports.settings.jobHistoryDays * 86_400_000;
  const { container, row } = await openVault(ports, vault);
  const known = new Map<ItemId, Promise<NeededJobs | undefined>>();
  const neededOf = (item: ItemId): Promise<NeededJobs | undefined> => {
    const needed =
      known.get(item) ?? neededJobs(ports, pointsPartition(row.containerName, item), new Chain(container, item));
    known.set(item, needed);
    return needed;
  };
  const index = await IndexCheck.begin(ports, vault);
  let removed = 0;
  for await (const { key, row: job, etag } of ports.catalog.jobs.list(vault)) {
    await index.see(job);
    if (removed === MOST_ROWS) continue;
    if (!ENDED.has(job.status) || (job.endedAt ?? job.updatedAt) >= before) continue;
    // The watch has not seen its end yet, or another holds on to it.
    if ((await ports.catalog.openJobs.get(vault, key)) !== undefined) continue;
    if (job.operation === 'Backup' && (await isNeeded(ports, job, await neededOf(job.itemId)))) continue;
    await forgetLeftovers(ports, vault, job);
    await unindexJob(ports, vault, job);
    try {
      await ports.catalog.jobs.remove(vault, key, etag);
      removed++;
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch')) throw error;
    }
  }
  await index.end();
  for await (const { key, row: operation } of ports.catalog.operations.list(vault))
    if (operation.startedAt < before) await ports.catalog.operations.remove(vault, key);
  return removed;
}

/** The jobs and points of an item that somebody may still ask for. */
interface NeededJobs {
  readonly jobs: ReadonlySet<string>;
  readonly points: ReadonlySet<string>;
}

/** Undefined: the chain cannot be read, so that nobody knows. */
async function neededJobs(ports: Ports, partition: string, chain: Chain): Promise<NeededJobs | undefined> {
  const rows = await readPoints(ports, partition);
  const points = new Set<string>(rows.map(({ point }) => point));
  try {
    for (const { point } of (await chain.newest()).points) points.add(point);
  } catch (error) {
    // Without any record the item was deleted with its data; but so it looks, too, when somebody has taken them away.
    if (!isBackupError(error, ...DAMAGE_CODES)) throw error;
    if (error.code !== 'VaultObjectMissing' || rows.length > 0) return undefined;
  }
  return { jobs: new Set(rows.map(({ jobId }) => jobId)), points };
}

async function isNeeded(ports: Ports, { jobId, point, set }: JobRow, needed: NeededJobs | undefined): Promise<boolean> {
  if (needed === undefined || needed.jobs.has(jobId) || (point !== undefined && needed.points.has(point))) return true;
  for (const { url, snapshot: id } of set?.disks ?? []) {
    try {
      if ((await ports.snapshots.sizeOf({ url, id })) !== undefined) return true;
    } catch (error) {
      // It may be there; and an account that is not even known any more must not keep all other rows.
      if (!isBackupError(error)) throw error;
      return true;
    }
  }
  return false;
}

/** Marks of its units, and what its parts have reported: its end has taken them away, but for those that came late. */
async function forgetLeftovers(ports: Ports, vault: string, { jobId, attempts }: JobRow): Promise<void> {
  for (const attempt of attempts)
    for await (const { partition, key } of ports.catalog.units.list(attempt))
      await ports.catalog.units.remove(partition, key);
  await removeReport(ports, { vault, jobId });
}
