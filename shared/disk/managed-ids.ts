import { BackupError } from '../domain/errors.ts';

/** A resource of Compute by the parts of its id. */
export interface ManagedResource {
  readonly subscriptionId: string;
  readonly resourceGroup: string;
  readonly name: string;
}

const FORM =
  /^\/subscriptions\/([^/]+)\/resourceGroups\/([^/]+)\/providers\/Microsoft\.Compute\/(disks|snapshots)\/([^/]+)$/i;

/** Whether the place of a disk is a managed disk's resource id rather than a page blob's URL. */
export function isManagedDisk(place: string): boolean {
  return place.startsWith('/');
}

/** @throws BackupError UserErrorUnsupportedDisk */
export function diskResource(place: string): ManagedResource {
  return resource(place, place, 'disks');
}

/** Snapshots of managed disks are named by the time that Compute gave them and their resource id, so that ids sort in time. */
export function managedSnapshotId(createdAt: Date, resourceId: string): string {
  return `${createdAt.toISOString()}${resourceId.toLowerCase()}`;
}

/** The snapshot's own resource. @throws BackupError UserErrorUnsupportedDisk */
export function snapshotResource(snapshotId: string): ManagedResource {
  return resource(snapshotId, snapshotId.slice(snapshotId.indexOf('/')), 'snapshots');
}

function resource(shown: string, id: string, type: 'disks' | 'snapshots'): ManagedResource {
  const [, subscriptionId, resourceGroup, kind, name] = FORM.exec(id) ?? [];
  if (subscriptionId !== undefined && resourceGroup !== undefined && name !== undefined && kind?.toLowerCase() === type)
    return { subscriptionId, resourceGroup, name };
  const expected = `/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.Compute/${type}/<name>`;
  throw new BackupError('UserErrorUnsupportedDisk', `${shown} is no managed disk's: expected ${expected}`, {
    target: shown,
  });
}

/** The place of a managed disk, in one spelling: ARM does not regard case, and answers now this and now that. */
export function managedDiskPlace({ subscriptionId, resourceGroup, name }: ManagedResource): string {
  return `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}/providers/Microsoft.Compute/disks/${name}`.toLowerCase();
}
