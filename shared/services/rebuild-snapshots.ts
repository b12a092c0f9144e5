import { placeOf } from '../compute/compute.ts';
import type { Look } from '../disk/disk-snapshots.ts';
import { ERROR_TABLE, isBackupError } from '../domain/errors.ts';
import type { JobId, PointId } from '../domain/ids.ts';
import type { ChainRecord } from '../format/documents.ts';
import type { Chain } from './chain.ts';
import { readJob } from './jobs.ts';
import type { Ports } from './ports.ts';
import { wholeSets } from './snapshot-sets.ts';
import { type PointSnapshot, readTags } from './snapshot-tags.ts';

/*
 * Recovery points that only their snapshots know. What the newest record names is in the vault; a point that it does not name may be one
 * that a merge has taken away, and must not come back. Records are never deleted, so those between then and now tell whether
 * it has ever been named.
 */

/**
 * The item's snapshots on the disks of `known` and on those that its VM has now, and the disks where none could be listed. Passing trouble
 * is thrown unless this is the last try. None of it is older than the call: what the caller has read before tells of snapshots
 * that have gone since.
 */
export async function findSnapshots(
  ports: Ports,
  containerName: string,
  record: ChainRecord,
  known: readonly string[],
  atLast: boolean,
): Promise<{ snapshots: PointSnapshot[]; unlisted: string[] }> {
  const urls = new Set(known);
  try {
    // A VM that is gone has no disks any more, and that is all there is to it.
    const vm = await ports.compute.virtualMachine(record.vm.id);
    for (const disk of vm?.disks ?? []) {
      const place = placeOf(disk);
      if (place !== undefined) urls.add(place);
    }
  } catch (error) {
    if (!isBackupError(error) || (!atLast && ERROR_TABLE[error.code].retry)) throw error;
  }
  const snapshots: PointSnapshot[] = [];
  const unlisted: string[] = [];
  const look: Look = {};
  for (const url of urls) {
    try {
      for await (const found of ports.snapshots.list(url, look)) {
        if (found.tags['vault'] !== containerName || found.tags['item'] !== record.item) continue;
        const snapshot = readTags(found);
        if (snapshot !== undefined) snapshots.push(snapshot);
      }
    } catch (error) {
      if (!isBackupError(error) || (!atLast && ERROR_TABLE[error.code].retry)) throw error;
      unlisted.push(url);
    }
  }
  return { snapshots, unlisted };
}

/** The whole sets of points that have never been in the vault, in snapshot order. */
export async function snapshotOnly(
  ports: Ports,
  vault: string,
  chain: Chain,
  record: ChainRecord,
  snapshots: readonly PointSnapshot[],
): Promise<PointSnapshot[][]> {
  const jobs = new Map<JobId, Awaited<ReturnType<typeof readJob>>>();
  for (const { job } of snapshots) if (!jobs.has(job)) jobs.set(job, await readJob(ports, { vault, jobId: job }));
  const sets = wholeSets(snapshots, (job) => {
    const row = jobs.get(job);
    return row === undefined ? undefined : (row.set?.attempt ?? null);
  });
  for (const { point } of record.points) sets.delete(point);
  for (const point of await everNamed(chain, record, [...sets.keys()])) sets.delete(point);
  return [...sets].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, set]) => set);
}

/**
 * Those of `points` that a record has ever named. A commit puts its point behind all others and the last one stays, so the
 * records that end before a point cannot name it. Where a record cannot be read, the points that it may have named count as named.
 */
async function everNamed(chain: Chain, newest: ChainRecord, points: readonly PointId[]): Promise<Set<PointId>> {
  const named = new Set<PointId>();
  const oldest = points.toSorted()[0];
  if (oldest === undefined) return named;
  for (let record = newest; ;) {
    for (const { point } of record.points) if (points.includes(point)) named.add(point);
    const last = record.points.at(-1)?.point;
    if (last === undefined || last < oldest || record.seq === 1) return named;
    try {
      record = await chain.record(record.seq - 1);
    } catch (error) {
      if (!isBackupError(error, 'DocumentCorrupt', 'BlobNotFound', 'FormatUnsupported')) throw error;
      for (const point of points) if (point <= last) named.add(point);
      return named;
    }
  }
}
