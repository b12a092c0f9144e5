import type { AttemptId, DiskId, PointId } from './ids.ts';

/** A layer by the point and attempt that wrote it; disk and region are known from where it is named. */
export interface LayerName {
  readonly point: PointId;
  readonly attempt: AttemptId;
}

/** What a point says of one of its disks, as far as views go: its own layers in ascending order of regions. */
export interface DiskLayers<Ref extends LayerName = LayerName> {
  readonly disk: DiskId;
  readonly sizeBytes: number;
  readonly regions: readonly { readonly region: number; readonly layers: readonly Ref[] }[];
}

/** A live point, as far as views go. */
export interface LayeredPoint<Disk extends DiskLayers = DiskLayers> {
  readonly point: PointId;
  readonly disks: readonly Disk[];
}

/** The points that are in the chain of `disk`, which is to say include it; in the order given. */
export function chainOf<Disk extends DiskLayers>(
  disk: DiskId,
  points: readonly LayeredPoint<Disk>[],
): { point: PointId; disk: Disk }[] {
  return points.flatMap(({ point, disks }) =>
    disks.filter((own) => own.disk === disk).map((own) => ({ point, disk: own })),
  );
}

/**
 * For each region of `disk` that any of `points` (in snapshot order) has a layer of: the stack of layers, oldest first. The view
 * above the stack is the region at the last of the points.
 */
export function stacksOf(disk: DiskId, points: readonly LayeredPoint[]): Map<number, LayerName[]> {
  const stacks = new Map<number, LayerName[]>();
  for (const own of chainOf(disk, points)) {
    for (const { region, layers } of own.disk.regions) {
      const stack = stacks.get(region) ?? [];
      stack.push(...layers.map(({ point, attempt }) => ({ point, attempt })));
      stacks.set(region, stack);
    }
  }
  return stacks;
}
