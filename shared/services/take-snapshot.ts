import type { Versioned } from '../catalog/catalog-table.ts';
import type { ItemRow, JobRow, SetDisk, SnapshotSet, VaultRow } from '../catalog/catalog.ts';
import type { DiskSnapshot, SourceDisk } from '../disk/disk-snapshots.ts';
import { type AttachedDisk, placeOf, type VirtualMachine } from '../compute/compute.ts';
import { selectDisks } from '../domain/disk-selection.ts';
import { BackupError } from '../domain/errors.ts';
import { type DiskId, type JobId, type PointId, attemptId, diskId } from '../domain/ids.ts';
import { assignDisks } from '../domain/lineage.ts';
import { snapshotTime, spreadMs } from '../disk/snapshot-time.ts';
import { TAKE_SNAPSHOT, TRANSFER } from './backup.ts';
import { holdsItem } from './holders.ts';
import { changeItem } from './items.ts';
import { type JobAddress, changeJob, readJob, withTask } from './jobs.ts';
import { ahead, forEachAtOnce } from './pipeline.ts';
import { makePointKnown } from './point-known.ts';
import type { Ports } from './ports.ts';
import { type SnapshotTags, aboutTag } from './snapshot-tags.ts';
import { latestUrls } from './url-list.ts';
import { openVault, readItem } from './vault-of.ts';
import { standInFor } from './wait-turn.ts';

/** All snapshots of a set are taken within this by the storage's clock, or the set is not one moment. */
export const SET_MS = 60_000;
const LISTINGS_IN_FLIGHT = 16;

/**
 * Takes the snapshots of all disks of a job's VM as one set, and makes the recovery point known: from here on it can be restored.
 * A set that another run has recorded stands; then this run's own is thrown away. A set that is not whole is never recorded.
 */
export async function takeSnapshot(ports: Ports, step: { vault: string; jobId: string }): Promise<void> {
  const address = { vault: step.vault, jobId: step.jobId as JobId };
  const vaultSoon = ahead(openVault(ports, address.vault));
  const seen = await ports.catalog.jobs.get(address.vault, address.jobId);
  const job = seen?.row;
  if (job?.status !== 'InProgress' || job.point === undefined) return;
  const { row: vault } = await vaultSoon;
  const set = job.set ?? (await takeSet(ports, address, seen!, job.point, vault));
  if (set === undefined) return;
  // Once the set stands on the job's row the one need not wait for the other.
  await Promise.all([
    makePointKnown(ports, address.vault, { ...job, set }, vault),
    job.set === undefined && discardStrays(ports, job, set),
  ]);
  await standInFor(ports, address, job);
  await ports.queue.send({ step: 'plan-transfer', v: 1, vault: step.vault, jobId: address.jobId });
}

async function takeSet(
  ports: Ports,
  address: JobAddress,
  seen: Versioned<JobRow>,
  point: PointId,
  vault: VaultRow,
): Promise<SnapshotSet | undefined> {
  const job = seen.row;
  const seenItem = await readItem(ports, address.vault, job.itemKey);
  const { row: item } = seenItem;
  if (!holdsItem(item, address.jobId)) {
    throw new BackupError('BMSUserErrorObjectLocked', `another backup of ${item.vmName} was first`);
  }
  const vm = await ports.compute.virtualMachine(item.vmResourceId);
  if (vm === undefined) {
    throw new BackupError('VMNotFoundV2', `the VM ${item.vmResourceId} does not exist`, { target: item.vmResourceId });
  }
  const { selected, excluded } = selectDisks(vm.disks, item.diskSelection);
  const disks = await describeDisks(ports, { ...vm, disks: selected });
  const ids = await identify(ports, address.vault, job.itemKey, seenItem, disks, excluded);
  const lacking = excluded.map(({ lun, name }) => ({ lun, name }));
  const attempt = attemptId(ports.ids.hex(16));
  const startedAt = ports.clock.now();
  const vmAsItIs = {
    id: vm.id,
    vmId: vm.vmId,
    name: vm.name,
    resourceGroup: vm.resourceGroup,
    location: vm.location,
    size: vm.size,
    osType: vm.osType,
  };
  const tags = (
    { attached: { lun, name }, source: { createdAt, managed } }: DescribedDisk,
    disk: DiskId,
  ): SnapshotTags => ({
    vault: vault.containerName,
    item: item.itemId,
    job: address.jobId,
    point,
    attempt,
    disk,
    disks: `${disks.length}`,
    about: aboutTag({
      lun,
      name,
      createdAt,
      ...(managed && { managed }),
      takenAt: startedAt,
      dueAt: job.dueAt,
      retainUntil: job.retainUntil,
      ...(lacking.length > 0 && { lacks: lacking.map((disk) => disk.lun) }),
      vm: vmAsItIs,
    }),
  });
  const beganMs = performance.now();
  const taken = await Promise.allSettled(disks.map((disk, i) => takeOne(ports, disk, ids[i]!, tags(disk, ids[i]!))));
  const failure = taken.find((result) => result.status === 'rejected');
  const whole = taken.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  // Of snapshots by two clocks it is known only that all were taken within the time that this took. No clock that can be set says it.
  const kinds = new Set(whole.map(({ disk }) => snapshotTime(disk.snapshot)?.clock));
  const spread = Math.max(
    spreadMs(whole.map(({ disk }) => disk.snapshot)),
    kinds.size > 1 ? performance.now() - beganMs : 0,
  );
  if (failure !== undefined || spread > SET_MS) {
    await discardSet(ports, disks, attempt, (await readJob(ports, address))?.set);
    throw new BackupError(
      'SnapshotSetIncomplete',
      failure === undefined
        ? 'the snapshots lie more than a minute apart'
        : `a snapshot failed: ${String(failure.reason)}`,
      { cause: failure?.reason },
    );
  }
  const set: SnapshotSet = {
    attempt,
    takenAt: startedAt,
    disks: whole.map(({ disk }) => disk),
    lacking,
    vm: vmAsItIs,
  };
  return record(ports, address, seen, set, disks);
}

async function takeOne(
  ports: Ports,
  { attached, source }: DescribedDisk,
  disk: DiskId,
  tags: SnapshotTags,
): Promise<{ disk: SetDisk }> {
  const { id } = await ports.snapshots.take(source.url, { ...tags });
  const sizeBytes = await ports.snapshots.sizeOf({ url: source.url, id });
  if (sizeBytes === undefined)
    throw new BackupError('SnapshotSetIncomplete', `the snapshot of ${attached.name} vanished`);
  const { url, createdAt, managed } = source;
  const { lun, name } = attached;
  return { disk: { disk, lun, name, url, createdAt, sizeBytes, snapshot: id, ...(managed && { managed }) } };
}

type DescribedDisk = { attached: AttachedDisk; source: SourceDisk };

async function describeDisks(ports: Ports, vm: VirtualMachine): Promise<DescribedDisk[]> {
  if (vm.disks.length === 0) {
    throw new BackupError('UserErrorVmWithoutDisks', `the VM ${vm.name} has no disks: there is nothing to back up`, {
      target: vm.id,
    });
  }
  return Promise.all(
    vm.disks.map(async (attached) => {
      const place = placeOf(attached);
      if (place === undefined) {
        throw new BackupError(
          'UserErrorUnsupportedDisk',
          `disk ${attached.name} of ${vm.name} is neither a page blob nor a managed disk`,
          { target: attached.name },
        );
      }
      return { attached, source: await ports.snapshots.describe(place) };
    }),
  );
}

/** Gives each disk its id and keeps the item's list of known disks. */
async function identify(
  ports: Ports,
  vault: string,
  key: string,
  seen: Versioned<ItemRow>,
  disks: readonly DescribedDisk[],
  excluded: readonly AttachedDisk[],
): Promise<DiskId[]> {
  const present = disks.map(({ attached: { lun, name }, source: { url, createdAt } }) => ({
    lun,
    name,
    url,
    createdAt,
  }));
  const elsewhere = new Set(excluded.flatMap((disk) => placeOf(disk) ?? []));
  let assigned: DiskId[] = [];
  const known = (item: ItemRow): ItemRow | undefined => {
    const answer = assignDisks(item.disks, present, () => diskId(ports.ids.hex(8)), elsewhere);
    assigned = answer.disks;
    if (JSON.stringify(answer.known) === JSON.stringify(item.disks)) return undefined;
    const gone = item.disks.map(({ url }) => url).filter((url) => !answer.known.some((own) => own.url === url));
    return {
      ...item,
      disks: answer.known,
      formerUrls: latestUrls([...(item.formerUrls ?? []), ...gone]),
    };
  };
  // A disk that is known stays so: only where one is new it matters what the row says by now.
  if (known(seen.row) !== undefined) await changeItem(ports, vault, key, known, seen);
  return assigned;
}

/** Under the service's names, only where a disk is left out. */
function disksInBag({ disks, lacking }: SnapshotSet): Record<string, string> {
  const names = (of: readonly { name: string }[]): string => of.map(({ name }) => name).join('; ');
  return lacking.length === 0 ? {} : { 'Backed-up disk(s)': names(disks), 'Excluded disk(s)': names(lacking) };
}

/** Records the set on the job's row, if none stands there; answers the one that stands. */
async function record(
  ports: Ports,
  address: JobAddress,
  seen: Versioned<JobRow>,
  set: SnapshotSet,
  disks: readonly DescribedDisk[],
): Promise<SnapshotSet | undefined> {
  const now = ports.clock.now();
  const begins = { status: 'InProgress', startedAt: now } as const;
  const change = (job: JobRow): JobRow | undefined =>
    job.status !== 'InProgress' || job.set !== undefined
      ? undefined
      : {
          ...job,
          set,
          bag: { ...job.bag, ...disksInBag(set) },
          tasks: withTask(
            withTask(job.tasks, TAKE_SNAPSHOT, { status: 'Completed', endedAt: now }),
            TRANSFER,
            job.waitsFor === undefined ? begins : {},
          ),
        };
  const recorded = await changeJob(ports, address, change, seen);
  const standing = recorded ?? (await readJob(ports, address));
  if (recorded === undefined) await discardSet(ports, disks, set.attempt, standing?.set);
  return standing?.status === 'InProgress' ? standing.set : undefined;
}

/**
 * Deletes the snapshots of one attempt, but none that stands in the job's set: storage that tells time to the millisecond can give
 * twins the same one.
 */
async function discardSet(
  ports: Ports,
  disks: readonly DescribedDisk[],
  attempt: string,
  standing: SnapshotSet | undefined,
): Promise<void> {
  for (const { source } of disks) {
    for await (const snapshot of ports.snapshots.list(source.url)) {
      if (snapshot.tags['attempt'] === attempt && !isIn(standing, snapshot)) await ports.snapshots.remove(snapshot);
    }
  }
}

/** Deletes what crashed or slower runs of this job have taken, once the job's set stands on its row. */
async function discardStrays(ports: Ports, job: JobRow, set: SnapshotSet): Promise<void> {
  await forEachAtOnce(set.disks, LISTINGS_IN_FLIGHT, async (disk) => {
    for await (const snapshot of ports.snapshots.list(disk.url)) {
      const isStray = snapshot.tags['job'] === job.jobId && snapshot.tags['attempt'] !== set.attempt;
      if (isStray && !isIn(set, snapshot)) await ports.snapshots.remove(snapshot);
    }
  });
}

function isIn(set: SnapshotSet | undefined, { url, id }: DiskSnapshot): boolean {
  return set?.disks.some((disk) => disk.url === url && disk.snapshot === id) ?? false;
}
