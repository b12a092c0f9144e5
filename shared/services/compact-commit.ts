import { BackupError } from '../domain/errors.ts';
import type { DiskId, PointId } from '../domain/ids.ts';
import { chainOf, stackDigest } from '../domain/point-stack.ts';
import { type CompactPlan, type CompactUnit, compactPlan } from '../format/compact-plan.ts';
import type { CountedLayer, Manifest, RecordPoint } from '../format/documents.ts';
import { type ReplacingCommit, commitReplacing } from './commit-replacing.ts';
import type { Ports } from './ports.ts';
import { type UnitObject, layersIn, objectName } from './unit-objects.ts';

/** The coordinator of a compaction: commits when all new layers are there. */
export function commitCompaction(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; round: number },
): Promise<void> {
  return commitReplacing(ports, step, {
    kind: 'compact',
    schema: compactPlan,
    objects: (plan) => plan.units.map((unit) => objectOf(plan, unit)),
    points: compactedPoints,
  });
}

/** The layer that a unit writes. */
const objectOf = (plan: CompactPlan, { disk, region, layer }: CompactUnit): UnitObject => ({
  item: plan.item,
  attempt: plan.attempt,
  disk,
  point: layer.point,
  slab: null,
  regions: [region],
});

/**
 * The record's points: their manifests have the new layers in the places of the old ones, and no checkpoint any more that stands for
 * a layer which has another name now. Manifests of which neither is true stay.
 */
async function compactedPoints({
  container,
  chain,
  plan,
  before,
  objects,
}: ReplacingCommit<CompactPlan>): Promise<RecordPoint[]> {
  const compacted = new Map<string, CountedLayer>();
  for (const unit of plan.units) {
    const object = objectOf(plan, unit);
    const layer = (await layersIn(container, object, objects.get(objectName(object))!)).get(unit.region);
    if (layer !== undefined) compacted.set(keyOf(unit.owner, unit.disk, unit.region, unit.layer), layer);
  }
  const changed = new Set(plan.units.map(({ owner }) => owner));
  const manifests = (await chain.manifests(before)).map((old) =>
    changed.has(old.point) ? withLayers(old, plan, compacted) : old,
  );
  for (const { disk, region } of plan.units) {
    const entryOf = (own: Manifest['disks'][number] | undefined) => own?.regions.find((each) => each.region === region);
    for (const [n, point] of manifests.entries()) {
      const checkpoint = entryOf(point.disks.find((own) => own.disk === disk))?.checkpoint;
      if (checkpoint === undefined) continue;
      const stack = chainOf(disk, manifests.slice(0, n + 1)).flatMap((own) => entryOf(own.disk)?.layers ?? []);
      if (stackDigest(stack.slice(0, checkpoint.depth)) === checkpoint.stack) continue;
      manifests[n] = withoutCheckpoint(point, disk, region);
      changed.add(point.point);
    }
  }
  return Promise.all(
    before.points.map(async (entry, n) =>
      changed.has(entry.point) ? chain.putManifest({ ...manifests[n]!, format: 2, attempt: plan.attempt }) : entry,
    ),
  );
}

/** A layer, by the point that owns it and its name. */
const keyOf = (owner: PointId, disk: DiskId, region: number, { point, attempt }: CompactUnit['layer']): string =>
  `${owner}/${disk}/${region}/${point}.${attempt}`;

function withLayers(old: Manifest, plan: CompactPlan, compacted: ReadonlyMap<string, CountedLayer>): Manifest {
  const wanted = new Set(plan.units.map((unit) => keyOf(unit.owner, unit.disk, unit.region, unit.layer)));
  return {
    ...old,
    disks: old.disks.map((own) => ({
      ...own,
      regions: own.regions.map((entry) => ({
        ...entry,
        layers: entry.layers.map((layer) => {
          const key = keyOf(old.point, own.disk, entry.region, layer);
          return layer.slab === undefined && wanted.has(key) ? inPlaceOf(layer, compacted.get(key)) : layer;
        }),
      })),
    })),
  };
}

function withoutCheckpoint(old: Manifest, disk: DiskId, region: number): Manifest {
  return {
    ...old,
    disks: old.disks.map((own) => ({
      ...own,
      regions: own.regions.map(({ checkpoint, ...entry }) =>
        checkpoint === undefined || (own.disk === disk && entry.region === region) ? entry : { ...entry, checkpoint },
      ),
    })),
  };
}

/** @throws BackupError LayerCorrupt when the new layer does not speak of as many blocks as the old one */
function inPlaceOf(old: CountedLayer, fresh: CountedLayer | undefined): CountedLayer {
  if (fresh !== undefined && old.dataBlocks === fresh.dataBlocks && old.clearedBlocks === fresh.clearedBlocks)
    return fresh;
  const has = (layer: CountedLayer | undefined): string =>
    `${layer?.dataBlocks ?? 0} stored and ${layer?.clearedBlocks ?? 0} cleared blocks`;
  const message = `layer ${old.attempt} of point ${old.point} has ${has(old)}, its compaction ${has(fresh)}`;
  throw new BackupError('LayerCorrupt', message);
}
