/**
 * What snapshots there are, by disk. Compute lists a whole subscription, however many disks have snapshots there: so those are found too
 * that were taken into another resource group than the one that is set now. Whoever looks at all disks of a VM, one after another,
 * would have it listed again for each. So a listing serves for a moment: what others have taken since then is found by the next look,
 * as if they had taken it after this one. Who cannot do with that says what he looks for (`Look`): then no listing serves that began
 * before he first asked.
 */
import type { Snapshot } from '@azure/arm-compute';
import type { Look, TaggedSnapshot } from './disk-snapshots.ts';
import type { ManagedClient } from './managed-client.ts';
import { managedSnapshotId } from './managed-ids.ts';
import { fromResourceTags, hasResourceTags } from './managed-tags.ts';

const LISTING_MS = 5_000;

/** The snapshots of each disk, by its place, in the order of time. */
type Listing = ReadonlyMap<string, readonly TaggedSnapshot[]>;

export interface SnapshotListings {
  of(subscriptionId: string, resourceGroup: string, look?: Look): Promise<Listing>;
  /** This process has taken or deleted a snapshot: the next look is a new one. */
  forget(): void;
}

/** `now` are milliseconds of a clock that only goes forward. */
export function snapshotListings(client: Pick<ManagedClient, 'snapshotsIn'>, now: () => number): SnapshotListings {
  const listings = new Map<string, { listing: Promise<Listing>; untilMs: number }>();
  const looks = new WeakMap<Look, Map<string, Promise<Listing>>>();

  async function list(subscriptionId: string, resourceGroup: string): Promise<Listing> {
    const found = new Map<string, TaggedSnapshot[]>();
    for await (const snapshot of client.snapshotsIn(subscriptionId, resourceGroup)) {
      const url = snapshot.creationData?.sourceResourceId?.toLowerCase();
      const id = managedSnapshotIdOf(snapshot);
      if (url === undefined || id === undefined || !hasResourceTags(snapshot.tags)) continue;
      const own = found.get(url) ?? [];
      own.push({ url, id, tags: fromResourceTags(snapshot.tags ?? {}) });
      found.set(url, own);
    }
    for (const own of found.values()) own.sort((a, b) => (a.id < b.id ? -1 : 1));
    return found;
  }

  return {
    of(subscriptionId, resourceGroup, look) {
      const key = `${subscriptionId} ${resourceGroup}`.toLowerCase();
      if (look !== undefined) {
        const own = looks.get(look) ?? new Map<string, Promise<Listing>>();
        looks.set(look, own);
        const listing = own.get(key) ?? list(subscriptionId, resourceGroup);
        own.set(key, listing);
        listing.catch(() => own.delete(key));
        return listing;
      }
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
