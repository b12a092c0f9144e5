/** When a snapshot was taken, and by whose clock: times of two clocks say nothing about each other. */
export interface SnapshotTime {
  /** Page blobs have their storage's clock, managed disks Compute's. */
  readonly clock: 'storage' | 'compute';
  readonly atMs: number;
}

/** Reads the time that a snapshot's id begins with; undefined where it has none. */
export function snapshotTime(id: string): SnapshotTime | undefined {
  const slash = id.indexOf('/');
  const atMs = Date.parse(slash < 0 ? id : id.slice(0, slash));
  return Number.isNaN(atMs) ? undefined : { clock: slash < 0 ? 'storage' : 'compute', atMs };
}

/** The longest time between two snapshots of one clock, in milliseconds; 0 where no two can be compared. */
export function spreadMs(ids: readonly string[]): number {
  const times = ids.flatMap((id) => snapshotTime(id) ?? []);
  const spreads = [...Map.groupBy(times, ({ clock }) => clock).values()].map((same) => {
    const own = same.map(({ atMs }) => atMs);
    return Math.max(...own) - Math.min(...own);
  });
  return Math.max(0, ...spreads);
}
