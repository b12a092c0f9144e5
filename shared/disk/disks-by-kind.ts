import type { DiskSnapshots } from './disk-snapshots.ts';
import { isManagedDisk } from './managed-ids.ts';
import type { ManagedTargets } from './managed-targets.ts';
import type { RestoreTargets } from './restore-targets.ts';

/** Snapshots of disks of either kind: a VM may have both. A disk's place says what it is. */
export function snapshotsByKind(pageBlobs: DiskSnapshots, managed: DiskSnapshots): DiskSnapshots {
  const of = (url: string): DiskSnapshots => (isManagedDisk(url) ? managed : pageBlobs);
  return {
    describe: (url) => of(url).describe(url),
    take: (url, tags) => of(url).take(url, tags),
    list: (url, look) => of(url).list(url, look),
    sizeOf: (snapshot) => of(snapshot.url).sizeOf(snapshot),
    remove: (snapshot) => of(snapshot.url).remove(snapshot),
    allocated: (snapshot, window) => of(snapshot.url).allocated(snapshot, window),
    changed: (snapshot, since, window) => of(snapshot.url).changed(snapshot, since, window),
    read: (snapshot, range, into) => of(snapshot.url).read(snapshot, range, into),
    readLong: (snapshot, range, take) => of(snapshot.url).readLong(snapshot, range, take),
    probeChangeTracking: (snapshot) => of(snapshot.url).probeChangeTracking(snapshot),
  };
}

/** Restored disks of either kind. */
export function targetsByKind(pageBlobs: RestoreTargets, managed: ManagedTargets): RestoreTargets {
  const of = (url: string): ManagedTargets => (isManagedDisk(url) ? managed : pageBlobs);
  return {
    create: (target, sizeBytes, jobId, form) => of(target.url).create(target, sizeBytes, jobId, form),
    write: (target, offset, body) => of(target.url).write(target, offset, body),
    allocated: (target, window) => of(target.url).allocated(target, window),
    readBack: (url, range, into) => of(url).readBack(url, range, into),
    complete: (target) => of(target.url).complete(target),
    discard: (target, jobId) => of(target.url).discard(target, jobId),
    putText: (url, text) => pageBlobs.putText(url, text),
  };
}
