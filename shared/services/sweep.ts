import type { ItemRow, JobRow, PointRow } from '../catalog/catalog.ts';
import { placeOf } from '../compute/compute.ts';
import { isBackupError } from '../domain/errors.ts';
import { type SweepDecision, decideSweep } from '../domain/sweep.ts';
import { decodeDocument } from '../format/document.ts';
import { type RestorePlan, restorePlan } from '../format/documents.ts';
import { attemptIn } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { forEachItem } from './items.ts';
import { ENDED, readJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { namedAmong } from './named.ts';
import type { Ports } from './ports.ts';
import { readPoints } from './projection.ts';
import { isOutOfReach } from './remove-snapshots.ts';
import { discardTargets } from './restore-leftovers.ts';
import { applySweep, forgetMarks, objectMark, objectMarks, snapshotMark, snapshotMarks } from './sweep-marks.ts';
import { jobsOf, listSnapshots, nameOfSnapshot, setsWithoutRow } from './sweep-sets.ts';
import { type Place, SweepWalk } from './sweep-walk.ts';
import { openVault, readItem } from './vault-of.ts';

/*
 * Crashed and slower runs leave objects and snapshots that nothing names. A sweep finds them: it lists the names first, then
 * reads which jobs have not ended, then the newest record, so that whatever was named in between is seen as named. What it sees for
 * the first time it marks; what it finds marked for longer than the grace, still unnamed, it deletes. Objects of a job that has not
 * ended are no leftovers: a first backup may take a week.
 *
 * The names of a large disk are more than can be held. They are looked at in batches, each by these rules alone: its names, then the
 * jobs, then the record. Each batch is a message, and tells the next one where it has come to.
 */

/** Leaves a message for each item. */
export function sweep(ports: Ports): Promise<number> {
  return forEachItem(ports, (vault, itemId) => ports.queue.send({ step: 'sweep-item', v: 1, vault, itemId }));
}

/**
 * Sweeps one item: its snapshots and its folder in the vault, of that as much as can be looked at together; `after` says what has been
 * looked at already, and a message is left for what comes next.
 */
export async function sweepItem(
  ports: Ports,
  step: { vault: string; itemId: string; after?: Place | undefined },
): Promise<void> {
  let item: ItemRow;
  try {
    item = (await readItem(ports, step.vault, step.itemId)).row;
  } catch (error) {
    if (isBackupError(error, 'ResourceNotFound')) return;
    throw error;
  }
  const { container, row: vault } = await openVault(ports, step.vault);
  const partition = pointsPartition(vault.containerName, item.itemId);
  let after: Place | undefined;
  try {
    after = await sweepObjects(ports, step.vault, container, item, partition, step.after);
  } finally {
    // What is wrong in the item's folder must not keep its snapshots.
    if (step.after === undefined) await sweepSnapshots(ports, step.vault, vault.containerName, item, partition);
  }
  if (after !== undefined)
    await ports.queue.send({ step: 'sweep-item', v: 1, vault: step.vault, itemId: step.itemId, after });
}

/** Sweeps the names after the place `after`. Answers the place that it has come to; undefined: it was the last. */
async function sweepObjects(
  ports: Ports,
  vault: string,
  container: VaultContainer,
  item: ItemRow,
  partition: string,
  after: Place | undefined,
): Promise<Place | undefined> {
  const { geometry, layout } = ports.settings;
  const walk = new SweepWalk(container, item.itemId, layout.namesAtOnce, geometry);
  const { places, names, isLast } = await walk.batch(after);
  const open = await openJobs(ports, vault, item);
  const chain = new Chain(container, item.itemId);
  const marks = await objectMarks(ports, partition, places);
  const decide = async (some: readonly string[], jobs: readonly JobRow[]): Promise<SweepDecision> => {
    const inFlight = new Set(jobs.flatMap(({ attempts }) => attempts));
    const isInFlight = (name: string): boolean => inFlight.has(attemptIn(name)!);
    const asked = some.filter((name) => !isInFlight(name));
    return decideSweep({
      names: some,
      named: await namedAmong(container, chain, await chain.newest(), layout, asked, jobs),
      isInFlight,
      marks,
      nowMs: ports.clock.now(),
      graceMs: ports.settings.sweepGraceSeconds * 1000,
    });
  };
  const decision = await decide(names, open);
  // The list of open jobs may have lost some: before anything is removed all jobs are asked, and then the record once more.
  let { remove, unmark } = decision;
  if (remove.length > 0) {
    const again = new Set((await decide(remove, await runningJobs(ports, vault, item))).remove);
    unmark = [...unmark, ...remove.filter((name) => !again.has(name))];
    remove = remove.filter((name) => again.has(name));
  }
  const keyOf = (name: string): string => objectMark(item.itemId, name);
  await applySweep(ports, partition, keyOf, { ...decision, remove, unmark }, marks, async (name) => {
    try {
      await discardTargetsOf(ports, container, name);
    } catch (error) {
      return notYet(ports, name, error);
    }
    await container.delete(name);
    return true;
  });
  if (!isLast) return places.at(-1);
  await forgetMarks(ports, partition, new Set(await walk.disks()));
  return undefined;
}

/** A restore's plan is the last that knows of targets which a handler may have made after its job had failed. */
async function discardTargetsOf(ports: Ports, container: VaultContainer, name: string): Promise<void> {
  if (!name.includes('/plans/')) return;
  let plan: RestorePlan;
  try {
    plan = decodeDocument(name, await container.readWhole(name), restorePlan);
  } catch (error) {
    if (isBackupError(error, 'DocumentCorrupt', 'BlobNotFound')) return; // another kind of plan, or damaged: it names no target
    throw error;
  }
  await discardTargets(ports, plan);
}

/** Snapshots that carry this item's tags and that no recovery point owns. */
async function sweepSnapshots(
  ports: Ports,
  vault: string,
  containerName: string,
  item: ItemRow,
  partition: string,
): Promise<void> {
  // A dead run may have left snapshots on disks that are among the item's no more.
  const disks = [...item.disks, ...(await readPoints(ports, partition)).flatMap(({ set }) => set.disks)].map(
    ({ url }) => url,
  );
  // And a run that slept while the item's row was lost and built anew, on disks that the row does not know.
  const vm = await ports.compute.virtualMachine(item.vmResourceId);
  const attached = vm?.disks.flatMap((disk) => placeOf(disk) ?? []) ?? [];
  const urls = [...disks, ...attached, ...(item.formerUrls ?? [])];
  const marks = await snapshotMarks(ports, partition);
  const listed = await listSnapshots(ports, containerName, item, urls);
  const { found, unlisted } = listed;
  // Asked of the jobs themselves: the list of open ones may be lost.
  const jobs = await jobsOf(ports, vault, found.values());
  const points = await readPoints(ports, partition);
  const chain = new Chain(await ports.vaults.open(containerName), item.itemId);
  if (await hasLostRows(chain, points)) {
    ports.log(
      `the table of recovery points has lost rows of ${item.vmName}: its snapshots are not swept until the catalog is rebuilt`,
    );
    return;
  }
  const owned = await setsWithoutRow(ports, vault, chain, listed, jobs, points);
  if (owned.size > 0)
    ports.log(
      `${owned.size} snapshots of ${item.vmName} may be of recovery points that have no row, and are not swept`,
    );
  for (const { set, instant } of points) {
    if (instant !== 'Valid') continue;
    for (const { url, snapshot } of set.disks) owned.add(nameOfSnapshot({ url, id: snapshot }));
  }
  const isOpen = (job: JobRow | undefined): boolean => job?.itemId === item.itemId && !ENDED.has(job.status);
  // Of a disk that could not be listed nothing has been seen: its marks stay.
  const isSeen = (name: string): boolean => !unlisted.has(name.slice(0, name.indexOf('?snapshot=')));
  const decision = decideSweep({
    names: [...found.keys()],
    named: owned,
    isInFlight: (name) => isOpen(jobs.get(found.get(name)!.tags['job'] ?? '')),
    marks: new Map([...marks].filter(([name]) => isSeen(name))),
    nowMs: ports.clock.now(),
    graceMs: ports.settings.sweepGraceSeconds * 1000,
  });
  await applySweep(ports, partition, snapshotMark, decision, marks, async (name) => {
    try {
      await ports.snapshots.remove(found.get(name)!);
      return true;
    } catch (error) {
      return notYet(ports, name, error);
    }
  });
}

/**
 * Whether rows are missing. A point's row is there before a record names it, so when one that the newest record names has none, others may
 * be gone too, and snapshots that no row owns may be all that is left of their points.
 */
async function hasLostRows(chain: Chain, rows: readonly PointRow[]): Promise<boolean> {
  const known = new Set(rows.map(({ point }) => point));
  return (await chain.newest()).points.some(({ point }) => !known.has(point));
}

async function openJobs(ports: Ports, vault: string, item: ItemRow): Promise<JobRow[]> {
  const open: JobRow[] = [];
  for await (const { key, row } of ports.catalog.openJobs.list(vault)) {
    if (row.itemId !== undefined && row.itemId !== item.itemId) continue;
    const job = await readJob(ports, { vault, jobId: key as JobRow['jobId'] });
    if (job?.itemId === item.itemId && !ENDED.has(job.status)) open.push(job);
  }
  return open;
}

/** The item's jobs that have not ended, whatever the list of open jobs says; what it has lost is put back, so that the watch sees to it. */
async function runningJobs(ports: Ports, vault: string, item: ItemRow): Promise<JobRow[]> {
  const running: JobRow[] = [];
  for await (const { key, row } of ports.catalog.jobs.list(vault)) {
    if (row.itemId !== item.itemId || ENDED.has(row.status)) continue;
    running.push(row);
    if ((await ports.catalog.openJobs.get(vault, key)) === undefined)
      await ports.catalog.openJobs.upsert(vault, key, { startedAt: row.startedAt });
  }
  return running;
}

/** What is out of reach keeps its mark for a later sweep, and must not keep this one from the rest. @throws any other error */
function notYet(ports: Ports, name: string, error: unknown): false {
  if (!isOutOfReach(error)) throw error;
  ports.log(`${name} is not swept yet: ${error.message}`);
  return false;
}
