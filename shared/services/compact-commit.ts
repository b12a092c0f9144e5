import { BackupError } from '../domain/errors.ts';
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

/** The record's points, their owners' manifests with the new layers in the places of the old ones. */
async function compactedPoints({
  container,
  chain,
  plan,
  before,
  objects,
}: ReplacingCommit<CompactPlan>): Promise<RecordPoint[]> {
  const compacted = new Map<CompactUnit, CountedLayer>();
  for (const unit of plan.units) {
    const object = objectOf(plan, unit);
    const layer = (await layersIn(container, object, objects.get(objectName(object))!)).get(unit.region);
    if (layer !== undefined) compacted.set(unit, layer);
  }
  const owners = new Set(plan.units.map(({ owner }) => owner));
  return Promise.all(
    before.points.map(async (entry) =>
      owners.has(entry.point) ? chain.putManifest(replaced(await chain.manifest(entry), plan, compacted)) : entry,
    ),
  );
}

const keyOf = (disk: string, region: number): string => `${disk}/${region}`;

function replaced(old: Manifest, plan: CompactPlan, compacted: ReadonlyMap<CompactUnit, CountedLayer>): Manifest {
  const own = Map.groupBy(
    plan.units.filter(({ owner }) => owner === old.point),
    ({ disk, region }) => keyOf(disk, region),
  );
  // A checkpoint that stands for a layer which has another name now stands for nothing.
  const changed = new Set(
    plan.units.filter(({ owner }) => owner <= old.point).map(({ disk, region }) => keyOf(disk, region)),
  );
  return {
    ...old,
    attempt: plan.attempt,
    disks: old.disks.map((disk) => ({
      ...disk,
      regions: disk.regions.map(({ checkpoint, ...entry }) => {
        const key = keyOf(disk.disk, entry.region);
        const layers = entry.layers.map((layer) => {
          const unit = own.get(key)?.find((each) => isSame(each.layer, layer));
          return unit === undefined ? layer : inPlaceOf(layer, compacted.get(unit));
        });
        return { ...entry, layers, ...(changed.has(key) || checkpoint === undefined ? {} : { checkpoint }) };
      }),
    })),
  };
}

const isSame = (a: CompactUnit['layer'], b: CountedLayer): boolean =>
  a.point === b.point && a.attempt === b.attempt && b.slab === undefined;

/** @throws BackupError LayerCorrupt when the new layer does not speak of as many blocks as the old one */
function inPlaceOf(old: CountedLayer, fresh: CountedLayer | undefined): CountedLayer {
  if (fresh !== undefined && old.dataBlocks === fresh.dataBlocks && old.clearedBlocks === fresh.clearedBlocks)
    return fresh;
  const has = (layer: CountedLayer | undefined): string =>
    `${layer?.dataBlocks ?? 0} stored and ${layer?.clearedBlocks ?? 0} cleared blocks`;
  const message = `layer ${old.attempt} of point ${old.point} has ${has(old)}, its compaction ${has(fresh)}`;
  throw new BackupError('LayerCorrupt', message);
}
