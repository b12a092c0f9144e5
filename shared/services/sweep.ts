import { createHash } from 'node:crypto';
import type { ItemRow, JobRow, PointRow } from '../catalog/catalog.ts';
import { placeOf } from '../compute/compute.ts';
import type { DiskSnapshot } from '../disk/disk-snapshots.ts';
import { isBackupError } from '../domain/errors.ts';
import { type SweepDecision, decideSweep } from '../domain/sweep.ts';
import { decodeDocument } from '../format/document.ts';
import { type RestorePlan, restorePlan } from '../format/documents.ts';
import { attemptIn, itemPrefix } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { forEachItem } from './items.ts';
import { ENDED, readJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { namedBy, namedByPlan } from './named.ts';
import type { Ports } from './ports.ts';
import { readPoints } from './projection.ts';
import { discardTargets } from './restore-leftovers.ts';
import { openVault, readItem } from './vault-of.ts';

/*
 * Crashed and slower runs leave objects and snapshots that nothing names. A sweep finds them: it lists the names first, then
 * reads which jobs have not ended, then the newest record, so that whatever was named in between is seen as named. What it sees for
 * the first time it marks; what it finds marked for longer than the grace, still unnamed, it deletes. Objects of a job that has not
 * ended are no leftovers: a first backup may take a week.
 */

/** Leaves a message for each item. */
export function sweep(ports: Ports): Promise<number> {
  return forEachItem(ports, (vault, itemId) => ports.queue.send({ step: 'sweep-item', v: 1, vault, itemId }));
}

/** Sweeps one item: its folder in the vault and its snapshots. */
export async function sweepItem(ports: Ports, step: { vault: string; itemId: string }): Promise<void> {
  let item: ItemRow;
  try {
    item = (await readItem(ports, step.vault, step.itemId)).row;
  } catch (error) {
    if (isBackupError(error, 'ResourceNotFound')) return;
    throw error;
  }
  const { container, row: vault } = await openVault(ports, step.vault);
  const partition = pointsPartition(vault.containerName, item.itemId);
  const marks = await readMarks(ports, partition);
  await sweepObjects(ports, step.vault, container, item, partition, marks);
  await sweepSnapshots(ports, step.vault, vault.containerName, item, partition, marks);
}

async function sweepObjects(
  ports: Ports,
  vault: string,
  container: VaultContainer,
  item: ItemRow,
  partition: string,
  marks: ReadonlyMap<string, number>,
): Promise<void> {
  const prefix = itemPrefix(item.itemId);
  const names: string[] = [];
  for await (const { name } of container.list(prefix)) {
    if (!name.startsWith(`${prefix}chain/`)) names.push(name);
  }
  const open = await openJobs(ports, vault, item);
  const inFlight = new Set(open.flatMap(({ attempts }) => attempts));
  const chain = new Chain(container, item.itemId);
  const named = await namedBy(container, chain, await chain.newest(), ports.settings.layout);
  for (const job of open) for (const name of await namedByPlan(container, job)) named.add(name);
  const decision = decideSweep({
    names,
    named,
    isInFlight: (name) => inFlight.has(attemptIn(name)!),
    marks: new Map([...marks].filter(([name]) => name.startsWith(prefix))),
    nowMs: ports.clock.now(),
    graceMs: ports.settings.sweepGraceSeconds * 1000,
  });
  await apply(ports, partition, decision, marks, async (name) => {
    await discardTargetsOf(ports, container, name);
    await container.delete(name);
  });
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
  marks: ReadonlyMap<string, number>,
): Promise<void> {
  const found = new Map<string, { snapshot: DiskSnapshot; job: string }>();
  // A dead run may have left snapshots on disks that are among the item's no more.
  const disks = [...item.disks, ...(await readPoints(ports, partition)).flatMap(({ set }) => set.disks)].map(
    ({ url }) => url,
  );
  // And a run that slept while the item's row was lost and built anew, on disks that the row does not know.
  const vm = await ports.compute.virtualMachine(item.vmResourceId);
  const attached = vm?.disks.flatMap((disk) => placeOf(disk) ?? []) ?? [];
  for (const url of new Set([...disks, ...attached, ...(item.formerUrls ?? [])])) {
    if (item.unlistedUrls?.includes(url) === true) continue; // whose they are is not known yet
    for await (const { tags, ...snapshot } of ports.snapshots.list(url)) {
      if (tags['vault'] !== containerName || tags['item'] !== item.itemId) continue;
      found.set(`${url}?snapshot=${snapshot.id}`, { snapshot, job: tags['job'] ?? '' });
    }
  }
  const open = new Set((await openJobs(ports, vault, item)).map(({ jobId }): string => jobId));
  const owned = new Set<string>();
  const points = await readPoints(ports, partition);
  if (await hasLostRows(new Chain(await ports.vaults.open(containerName), item.itemId), points)) {
    ports.log(
      `the table of recovery points has lost rows of ${item.vmName}: its snapshots are not swept until the catalog is rebuilt`,
    );
    return;
  }
  for (const { set, instant } of points) {
    if (instant === 'Valid') for (const { url, snapshot } of set.disks) owned.add(`${url}?snapshot=${snapshot}`);
  }
  const decision = decideSweep({
    names: [...found.keys()],
    named: owned,
    isInFlight: (name) => open.has(found.get(name)!.job),
    marks: new Map([...marks].filter(([name]) => name.includes('?snapshot='))),
    nowMs: ports.clock.now(),
    graceMs: ports.settings.sweepGraceSeconds * 1000,
  });
  await apply(ports, partition, decision, marks, (name) => ports.snapshots.remove(found.get(name)!.snapshot));
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

async function readMarks(ports: Ports, partition: string): Promise<Map<string, number>> {
  const marks = new Map<string, number>();
  for await (const { row } of ports.catalog.marks.list(partition)) marks.set(row.name, row.markedAt);
  return marks;
}

async function apply(
  ports: Ports,
  partition: string,
  { mark, unmark, remove }: SweepDecision,
  marks: ReadonlyMap<string, number>,
  deleteOne: (name: string) => Promise<void>,
): Promise<void> {
  const markedAt = ports.clock.now();
  for (const name of mark) await ports.catalog.marks.upsert(partition, markKey(name), { name, markedAt });
  for (const name of unmark) await ports.catalog.marks.remove(partition, markKey(name));
  for (const name of remove) {
    try {
      await deleteOne(name);
    } catch (error) {
      if (!isBackupError(error, 'BMSUserErrorObjectLocked')) throw error;
      await ports.catalog.marks.upsert(partition, markKey(name), { name, markedAt: marks.get(name)!, owed: true });
      ports.log(`the delete of ${name} is owed: ${error.message}`);
      continue;
    }
    await ports.catalog.marks.remove(partition, markKey(name));
  }
}

/** Names are longer than keys may be, and have slashes. */
const markKey = (name: string): string => createHash('sha256').update(name).digest('hex').slice(0, 40);
