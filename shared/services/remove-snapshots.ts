import type { SetDisk } from '../catalog/catalog.ts';
import { type BackupError, type ErrorCode, isBackupError } from '../domain/errors.ts';
import { changeItem } from './items.ts';
import type { Ports } from './ports.ts';
import { latestUrls } from './url-list.ts';

/**
 * How long snapshots are tried that cannot be deleted because their account does not answer. A longer outage is rare; an account that
 * went with a decommissioned disk never answers again, and must not keep an item's points for ever.
 */
export const OUT_OF_REACH_MS = 3 * 86_400_000;

/**
 * What is answered where snapshots are out of reach. Of managed disks Compute says it: their resource group is locked, or Strata has lost
 * the right to it. A disk is unsupported when the settings no longer name its storage account.
 */
const OUT_OF_REACH: readonly ErrorCode[] = [
  'StorageUnavailable',
  'ComputeUnavailable',
  'AuthorizationFailed',
  'UserErrorUnsupportedDisk',
];

/** Whether nothing is known of the snapshots of a disk: they may be there or not, and may be in reach again some day. */
export function isOutOfReach(error: unknown): error is BackupError {
  return isBackupError(error, ...OUT_OF_REACH);
}

/** A disk whose snapshot could not be deleted. */
export interface OutOfReach {
  readonly url: string;
  readonly error: BackupError;
}

/** Deletes the snapshots of a point as far as they are in reach, and says which are not. What is gone already is fine. */
export async function removeSnapshots(
  ports: Ports,
  disks: readonly Pick<SetDisk, 'url' | 'snapshot'>[],
): Promise<OutOfReach[]> {
  const left: OutOfReach[] = [];
  for (const { url, snapshot } of disks) {
    try {
      await ports.snapshots.remove({ url, id: snapshot });
    } catch (error) {
      if (!isOutOfReach(error)) throw error;
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
