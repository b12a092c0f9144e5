import { createHash } from 'node:crypto';
import type { AttemptId, DiskId, PointId } from './ids.ts';

/** Where in its slab a thin layer's file lies. */
export interface SlabPlace {
  /** Which of its point's and attempt's slabs. */
  readonly number: number;
  readonly offset: number;
  readonly bytes: number;
}

/** A layer by the point and attempt that wrote it; disk and region are known from where it is named. */
export interface LayerName {
  readonly point: PointId;
  readonly attempt: AttemptId;
  /** Absent for a layer that is a file of its own. */
  readonly slab?: SlabPlace | undefined;
}

/** A checkpoint of the first `depth` layers of a region's stack. It counts while these hash to `stack`. */
export interface CheckpointName {
  readonly attempt: AttemptId;
  readonly depth: number;
  readonly stack: string;
}

/** What a point says of one of its disks, as far as views go: its own layers in ascending order of regions. */
export interface DiskLayers<Ref extends LayerName = LayerName> {
  readonly disk: DiskId;
  readonly sizeBytes: number;
  /** The first point of the disk's chain; absent: the first of all. A disk begins anew where an earlier manifest is lost. */
  readonly begins?: PointId | undefined;
  readonly regions: readonly {
    readonly region: number;
    readonly layers: readonly Ref[];
    readonly checkpoint?: CheckpointName | undefined;
  }[];
}

/** A live point, as far as views go. */
export interface LayeredPoint<Disk extends DiskLayers = DiskLayers> {
  readonly point: PointId;
  readonly disks: readonly Disk[];
}

/** The layers whose overlay is a region's view, oldest first, and the deepest checkpoint that stands for the first of them. */
export interface RegionStack<Ref extends LayerName = LayerName> {
  readonly layers: readonly Ref[];
  readonly checkpoint?: CheckpointName | undefined;
}

/** The points that include `disk`, in the order given. */
export function including<Disk extends DiskLayers>(
  disk: DiskId,
  points: readonly LayeredPoint<Disk>[],
): { point: PointId; disk: Disk }[] {
  return points.flatMap(({ point, disks }) =>
    disks.filter((own) => own.disk === disk).map((own) => ({ point, disk: own })),
  );
}

/** The points that are in the chain of `disk` at the last of `points`: those that include it, from where the chain begins. */
export function chainOf<Disk extends DiskLayers>(
  disk: DiskId,
  points: readonly LayeredPoint<Disk>[],
): { point: PointId; disk: Disk }[] {
  const all = including(disk, points);
  const begins = all.at(-1)?.disk.begins;
  return begins === undefined ? all : all.filter(({ point }) => point >= begins);
}

/**
 * For each region of `disk` that any of `points` (in snapshot order) has a layer of: its stack. The view above the stack is the
 * region at the last of the points. Checkpoints that stand for other layers than the stack now has are left out.
 */
export function stacksOf<Ref extends LayerName>(
  disk: DiskId,
  points: readonly LayeredPoint<DiskLayers<Ref>>[],
): Map<number, RegionStack<Ref>> {
  const stacks = new Map<number, { layers: Ref[]; checkpoint?: CheckpointName | undefined }>();
  for (const own of chainOf(disk, points)) {
    for (const { region, layers, checkpoint } of own.disk.regions) {
      const stack = stacks.get(region) ?? { layers: [] };
      stack.layers.push(...layers);
      if (checkpoint !== undefined && standsFor(checkpoint, stack.layers)) stack.checkpoint = checkpoint;
      stacks.set(region, stack);
    }
  }
  return stacks;
}

function standsFor({ depth, stack }: CheckpointName, layers: readonly LayerName[]): boolean {
  return depth <= layers.length && stackDigest(layers.slice(0, depth)) === stack;
}

/** The names of `layers`, in order, as one short text: two stacks with the same digest are the same layers. */
export function stackDigest(layers: readonly LayerName[]): string {
  const hash = createHash('sha256');
  for (const { point, attempt, slab } of layers) hash.update(`${point}.${attempt}.${slab?.number ?? ''}\n`);
  return hash.digest('hex').slice(0, 32);
}

/** A layer's name without what else is known of it. */
export function nameOf({ point, attempt, slab }: LayerName): LayerName {
  return slab === undefined ? { point, attempt } : { point, attempt, slab };
}
