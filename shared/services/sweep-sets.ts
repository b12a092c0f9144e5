import type { ItemRow, JobRow, PointRow } from '../catalog/catalog.ts';
import type { DiskSnapshot, TaggedSnapshot } from '../disk/disk-snapshots.ts';
import type { JobId } from '../domain/ids.ts';
import type { Chain } from './chain.ts';
import { readJob } from './jobs.ts';
import type { Ports } from './ports.ts';
import { snapshotOnly } from './rebuild-snapshots.ts';
import { isOutOfReach } from './remove-snapshots.ts';
import { readTags } from './snapshot-tags.ts';
import { EVERY_DISK } from './url-list.ts';

/** What names a snapshot in marks. */
export const nameOfSnapshot = ({ url, id }: DiskSnapshot): string => `${url}?snapshot=${id}`;

/** An item's snapshots as a sweep found them. */
export interface ListedSnapshots {
  /** Those that carry the item's tags, by `nameOfSnapshot`. */
  readonly found: ReadonlyMap<string, TaggedSnapshot>;
  /** Disks of which nothing is known: their account does not answer now, or did not when the item was rebuilt. */
  readonly unlisted: ReadonlySet<string>;
}

/** Lists the item's snapshots on these disks. A disk whose account does not answer must not keep the others from being swept. */
export async function listSnapshots(
  ports: Ports,
  containerName: string,
  item: ItemRow,
  urls: readonly string[],
): Promise<ListedSnapshots> {
  const found = new Map<string, TaggedSnapshot>();
  const unlisted = new Set(item.unlistedUrls?.includes(EVERY_DISK) === true ? urls : item.unlistedUrls);
  for (const url of new Set(urls)) {
    if (unlisted.has(url)) continue; // whose they are is not known yet
    try {
      for await (const snapshot of ports.snapshots.list(url)) {
        const { tags } = snapshot;
        if (tags['vault'] === containerName && tags['item'] === item.itemId)
          found.set(nameOfSnapshot(snapshot), snapshot);
      }
    } catch (error) {
      if (!isOutOfReach(error)) throw error;
      unlisted.add(url);
      ports.log(`the snapshots of ${url} are not swept: ${error.message}`);
    }
  }
  return { found, unlisted };
}

/** The jobs that took these snapshots, by their ids; a job whose row is gone is not among them. */
export async function jobsOf(
  ports: Ports,
  vault: string,
  snapshots: Iterable<TaggedSnapshot>,
): Promise<Map<string, JobRow>> {
  const jobs = new Map<string, JobRow>();
  for (const id of new Set([...snapshots].map(({ tags }) => tags['job'] ?? ''))) {
    const row = id === '' ? undefined : await readJob(ports, { vault, jobId: id as JobId });
    if (row !== undefined) jobs.set(id, row);
  }
  return jobs;
}

/**
 * Snapshots that no row of a point owns, and that are no leftovers all the same, by name: they may be all there is of a recovery point.
 *
 * A whole set that its job has noted is a point's: a job that ends sees to it that the point has its row, and a point's snapshots go
 * before its row does. So where there is no row it has been lost; a rebuild brings back those that were never in the
 * vault. And while the snapshots of some disks cannot be listed nobody knows whether a set of which a part is missing is whole.
 */
export async function setsWithoutRow(
  ports: Ports,
  vault: string,
  chain: Chain,
  { found, unlisted }: ListedSnapshots,
  jobs: ReadonlyMap<string, JobRow>,
  rows: readonly PointRow[],
): Promise<Set<string>> {
  const known = new Set(rows.map(({ point }) => point));
  const snapshots = [...found.values()].flatMap((snapshot) => readTags(snapshot) ?? []);
  const noted = snapshots.filter(
    ({ point, job, attempt }) => !known.has(point) && jobs.get(job)?.set?.attempt === attempt,
  );
  const kept = noted.length === 0 ? [] : (await snapshotOnly(ports, vault, chain, await chain.newest(), noted)).flat();
  if (unlisted.size > 0) {
    const sets = Map.groupBy(snapshots, ({ point, attempt }) => `${point} ${attempt}`);
    for (const set of sets.values()) if (set.length < set[0]!.disks) kept.push(...set);
  }
  return new Set(kept.map(nameOfSnapshot));
}
