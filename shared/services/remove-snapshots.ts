import type { SetDisk } from '../catalog/catalog.ts';
import { type BackupError, isBackupError } from '../domain/errors.ts';
import { changeItem } from './items.ts';
import type { Ports } from './ports.ts';
import { latestUrls } from './url-list.ts';

/**
 * How long snapshots are tried that cannot be deleted because their account does not answer. A longer outage is rare; an account that
 * went with a decommissioned disk never answers again, and must not keep an item's points for ever.
 */
export const OUT_OF_REACH_MS = 3 * 86_400_000;

/** A disk whose snapshot could not be deleted. */
export interface OutOfReach {
  readonly url: string;
  readonly error: BackupError;
}

/** Deletes the snapshots of a point as far as their accounts answer, and says which do not. What is gone already is fine. */
export async function removeSnapshots(
  ports: Ports,
  disks: readonly Pick<SetDisk, 'url' | 'snapshot'>[],
): Promise<OutOfReach[]> {
  const left: OutOfReach[] = [];
  for (const { url, snapshot } of disks) {
    try {
      await ports.snapshots.remove({ url, id: snapshot });
    } catch (error) {
      if (!isBackupError(error, 'StorageUnavailable')) throw error;
      left.push({ url, error });
    }
  }
  return left;
}

/** Gives snapshots up to the sweep: it looks on these disks too, whenever their accounts answer again. */
export async function leaveToSweep(
  ports: Ports,
  vault: string,
  itemKey: string,
  left: readonly OutOfReach[],
): Promise<void> {
  const urls = left.map(({ url }) => url);
  for (const { url, error } of left) ports.log(`snapshots of ${url} are left to the sweep: ${error.message}`);
  await changeItem(ports, vault, itemKey, (item) => {
    const known = new Set([...item.disks.map(({ url }) => url), ...(item.formerUrls ?? [])]);
    if (urls.every((url) => known.has(url))) return undefined;
    return { ...item, formerUrls: latestUrls([...(item.formerUrls ?? []), ...urls]) };
  });
}
