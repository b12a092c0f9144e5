/**
 * What snapshots there are, by disk. Compute lists a whole resource group, however many disks have snapshots there; whoever looks
 * at all disks of a VM, one after another, would have it listed again for each. So a listing serves for a moment: what others have
 * taken since then is found by the next look, as if they had taken it after this one.
 */
import type { Snapshot } from '@azure/arm-compute';
import type { TaggedSnapshot } from './disk-snapshots.ts';
import type { ManagedClient } from './managed-client.ts';
import { managedSnapshotId } from './managed-ids.ts';
import { fromResourceTags } from './managed-tags.ts';

const LISTING_MS = 5_000;

/** The snapshots of each disk, by its place, in the order of time. */
type Listing = ReadonlyMap<string, readonly TaggedSnapshot[]>;

export interface SnapshotListings {
  of(subscriptionId: string, resourceGroup: string): Promise<Listing>;
  /** This process has taken or deleted a snapshot: the next look is a new one. */
  forget(): void;
}

/** `now` are milliseconds of a clock that only goes forward. */
export function snapshotListings(client: Pick<ManagedClient, 'snapshotsIn'>, now: () => number): SnapshotListings {
  const listings = new Map<string, { listing: Promise<Listing>; untilMs: number }>();

  async function list(subscriptionId: string, resourceGroup: string): Promise<Listing> {
    const found = new Map<string, TaggedSnapshot[]>();
    for await (const snapshot of client.snapshotsIn(subscriptionId, resourceGroup)) {
      const url = snapshot.creationData?.sourceResourceId?.toLowerCase();
      const id = managedSnapshotIdOf(snapshot);
      if (url === undefined || id === undefined) continue;
      const own = found.get(url) ?? [];
      own.push({ url, id, tags: fromResourceTags(snapshot.tags ?? {}) });
      found.set(url, own);
    }
    for (const own of found.values()) own.sort((a, b) => (a.id < b.id ? -1 : 1));
    return found;
  }

  return {
    of(subscriptionId, resourceGroup) {
      const key = `${subscriptionId} ${resourceGroup}`.toLowerCase();
      const known = listings.get(key);
      if (known !== undefined && now() < known.untilMs) return known.listing;
      // From when it was asked for: so old is what its first page says.
      const listing = list(subscriptionId, resourceGroup);
      listings.set(key, { listing, untilMs: now() + LISTING_MS });
      listing.catch(() => listings.delete(key));
      return listing;
    },
    forget: () => listings.clear(),
  };
}

export function managedSnapshotIdOf({ id, timeCreated }: Snapshot): string | undefined {
  return id === undefined || timeCreated === undefined ? undefined : managedSnapshotId(timeCreated, id);
}
