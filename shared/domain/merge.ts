import type { DiskId, PointId } from './ids.ts';
import type { DiskLayers, LayerName, LayeredPoint } from './point-stack.ts';

/** Two points' layers of one region that become one new layer of point `into`. */
export interface FoldUnit {
  readonly disk: DiskId;
  readonly region: number;
  readonly into: PointId;
  /** Oldest first. */
  readonly layers: readonly LayerName[];
  /** Nothing of this region lies below. */
  readonly bottom: boolean;
}

/** How an expired point goes into its successors. */
export interface MergeDecision<Ref extends LayerName> {
  /** Regions that both points changed. */
  readonly folds: readonly FoldUnit[];
  /** Regions that only the expired point changed: the successor takes the layer by name, no bytes move. */
  readonly adoptions: readonly { disk: DiskId; region: number; into: PointId; layers: readonly Ref[] }[];
  /** Layers of disks that no later point includes: nobody can see them any more. */
  readonly orphans: readonly { disk: DiskId; region: number; layer: Ref }[];
}

/**
 * Decides the merge of point `expired` out of `points` (all live ones in snapshot order): per disk into the next point that
 * includes the disk, region by region. The view at every other point stays as it is.
 */
export function decideMerge<Ref extends LayerName>(
  expired: PointId,
  points: readonly LayeredPoint<DiskLayers<Ref>>[],
): MergeDecision<Ref> {
  const at = points.findIndex(({ point }) => point === expired);
  const gone = points[at];
  if (gone === undefined) throw new RangeError(`point ${expired} is not in the chain`);
  const folds: FoldUnit[] = [];
  const adoptions: { disk: DiskId; region: number; into: PointId; layers: readonly Ref[] }[] = [];
  const orphans: { disk: DiskId; region: number; layer: Ref }[] = [];
  for (const { disk, regions } of gone.disks) {
    const next = points.slice(at + 1).find((later) => later.disks.some((own) => own.disk === disk));
    const nextRegions = new Map(
      next?.disks.find((own) => own.disk === disk)?.regions.map((own) => [own.region, own.layers]),
    );
    const below = regionsOf(disk, points.slice(0, at));
    for (const { region, layers } of regions) {
      const newer = nextRegions.get(region);
      if (next === undefined) orphans.push(...layers.map((layer) => ({ disk, region, layer })));
      else if (newer === undefined) adoptions.push({ disk, region, into: next.point, layers });
      else folds.push({ disk, region, into: next.point, layers: [...layers, ...newer], bottom: !below.has(region) });
    }
  }
  return { folds, adoptions, orphans };
}

function regionsOf(disk: DiskId, points: readonly LayeredPoint[]): Set<number> {
  return new Set(
    points.flatMap(({ disks }) =>
      disks.filter((own) => own.disk === disk).flatMap((own) => own.regions.map(({ region }) => region)),
    ),
  );
}
