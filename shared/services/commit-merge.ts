import { createHash } from 'node:crypto';
import type { JobRow } from '../catalog/catalog.ts';
import { type AttemptId, type JobId, type PointId, attemptId } from '../domain/ids.ts';
import {
  type ChainRecord,
  type CountedLayer,
  type Manifest,
  type MergePlan,
  type RecordPoint,
  mergePlan,
} from '../format/documents.ts';
import type { BlobInfo, VaultContainer } from '../vault/vault-container.ts';
import { backOffSeconds } from './back-off.ts';
import { Chain } from './chain.ts';
import { endJob, finishJob } from './end-job.ts';
import { foldObject } from './fold-unit.ts';
import { type JobAddress, readJob, runningJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { inOrder } from './pipeline.ts';
import { readPlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { project, readPoint } from './projection.ts';
import { planReclaim } from './reclaim.ts';
import { finishedObjects, layersIn, objectName } from './unit-objects.ts';
import { openVault } from './vault-of.ts';

/** Objects whose contents are looked at at once. */
const READS_IN_FLIGHT = 8;

/** The coordinator of a merge: commits when all folds are there. */
export async function commitMerge(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; round: number },
): Promise<void> {
  const address: JobAddress = { vault: step.vault, jobId: step.jobId as JobId };
  const job = await runningJob(ports, address, step.attempt);
  if (job === undefined) return;
  const attempt = attemptId(step.attempt);
  const { container, row: vault } = await openVault(ports, step.vault);
  const partition = pointsPartition(vault.containerName, job.itemId);
  const chain = new Chain(container, job.itemId);
  const newest = await chain.newest();
  const plan = await readPlan(container, job.itemId, attempt, mergePlan);
  const before = newest.seq === plan.seq ? newest : undefined;
  const committed = await chain.committed([attempt], plan.seq, newest);
  if (committed !== undefined) return settle(ports, address, chain, container, partition, plan, newest);
  if (before === undefined) return giveWay(ports, address, job);

  if ((await runningJob(ports, address, step.attempt)) === undefined) return;
  const units = plan.units.map((unit) => foldObject(plan, unit));
  const objects = await finishedObjects(container, units);
  if (objects.size < units.length) {
    return ports.queue.send({ ...step, step: 'commit', v: 1, round: step.round + 1 }, backOffSeconds(step.round));
  }
  const points = await mergedPoints(container, chain, before, plan, objects);
  await deleteSnapshots(ports, partition, plan.point);
  const { won, record } = await chain.append(before, {
    kind: 'merge',
    attempt,
    job: plan.job,
    writtenAt: new Date(ports.clock.now()).toISOString(),
    points,
  });
  return won ? settle(ports, address, chain, container, partition, plan, record) : giveWay(ports, address, job);
}

/** Another record came first: this attempt can never commit. Cleanup looks at the item anew. */
async function giveWay(ports: Ports, address: JobAddress, job: JobRow): Promise<void> {
  await endJob(ports, address, 'Cancelled');
  await ports.queue.send({ step: 'clean-item', v: 1, vault: address.vault, itemId: job.itemKey });
}

async function settle(
  ports: Ports,
  address: JobAddress,
  chain: Chain,
  container: VaultContainer,
  partition: string,
  plan: MergePlan,
  record: ChainRecord,
): Promise<void> {
  await project(ports, partition, chain, record);
  const made = plan.units.map((unit) => objectName(foldObject(plan, unit)));
  const reclaim = await planReclaim(container, { ...plan, made }, reclaimAttempt(plan.attempt));
  await ports.queue.send(
    { step: 'reclaim', v: 1, vault: address.vault, jobId: address.jobId, attempt: reclaim.attempt },
    ports.settings.deleteGraceSeconds,
  );
  const job = await readJob(ports, address);
  await finishJob(ports, address, 'Completed');
  if (job !== undefined)
    await ports.queue.send({ step: 'clean-item', v: 1, vault: address.vault, itemId: job.itemKey });
}

/** The same for every run that finds the merge committed, so that what is to be deleted is written down once. */
function reclaimAttempt(merge: AttemptId): AttemptId {
  return attemptId(createHash('sha256').update(`reclaim ${merge}`).digest('hex').slice(0, 16));
}

/** The record's points without the expired one, its successors with new manifests. */
async function mergedPoints(
  container: VaultContainer,
  chain: Chain,
  record: ChainRecord,
  plan: MergePlan,
  objects: ReadonlyMap<string, BlobInfo>,
): Promise<RecordPoint[]> {
  const folded = await readFolds(container, plan, objects);
  const changed = new Set(plan.entries.map(({ into }) => into));
  const kept = record.points.filter(({ point }) => point !== plan.point);
  return Promise.all(
    kept.map(async (entry) =>
      changed.has(entry.point) ? chain.putManifest(merged(await chain.manifest(entry), plan, folded)) : entry,
    ),
  );
}

/** The layers that the folds have made, by disk and region. */
async function readFolds(
  container: VaultContainer,
  plan: MergePlan,
  objects: ReadonlyMap<string, BlobInfo>,
): Promise<Map<string, CountedLayer>> {
  const folded = new Map<string, CountedLayer>();
  for await (const { item: unit, result } of inOrder(plan.units, READS_IN_FLIGHT, (each) => {
    const object = foldObject(plan, each);
    return layersIn(container, object, objects.get(objectName(object))!);
  })) {
    for (const [region, layer] of result) folded.set(`${unit.disk}/${region}`, layer);
  }
  return folded;
}

/** A manifest with the expired point's regions in it. Folds of which nothing is left leave no layer. */
function merged(old: Manifest, plan: MergePlan, folded: ReadonlyMap<string, CountedLayer>): Manifest {
  return {
    ...old,
    format: 2,
    attempt: plan.attempt,
    disks: old.disks.map((own) => {
      const regions = new Map(own.regions.map((entry) => [entry.region, entry]));
      for (const { disk, region, into, kept, checkpoint } of plan.entries) {
        if (disk !== own.disk || into !== old.point) continue;
        const fold = folded.get(`${disk}/${region}`);
        const layers = fold === undefined ? kept : [...kept, fold];
        if (layers.length === 0) regions.delete(region);
        else regions.set(region, { region, layers, ...(checkpoint && { checkpoint }) });
      }
      return { ...own, regions: [...regions.values()].sort((a, b) => a.region - b.region) };
    }),
  };
}

async function deleteSnapshots(ports: Ports, partition: string, point: PointId): Promise<void> {
  const row = await readPoint(ports, partition, point);
  for (const { url, snapshot } of row === undefined || row.instant === 'Deleted' ? [] : row.set.disks)
    await ports.snapshots.remove({ url, id: snapshot });
}
