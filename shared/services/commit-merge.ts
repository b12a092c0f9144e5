import type { DiskId, JobId, PointId } from '../domain/ids.ts';
import { wholeSlabs } from '../domain/slab-shares.ts';
import {
  type CountedLayer,
  type Manifest,
  type ManifestDisk,
  type ManifestRegion,
  type MergePlan,
  type RecordPoint,
  mergePlan,
} from '../format/documents.ts';
import type { BlobInfo, VaultContainer } from '../vault/vault-container.ts';
import { type ReplacingCommit, commitReplacing } from './commit-replacing.ts';
import { foldObject } from './fold-unit.ts';
import { readJob } from './jobs.ts';
import { rewriteManifest } from './manifest-writer.ts';
import { inOrder } from './pipeline.ts';
import type { Ports } from './ports.ts';
import { layoutOf, partCount } from './plans.ts';
import { readPoint } from './projection.ts';
import { OUT_OF_REACH_MS, leaveToSweep, removeSnapshots } from './remove-snapshots.ts';
import { type Span, regionsOf } from './spans.ts';
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
async function mergedPoints(commit: ReplacingCommit<MergePlan>): Promise<RecordPoint[]> {
  const { ports, chain, plan, before, partAt } = commit;
  const places: Place[] = [];
  for (const number of Array(partCount(plan)).keys()) places.push(...placesIn(await partAt(number), number));
  // A lost manifest has no regions to hand on.
  if (places.length === 0) return before.points.filter(({ point }) => point !== plan.point);
  const gone = await chain.manifest(before.points.find(({ point }) => point === plan.point)!);
  const points: RecordPoint[] = [];
  for (const entry of before.points) {
    if (entry.point === plan.point) continue;
    const mine = places.filter(({ into }) => into === entry.point);
    if (mine.length === 0) points.push(entry);
    else {
      const change = (disk: ManifestDisk, span: Span) => mergedSpan(commit, gone, mine, disk, span);
      const old = await chain.manifest(entry);
      points.push(
        await rewriteManifest(chain, old, [gone], plan.attempt, layoutOf(ports.settings.layout, plan), change),
      );
    }
  }
  return points;
}

/** Where in the plan the regions of a disk are: in its part `number`, from `first` to `last`. */
interface Place {
  readonly disk: DiskId;
  readonly into: PointId;
  readonly number: number;
  readonly first: number;
  readonly last: number;
}

function placesIn({ entries }: MergePlan, number: number): Place[] {
  return [...Map.groupBy(entries, ({ disk }) => disk).values()].map((own) => ({
    disk: own[0]!.disk,
    into: own[0]!.into,
    number,
    first: own[0]!.region,
    last: own.at(-1)!.region,
  }));
}

/** A span of a successor's disk with the expired point's regions in it; undefined when that has none there. */
async function mergedSpan(
  { container, chain, partAt, objectsOf }: ReplacingCommit<MergePlan>,
  gone: Manifest,
  places: readonly Place[],
  own: ManifestDisk,
  span: Span,
): Promise<ManifestRegion[] | undefined> {
  const place = places.find(({ disk, first, last }) => disk === own.disk && first < span.to && last >= span.from);
  if (place === undefined) return undefined;
  const part = await partAt(place.number);
  const isHere = ({ disk, region }: { disk: DiskId; region: number }): boolean =>
    disk === own.disk && region >= span.from && region < span.to;
  const entries = part.entries.filter(isHere);
  if (entries.length === 0) return undefined;
  const units = part.units.filter(({ disk, folds }) => isHere({ disk, region: folds[0]!.region }));
  const folded = await readFolds(container, { ...part, units }, await objectsOf({ ...part, units }));
  const other = gone.disks.find(({ disk }) => disk === own.disk)!;
  return merged(await regionsOf(chain, other, span), await regionsOf(chain, own, span), entries, folded);
}

/** The layers that the folds of a part of the plan have made, by disk and region. */
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

/**
 * The regions of a span of a successor, with those of the expired point in it as `entries` say. Folds of which nothing is left leave no
 * layer.
 */
function merged(
  gone: readonly ManifestRegion[],
  old: readonly ManifestRegion[],
  entries: MergePlan['entries'],
  folded: ReadonlyMap<string, CountedLayer>,
): ManifestRegion[] {
  const regions = new Map(old.map((entry) => [entry.region, entry]));
  for (const { disk, region, kept, checkpoint } of entries) {
    const fold = folded.get(`${disk}/${region}`);
    const layers = fold === undefined ? kept : [...kept, fold];
    if (layers.length === 0) regions.delete(region);
    else regions.set(region, { region, layers, ...(checkpoint && { checkpoint }) });
  }
  const after = [...regions.values()].sort((a, b) => a.region - b.region);
  return wholeSlabs([...layersOf(gone), ...layersOf(old)], after);
}

const layersOf = (regions: readonly ManifestRegion[]): CountedLayer[] => regions.flatMap(({ layers }) => layers);

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
