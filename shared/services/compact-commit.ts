import { BackupError } from '../domain/errors.ts';
import type { DiskId, PointId } from '../domain/ids.ts';
import { chainOf, stackDigest } from '../domain/point-stack.ts';
import { type CompactPlan, type CompactUnit, compactPlan } from '../format/compact-plan.ts';
import type { CountedLayer, Manifest, ManifestDisk, ManifestRegion, RecordPoint } from '../format/documents.ts';
import { type ReplacingCommit, commitReplacing } from './commit-replacing.ts';
import { rewriteManifest } from './manifest-writer.ts';
import { layoutOf } from './plans.ts';
import type { Ports } from './ports.ts';
import { type Span, spansOf, within } from './spans.ts';
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
async function compactedPoints(commit: ReplacingCommit<CompactPlan>): Promise<RecordPoint[]> {
  const { ports, container, chain, plan, before, objectsOf } = commit;
  const layout = layoutOf(ports.settings.layout, plan);
  const objects = await objectsOf(plan);
  const compacted = new Map<string, CountedLayer>();
  for (const unit of plan.units) {
    const object = objectOf(plan, unit);
    const layer = (await layersIn(container, object, objects.get(objectName(object))!)).get(unit.region);
    if (layer !== undefined) compacted.set(keyOf(unit.owner, unit.disk, unit.region, unit.layer), layer);
  }
  const old = await chain.manifests(before);
  const changes = new Map<string, ManifestRegion[]>();
  const changed = new Set<PointId>();
  for (const disk of new Set(plan.units.map((unit) => unit.disk))) {
    for (const span of spansOf(disk, old, layout)) {
      const units = plan.units.filter(
        (unit) => unit.disk === disk && unit.region >= span.from && unit.region < span.to,
      );
      if (units.length === 0) continue;
      for (const { point, entries } of compactedSpan(units, await within(chain, old, disk, span), compacted)) {
        changes.set(changeKey(point, disk, span), entries);
        changed.add(point);
      }
    }
  }
  const points: RecordPoint[] = [];
  for (const [n, entry] of before.points.entries()) {
    const change = async ({ disk }: ManifestDisk, span: Span) => changes.get(changeKey(entry.point, disk, span));
    points.push(
      changed.has(entry.point) ? await rewriteManifest(chain, old[n]!, old, plan.attempt, layout, change) : entry,
    );
  }
  return points;
}

const changeKey = (point: PointId, disk: DiskId, { from }: Span): string => `${point}/${disk}/${from}`;

/** What the points whose lists or checkpoints change have then of the span that `units` lie in. */
function compactedSpan(
  units: readonly CompactUnit[],
  manifests: readonly Manifest[],
  compacted: ReadonlyMap<string, CountedLayer>,
): { point: PointId; entries: ManifestRegion[] }[] {
  const owners = new Set(units.map(({ owner }) => owner));
  const changed = new Set<PointId>();
  const fresh = manifests.map((old) => {
    if (!owners.has(old.point)) return old;
    changed.add(old.point);
    return withLayers(old, units, compacted);
  });
  for (const { disk, region } of units) {
    const entryOf = (own: Manifest['disks'][number] | undefined) => own?.regions.find((each) => each.region === region);
    for (const [n, point] of fresh.entries()) {
      const checkpoint = entryOf(point.disks[0])?.checkpoint;
      if (checkpoint === undefined) continue;
      const stack = chainOf(disk, fresh.slice(0, n + 1)).flatMap((own) => entryOf(own.disk)?.layers ?? []);
      if (stackDigest(stack.slice(0, checkpoint.depth)) === checkpoint.stack) continue;
      fresh[n] = withoutCheckpoint(point, disk, region);
      changed.add(point.point);
    }
  }
  return fresh
    .filter(({ point, disks }) => changed.has(point) && disks.length > 0)
    .map(({ point, disks }) => ({ point, entries: disks[0]!.regions }));
}

/** A layer, by the point that owns it and its name. */
const keyOf = (owner: PointId, disk: DiskId, region: number, { point, attempt }: CompactUnit['layer']): string =>
  `${owner}/${disk}/${region}/${point}.${attempt}`;

function withLayers(
  old: Manifest,
  units: readonly CompactUnit[],
  compacted: ReadonlyMap<string, CountedLayer>,
): Manifest {
  const wanted = new Set(units.map((unit) => keyOf(unit.owner, unit.disk, unit.region, unit.layer)));
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
