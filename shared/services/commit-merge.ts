import type { JobId, PointId } from '../domain/ids.ts';
import { wholeSlabs } from '../domain/slab-shares.ts';
import { type CountedLayer, type Manifest, type MergePlan, type RecordPoint, mergePlan } from '../format/documents.ts';
import type { BlobInfo, VaultContainer } from '../vault/vault-container.ts';
import { type ReplacingCommit, commitReplacing } from './commit-replacing.ts';
import { foldObject } from './fold-unit.ts';
import { readJob } from './jobs.ts';
import { inOrder } from './pipeline.ts';
import type { Ports } from './ports.ts';
import { readPoint } from './projection.ts';
import { OUT_OF_REACH_MS, leaveToSweep, removeSnapshots } from './remove-snapshots.ts';
import { layersIn, objectName } from './unit-objects.ts';

/** Objects whose contents are looked at at once. */
const READS_IN_FLIGHT = 8;

/** The coordinator of a merge: commits when all folds are there. The point's snapshots go before the record that drops it. */
export function commitMerge(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; round: number },
): Promise<void> {
  return commitReplacing(ports, step, {
    kind: 'merge',
    schema: mergePlan,
    objects: (plan) => plan.units.map((unit) => foldObject(plan, unit)),
    points: mergedPoints,
    beforeRecord: ({ partition, plan }) => deleteSnapshots(ports, step, partition, plan.point),
  });
}

/** The record's points without the expired one, its successors with new manifests. */
async function mergedPoints({
  container,
  chain,
  plan,
  before,
  objects,
}: ReplacingCommit<MergePlan>): Promise<RecordPoint[]> {
  const folded = await readFolds(container, plan, objects);
  const gone = await chain.manifest(before.points.find(({ point }) => point === plan.point)!);
  const changed = new Set(plan.entries.map(({ into }) => into));
  const kept = before.points.filter(({ point }) => point !== plan.point);
  return Promise.all(
    kept.map(async (entry) =>
      changed.has(entry.point) ? chain.putManifest(merged(gone, await chain.manifest(entry), plan, folded)) : entry,
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

/** A manifest with the regions of `gone`, the expired point, in it. Folds of which nothing is left leave no layer. */
function merged(gone: Manifest, old: Manifest, plan: MergePlan, folded: ReadonlyMap<string, CountedLayer>): Manifest {
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
      const after = [...regions.values()].sort((a, b) => a.region - b.region);
      return { ...own, regions: wholeSlabs([...layersOf(gone, own.disk), ...layersOf(old, own.disk)], after) };
    }),
  };
}

const layersOf = ({ disks }: Manifest, disk: string): CountedLayer[] =>
  disks.filter((own) => own.disk === disk).flatMap(({ regions }) => regions.flatMap(({ layers }) => layers));

/**
 * Where an account has not answered for days the merge goes on without: a rebuild brings no point back that the chain has named, and
 * the sweep takes what is left when the account answers again.
 */
async function deleteSnapshots(
  ports: Ports,
  step: { vault: string; jobId: string },
  partition: string,
  point: PointId,
): Promise<void> {
  const row = await readPoint(ports, partition, point);
  if (row === undefined || row.instant === 'Deleted') return;
  const left = await removeSnapshots(ports, row.set.disks);
  if (left[0] === undefined) return;
  const job = await readJob(ports, { vault: step.vault, jobId: step.jobId as JobId });
  if (job === undefined || ports.clock.now() - job.startedAt < OUT_OF_REACH_MS) throw left[0].error;
  await leaveToSweep(ports, step.vault, job.itemKey, left);
}
