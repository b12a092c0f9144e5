import type { ItemRow, PointRow, SetDisk } from '../catalog/catalog.ts';
import type { ItemId, JobId, PointId } from '../domain/ids.ts';
import { MOST_KNOWN } from '../domain/lineage.ts';
import type { ChainRecord, Manifest, RecordPoint } from '../format/documents.ts';
import { totalsOf } from './projection.ts';
import type { PointSnapshot } from './snapshot-tags.ts';
import { latestUrls } from './url-list.ts';

/** Stands for the job of a point whose job is known to nobody any more. */
const NO_JOB = '00000000-0000-0000-0000-000000000000' as JobId;

const LOST_TRANSFER =
  'its transfer to the vault was lost with the tables; it stays in the snapshot tier and ends with its snapshots';

/** The row of a vault point. It is in the snapshot tier too if all snapshots that its manifest names are among `living`. */
export function vaultPointRow(
  record: ChainRecord,
  entry: RecordPoint,
  manifest: Manifest,
  living: readonly PointSnapshot[],
): PointRow {
  const ms = (iso: string | null): number | undefined => (iso === null ? undefined : Date.parse(iso));
  // By URL and id alone: storage that tells time coarsely gives twins one snapshot, with the tags of either.
  const own = living.filter(
    ({ url, id, point }) =>
      point === manifest.point && manifest.disks.some((disk) => disk.url === url && disk.snapshot.id === id),
  );
  return {
    point: manifest.point,
    itemId: manifest.item,
    jobId: own[0]?.job ?? NO_JOB,
    time: Date.parse(manifest.time),
    trigger: manifest.trigger,
    dueAt: ms(manifest.dueAt),
    retainUntil: ms(manifest.retainUntil),
    set: {
      attempt: manifest.disks[0]?.snapshot.attempt ?? manifest.attempt,
      takenAt: Date.parse(manifest.time),
      disks: manifest.disks.map(({ disk, lun, name, url, createdAt, sizeBytes, snapshot, managed }) => ({
        disk,
        lun,
        name,
        url,
        createdAt,
        sizeBytes,
        snapshot: snapshot.id,
        ...(managed && { managed }),
      })),
      lacking: manifest.lacking,
      vm: manifest.vm,
    },
    instant: own.length === manifest.disks.length ? 'Valid' : 'Deleted',
    vault: 'Valid',
    sizeBytes: manifest.disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    ...totalsOf(manifest),
    manifest: entry.manifest,
    seq: record.seq,
  };
}

/** The row of a point that has only its snapshots. `sizes` are those of the set's disks. */
export function snapshotPointRow(item: ItemId, set: readonly PointSnapshot[], sizes: readonly number[]): PointRow {
  const { point, job, attempt, about } = set[0]!;
  const disks: SetDisk[] = set
    .map(({ disk, url, id, about: { lun, name, createdAt, managed } }, i) => ({
      disk,
      lun,
      name,
      url,
      createdAt,
      sizeBytes: sizes[i]!,
      snapshot: id,
      ...(managed && { managed }),
    }))
    .sort((a, b) => a.lun - b.lun);
  return {
    point,
    itemId: item,
    jobId: job,
    time: about.takenAt,
    trigger: about.dueAt === undefined ? 'onDemand' : 'scheduled',
    dueAt: about.dueAt,
    retainUntil: about.retainUntil,
    // Their names are not in the tags: those of 64 disks would have no room there.
    set: {
      attempt,
      takenAt: about.takenAt,
      disks,
      lacking: (about.lacks ?? []).map((lun) => ({ lun, name: '' })),
      vm: about.vm,
    },
    instant: 'Valid',
    vault: 'None',
    note: LOST_TRANSFER,
    sizeBytes: disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    dataBlocks: 0,
    clearedBlocks: 0,
    storedBytes: 0,
    seq: 0,
  };
}

/** The row of an item that has none: stopped, with the disks that its points have had, those seen last at the end. */
export function itemRowOf(
  record: ChainRecord,
  points: readonly PointRow[],
  lastPoint: PointId | undefined,
  now: number,
): ItemRow {
  const newest = points.at(-1);
  const { known, formerUrls } = disksOf(points);
  return {
    itemId: record.item,
    vmResourceId: record.vm.id,
    vmName: record.vm.name,
    resourceGroup: record.vm.resourceGroup,
    policyName: '',
    protectionState: 'ProtectionStopped',
    protectedAt: points[0]?.time ?? now,
    scheduledUntil: now,
    lastPoint,
    diskSelection: selectionOf(newest),
    disks: known,
    formerUrls,
    pins: [],
    lastBackupAt: newest?.time,
    lastBackupStatus: newest === undefined ? '' : 'Completed',
  };
}

/** What the newest point left out is left out again when protection is resumed: which kind of list said so nobody knows any more. */
function selectionOf(newest: PointRow | undefined): ItemRow['diskSelection'] {
  const luns = (newest?.set.lacking ?? []).map(({ lun }) => lun).sort((a, b) => a - b);
  return luns.length === 0 ? undefined : { luns, isInclusion: false };
}

function disksOf(points: readonly PointRow[]): { known: ItemRow['disks']; formerUrls: string[] } {
  const known = new Map<string, ItemRow['disks'][number]>();
  const urls = new Set<string>();
  for (const { set } of points) {
    for (const { disk, lun, name, url, createdAt } of set.disks) {
      known.delete(disk); // so that it comes to the end
      known.set(disk, { disk, lun, name, url, createdAt });
      urls.add(url);
    }
  }
  const kept = [...known.values()].slice(-MOST_KNOWN);
  const former = [...urls].filter((url) => !kept.some((disk) => disk.url === url));
  return { known: kept, formerUrls: latestUrls(former) };
}

/** Where an item's snapshots may be: on the disks that its points have had. */
export function urlsOf(manifests: readonly Manifest[]): string[] {
  return [...new Set(manifests.flatMap(({ disks }) => disks.map(({ url }) => url)))];
}
