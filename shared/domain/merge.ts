import type { DiskId, PointId } from './ids.ts';
import type { Layout } from './layout.ts';
import {
  type CheckpointName,
  type DiskLayers,
  type LayerName,
  type LayeredPoint,
  chainOf,
  including,
} from './point-stack.ts';

/** A layer and how many blocks it speaks of. */
export interface WeighedLayer extends LayerName {
  readonly dataBlocks: number;
  readonly clearedBlocks: number;
}

/** What a successor has of one region after a merge: `kept` by name, and above it the fold of `folded`, where there is any. */
export interface MergedRegion<Ref extends WeighedLayer> {
  readonly disk: DiskId;
  readonly region: number;
  readonly into: PointId;
  /** Oldest first. */
  readonly kept: readonly Ref[];
  /** Oldest first; none or at least two. */
  readonly folded: readonly Ref[];
  /** Nothing of this region lies below the fold. */
  readonly bottom: boolean;
  /** The checkpoint that the successor's entry goes on naming: none where layers change. */
  readonly checkpoint: CheckpointName | undefined;
}

/** A fold of layers in slabs writes their blocks again, not the map alone: what is overwritten has to be worth it. */
const SLAB_FOLD_RATIO = 4;

/**
 * Decides the merge of point `expired` out of `points` (all live ones in snapshot order): per disk into the next point that
 * includes the disk, region by region. The view at every other point stays as it is. Layers of disks that no later point includes
 * go into none. `cannotFold` says of regions that they have to be kept as they are, because a layer is damaged.
 */
export function decideMerge<Ref extends WeighedLayer>(
  expired: PointId,
  points: readonly LayeredPoint<DiskLayers<Ref>>[],
  { foldRatio }: Pick<Layout, 'foldRatio'>,
  cannotFold: (disk: DiskId, region: number) => boolean = () => false,
): MergedRegion<Ref>[] {
  const at = points.findIndex(({ point }) => point === expired);
  const gone = points[at];
  if (gone === undefined) throw new RangeError(`point ${expired} is not in the chain`);
  return gone.disks.flatMap(({ disk, regions }) => {
    const [next] = including(disk, points.slice(at + 1));
    // Where the disk's chain begins anew after the expired point, nobody looks through to its layers.
    if (next === undefined || (next.disk.begins ?? expired) > expired) return [];
    const newer = new Map(next.disk.regions.map((own) => [own.region, own]));
    const earlier = chainOf(disk, points.slice(0, at + 1)).slice(0, -1);
    const below = new Set(earlier.flatMap((own) => own.disk.regions.map(({ region }) => region)));
    return regions.map((own): MergedRegion<Ref> => {
      const { region } = own;
      const above = newer.get(region);
      const list = [...own.layers, ...(above?.layers ?? [])];
      const from = above === undefined || cannotFold(disk, region) ? list.length : foldFrom(list, foldRatio);
      const checkpoint = from === list.length ? (above?.checkpoint ?? own.checkpoint) : undefined;
      const bottom = from === 0 && !below.has(region);
      return {
        disk,
        region,
        into: next.point,
        kept: list.slice(0, from),
        folded: list.slice(from),
        bottom,
        checkpoint,
      };
    });
  });
}

/** The index of the oldest layer of `list` that what lies above it has outgrown; the list's length when there is none. */
function foldFrom(list: readonly WeighedLayer[], foldRatio: number): number {
  let from = list.length;
  let above = 0;
  for (let i = list.length - 1; i >= 0; i--) {
    const { dataBlocks, clearedBlocks, slab } = list[i]!;
    const ratio = slab === undefined ? foldRatio : Math.min(foldRatio, SLAB_FOLD_RATIO);
    if (i < list.length - 1 && dataBlocks + clearedBlocks < ratio * above) from = i;
    above += dataBlocks + clearedBlocks;
  }
  return from;
}
