import { spreadMs } from '../disk/snapshot-time.ts';
import type { AttemptId, JobId, PointId } from '../domain/ids.ts';
import type { PointSnapshot } from './snapshot-tags.ts';
import { SET_MS } from './take-snapshot.ts';

/**
 * The whole sets among an item's snapshots, one for each point: as many disks as each of its snapshots says, and one moment. Of
 * several the one taken last counts, since a handler that was killed before it had noted its set was followed by another.
 * `recorded` tells the attempt that a job has noted, null where it has noted none, undefined where nobody knows any more.
 */
export function wholeSets(
  snapshots: readonly PointSnapshot[],
  recorded: (job: JobId) => AttemptId | null | undefined,
): Map<PointId, PointSnapshot[]> {
  const sets = Map.groupBy(snapshots, ({ point, attempt }) => `${point} ${attempt}`);
  const chosen = new Map<PointId, PointSnapshot[]>();
  for (const set of sets.values()) {
    const { point, attempt, job } = set[0]!;
    const noted = recorded(job);
    if (!isWhole(set) || (noted !== undefined && noted !== attempt)) continue;
    const other = chosen.get(point);
    if (other === undefined || age(set) > age(other)) chosen.set(point, set);
  }
  return chosen;
}

function isWhole(set: readonly PointSnapshot[]): boolean {
  const { disks, about } = set[0]!;
  return (
    set.length === disks &&
    new Set(set.map(({ disk }) => disk)).size === disks &&
    set.every((each) => each.disks === disks && each.about.takenAt === about.takenAt) &&
    spreadMs(set.map(({ id }) => id)) <= SET_MS
  );
}

/** Orders sets in time, and two of one moment in one way always. */
const age = (set: readonly PointSnapshot[]): string =>
  `${set
    .map(({ id }) => id)
    .sort()
    .at(-1)} ${set[0]!.attempt}`;
