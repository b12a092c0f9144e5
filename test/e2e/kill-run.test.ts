import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QueueServiceClient } from '@azure/storage-queue';
import type { PageBlobClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ComputeState } from '../../local/compute/store.ts';
import type { JobRow, PointRow } from '../../shared/catalog/catalog.ts';
import { managedSnapshotId } from '../../shared/disk/managed-ids.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { FOOTER_BYTES } from '../../shared/domain/vhd-footer.ts';
import { QUEUES } from '../../shared/queue/steps.ts';
import { ENDED } from '../../shared/services/jobs.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { readPoints } from '../../shared/services/projection.ts';
import { Random } from '../simulation/random.ts';
import {
  blobOfManaged,
  containerOf,
  dailyPolicy,
  GROUP,
  itemOf,
  LOCATION,
  makeDisk,
  makeManagedDisk,
  makeVm,
  VM_GROUP,
} from '../support/arm-platform.ts';
import { type DiskImage, differences, filled, imageOf, noise } from '../support/disk-image.ts';
import { type Fleet, startFleet } from '../support/fleet.ts';
import { Killer, type Phase } from '../support/killer.ts';
import { platformPorts } from '../support/platform-ports.ts';
import { leftovers } from '../support/vault-map.ts';

/*
 * Nights of three VMs, one of them with managed disks, on a platform with two Functions hosts, both of which are killed again and again in
 * the middle of what they do: SIGKILL, no warning. First the kills, until every phase was hit as often as the table wants; what is asserted then is
 * only what must always be so. Then they stop, nights go on, and in the end every job has ended, every point restores exactly, managed
 * disks as such, and nothing is left over: no object, no snapshot, no disk that is not finished, no access that outlives its time.
 *
 * STRATA_KILL_SEED repeats the choice of what is written, restored and killed; which instruction a kill meets no seed can repeat.
 */

const PHASES: readonly Phase[] = [
  { name: 'snapshot', steps: ['take-snapshot'], kills: 4 },
  { name: 'transfer', steps: ['plan-transfer', 'transfer-unit'], kills: 7 },
  { name: 'commit', steps: ['commit'], kills: 4 },
  { name: 'merge', steps: ['plan-merge', 'merge-unit'], kills: 5 },
  { name: 'compaction', steps: ['plan-compaction', 'compact-unit'], kills: 3 },
  { name: 'clean-up', steps: ['clean-vault', 'clean-item', 'reclaim'], kills: 4 },
  { name: 'sweep', steps: ['sweep-item'], kills: 3 },
  { name: 'verify', steps: ['verify-item', 'plan-verify', 'verify-unit', 'finish-verify'], kills: 3 },
  { name: 'restore', steps: ['plan-restore', 'restore-unit', 'finish-restore'], kills: 5 },
];
const LEAST_KILLS = 32;

const SEED = Number(process.env['STRATA_KILL_SEED'] ?? '20261122');
const SETTINGS = {
  STRATA_LOG: 'information',
  // Every unit is a message of its own; what a merge has left goes at once, what a kill has left a night after it was found.
  STRATA_ON_THE_SPOT_MIB: '0',
  STRATA_SWEEP_GRACE_SECONDS: '3600',
  STRATA_DELETE_GRACE_SECONDS: '0',
};
const GIB = 2 ** 30;
const MIB = 2 ** 20;
const BLOCK = 16_384;
/** Rewritten for the most part every night, so that what merges leave of its packs is worth a compaction. */
const BUSY = { offset: GIB + 64 * MIB, bytes: 6 * MIB };
const VAULT = 'kill-vault';
const VMS = ['kill1', 'kill2', 'kill3'];
/** Its disks are managed ones, and so are those that its points are restored to. */
const MANAGED = 'kill3';
const RESTORED_GROUP = 'restored-rg';
/** The longest that access may be open when nobody works any more: that to snapshots, which is asked for a quarter of an hour at a time. */
const MOST_ACCESS_MS = 900_000;
const TARGET = 'stratadisks2';
const MOST_NIGHTS = 20;
/** Waiting ends with an error after this; nothing is decided by how long it took. */
const DEADLINE_MS = 300_000;
const CLOCK_STEP_MS = 4 * 3_600_000;
/** Nothing has happened for so long: the clock goes on to the next look at jobs without a sign of life. */
const SILENCE_MS = 1_000;

interface Machine {
  readonly name: string;
  /** The page blobs of its disks, OS disk first, as a guest writes them. */
  readonly disks: readonly PageBlobClient[];
  /** What the disks held when the point was taken. */
  readonly images: Map<PointId, DiskImage[]>;
}

describe('hosts that are killed in the middle of everything', () => {
  const random = new Random(SEED);
  const killer = new Killer(PHASES, LEAST_KILLS, random, (pid) => fleet?.victim(pid));
  let fleet: Fleet | undefined;
  let ports: Ports;
  let queues: QueueServiceClient;
  const machines: Machine[] = [];

  beforeAll(async () => {
    const started = await startFleet(SETTINGS, killer.log.hear);
    const { platform } = started;
    ports = platformPorts(platform.dataDir);
    const { account, key, queue } = platform.endpoints.storage[0]!;
    queues = QueueServiceClient.fromConnectionString(
      `DefaultEndpointsProtocol=http;AccountName=${account};AccountKey=${key};QueueEndpoint=${queue};`,
    );
    await platform.vaults().vaults.createOrUpdate(GROUP, VAULT, vaultBody).pollUntilDone();
    const client = platform.backup();
    await client.protectionPolicies.createOrUpdate(VAULT, GROUP, 'nightly', { properties: dailyPolicy(2) });
    for (const [i, name] of VMS.entries()) {
      const isManaged = name === MANAGED;
      const make = async (disk: string, sizeBytes: number, pages: { offset: number; bytes: Buffer }[]) => {
        if (!isManaged) {
          const account = disk === 'os' ? 'stratadisks1' : 'stratadisks2';
          const blob = await makeDisk(platform, account, `${name}-${disk}.vhd`, sizeBytes, pages);
          return { place: blob.url, blob };
        }
        const { id, blob } = await makeManagedDisk(platform, `${name}-${disk}`, Math.floor(sizeBytes / GIB));
        for (const { offset, bytes } of pages) await blob.uploadPages(bytes, offset, bytes.byteLength);
        return { place: id, blob };
      };
      const os = await make('os', isManaged ? GIB : GIB + 512, [
        { offset: 0, bytes: filled(2 ** 20, i) },
        ...(isManaged ? [] : [{ offset: GIB, bytes: filled(512, i) }]),
      ]);
      const data = await make('data', 3 * GIB, [
        { offset: GIB - 2 ** 18, bytes: filled(2 ** 19, i + 10) },
        { offset: BUSY.offset, bytes: noise(BUSY.bytes / 2, `${i}`) },
        { offset: BUSY.offset + BUSY.bytes / 2, bytes: noise(BUSY.bytes / 2, `${i} more`) },
        { offset: 3 * GIB - 4096, bytes: filled(4096, i + 20) },
      ]);
      const disks = [os.blob, data.blob];
      const vmId = await makeVm(platform, name, { os: os.place, data: [{ lun: 1, url: data.place }] });
      await client.protectedItems.createOrUpdate(VAULT, GROUP, 'Azure', containerOf(name), itemOf(name), {
        properties: {
          protectedItemType: 'Microsoft.Compute/virtualMachines',
          sourceResourceId: vmId,
          policyId: `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}/backupPolicies/nightly`,
        },
      });
      machines.push({ name, disks, images: new Map() });
    }
    fleet = started;
  });
  afterAll(async () => {
    await killer.stop();
    await fleet?.stop();
  });

  const vaultBody = { location: LOCATION, sku: { name: 'Standard' }, properties: {} };

  /** Asks until it is answered: the host that answers may be dying or starting. */
  async function ask(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
    for (const deadline = Date.now() + DEADLINE_MS; Date.now() < deadline; await sleep(100)) {
      const answer = await fleet!.platform.call(method, path, body).catch(() => undefined);
      if (answer !== undefined && answer.status !== 503) return answer;
    }
    throw new Error(`${method} ${path} is not answered`);
  }

  async function now(): Promise<number> {
    return Date.parse(((await ask('GET', '/local/clock')).body as { now: string }).now);
  }

  /** In small steps: a host that is killed on the way has run the timers of those before. */
  async function moveClockTo(timeMs: number): Promise<void> {
    for (let at = await now(); at < timeMs; at = await now())
      await ask('POST', '/local/clock', { now: new Date(Math.min(timeMs, at + CLOCK_STEP_MS)).toISOString() });
  }

  /** The next time that it is so many minutes after midnight. */
  async function next(minuteOfDay: number): Promise<number> {
    const from = await now();
    const day = 86_400_000;
    const today = Math.floor(from / day) * day + minuteOfDay * 60_000;
    return today > from ? today : today + day;
  }

  async function openJobs(): Promise<number> {
    let open = 0;
    for await (const _ of ports.catalog.openJobs.listAll()) open++;
    return open;
  }

  async function visibleMessages(): Promise<number> {
    const peeked = await Promise.all(
      QUEUES.map((name) =>
        queues
          .getQueueClient(name)
          .peekMessages()
          .catch(() => undefined),
      ),
    );
    return peeked.reduce((sum, answer) => sum + (answer?.peekedMessageItems.length ?? 0), 0);
  }

  /** Waits until all jobs have ended and nothing more is under way; what lost its messages is found by the watch. */
  async function settle(): Promise<void> {
    let events = -1;
    let since = performance.now();
    let calm = 0;
    for (const deadline = Date.now() + DEADLINE_MS; Date.now() < deadline; await sleep(100)) {
      if (events !== killer.log.events) [events, since, calm] = [killer.log.events, performance.now(), 0];
      if (killer.log.running().length > 0) continue;
      if ((await openJobs()) > 0) {
        if (performance.now() - since < SILENCE_MS) continue;
        await moveClockTo((await now()) + 16 * 60_000);
        since = performance.now();
      } else if ((await visibleMessages()) === 0 && ++calm === 2) return;
    }
    throw new Error(`seed ${SEED}: jobs do not end\n${killer.table()}`);
  }

  /** What the VMs do by day: rewrites, new data over a region's end, clears. */
  async function write(): Promise<void> {
    for (const { disks } of machines) {
      const [os, data] = disks as [PageBlobClient, PageBlobClient];
      const seed = random.between(1, 200);
      await os.uploadPages(filled(3 * BLOCK, seed), 512 * seed, 3 * BLOCK);
      await os.clearPages(64 * BLOCK - 512 * seed, 2 * BLOCK);
      await data.uploadPages(filled(8 * BLOCK, seed + 1), GIB - 4 * BLOCK, 8 * BLOCK);
      await data.uploadPages(filled(BLOCK, seed + 2), 2 * GIB + BLOCK * (seed % 7), BLOCK);
      const at = BUSY.offset + random.between(0, 4) * (MIB / 2);
      await data.uploadPages(noise(4 * MIB, `${seed}`), at, 4 * MIB);
    }
  }

  async function containerName(): Promise<string> {
    for await (const { row } of ports.catalog.vaults.listAll()) return row.containerName;
    throw new Error('there is no vault');
  }

  async function pointsOf({ name }: Machine): Promise<PointRow[]> {
    for await (const { row: item } of ports.catalog.items.listAll())
      if (item.vmName === name) return readPoints(ports, pointsPartition(await containerName(), item.itemId));
    throw new Error(`${name} is not protected`);
  }

  async function startRestore(machine: Machine, point: string): Promise<void> {
    const { subscriptionId } = fleet!.platform.endpoints;
    const vault = `/subscriptions/${subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}`;
    const path = `${vault}/backupFabrics/Azure/protectionContainers/${containerOf(machine.name)}/protectedItems/${itemOf(machine.name)}/recoveryPoints/${point}/restore?api-version=2025-02-01`;
    const answer = await ask('POST', path, {
      properties: {
        objectType: 'IaasVMRestoreRequest',
        recoveryPointId: point,
        recoveryType: 'RestoreDisks',
        storageAccountId: `/subscriptions/${subscriptionId}/resourceGroups/strata-local/providers/Microsoft.Storage/storageAccounts/${TARGET}`,
        region: LOCATION,
        ...(machine.name === MANAGED && { targetResourceGroupId: groupId(), restoreWithManagedDisks: true }),
      },
    });
    // A point may have expired meanwhile, and is being merged away.
    if (answer.status !== 202 && !JSON.stringify(answer.body).includes('UserErrorRecoveryPointLeaving'))
      throw new Error(`the restore is not accepted: ${answer.status} ${JSON.stringify(answer.body)}`);
  }

  /** What is there stays. */
  async function stopProtection({ name }: Machine): Promise<void> {
    const { subscriptionId } = fleet!.platform.endpoints;
    const path = `/subscriptions/${subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}/backupFabrics/Azure/protectionContainers/${containerOf(name)}/protectedItems/${itemOf(name)}?api-version=2025-02-01`;
    const answer = await ask('PUT', path, {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        protectionState: 'ProtectionStopped',
        sourceResourceId: `/subscriptions/${subscriptionId}/resourceGroups/${VM_GROUP}/providers/Microsoft.Compute/virtualMachines/${name}`,
      },
    });
    if (answer.status >= 300) throw new Error(`protection is not stopped: ${JSON.stringify(answer.body)}`);
  }

  async function jobs(): Promise<JobRow[]> {
    const found: JobRow[] = [];
    for await (const { row } of ports.catalog.jobs.listAll()) found.push(row);
    return found;
  }

  /** What is in the vault's container that the newest records do not lead to; throws where something that they name is missing. */
  async function leftInVault(): Promise<string[]> {
    const container = fleet!.platform.blobs('devstoreaccount1').getContainerClient(await containerName());
    const blobs = new Map<string, { body: Buffer }>();
    for await (const { name } of container.listBlobsFlat())
      blobs.set(name, { body: await container.getBlobClient(name).downloadToBuffer() });
    const left: string[] = [];
    for await (const { row } of ports.catalog.items.listAll()) left.push(...leftovers(blobs, row.itemId));
    return left;
  }

  const groupId = (): string =>
    `/subscriptions/${fleet!.platform.endpoints.subscriptionId}/resourceGroups/${RESTORED_GROUP}`;

  /** What is left of access and of uploads to managed disks. */
  async function leftOfManagedDisks(): Promise<string[]> {
    const { compute, dataDir } = fleet!.platform;
    const left: string[] = [];
    for await (const { name, diskState, tags = {} } of compute.disks.listByResourceGroup(RESTORED_GROUP))
      if (diskState !== 'Unattached' || Object.keys(tags).length > 0)
        left.push(`${name} is ${diskState}, ${JSON.stringify(tags)}`);
    const { disks, snapshots } = JSON.parse(await readFile(join(dataDir, 'compute.json'), 'utf8')) as ComputeState;
    for (const { name, access } of [...Object.values(disks), ...Object.values(snapshots)])
      if (access !== undefined && access.expiresAtMs > Date.now() + MOST_ACCESS_MS)
        left.push(`${name} is open for too long`);
    return left;
  }

  /** Snapshots that no point owns, and those that a point should have and has not. */
  async function snapshotDifferences(): Promise<string[]> {
    const owned = new Set<string>();
    for (const machine of machines) {
      for (const { set, instant } of await pointsOf(machine))
        if (instant === 'Valid') for (const { url, snapshot } of set.disks) owned.add(`${url}?snapshot=${snapshot}`);
    }
    const found = new Set<string>();
    for (const account of ['stratadisks1', 'stratadisks2']) {
      const container = fleet!.platform.blobs(account).getContainerClient('vhds');
      for await (const { name, snapshot } of container.listBlobsFlat({ includeSnapshots: true }))
        if (snapshot !== undefined && snapshot !== '')
          found.add(`${container.getBlobClient(name).url}?snapshot=${snapshot}`);
    }
    for await (const { id, timeCreated, creationData } of fleet!.platform.compute.snapshots.list())
      found.add(`${creationData!.sourceResourceId!.toLowerCase()}?snapshot=${managedSnapshotId(timeCreated!, id!)}`);
    return [...[...owned].filter((each) => !found.has(each)), ...[...found].filter((each) => !owned.has(each))];
  }

  /** A backup on demand of each VM, to be kept for a year. */
  async function backUpNow(): Promise<void> {
    const { subscriptionId, functionKey } = fleet!.platform.endpoints;
    await write();
    const before = await images();
    const expiry = new Date((await now()) + 365 * 86_400_000).toISOString();
    for (const { name } of machines) {
      const answer = await ask('POST', `/api/backup-now?code=${encodeURIComponent(functionKey)}`, {
        vaultId: `/subscriptions/${subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}`,
        vmId: `/subscriptions/${subscriptionId}/resourceGroups/${VM_GROUP}/providers/Microsoft.Compute/virtualMachines/${name}`,
        expiry,
      });
      // Locked: the answer of the host that has begun it was lost, and it was asked once more.
      if (answer.status !== 202 && !JSON.stringify(answer.body).includes('Locked'))
        throw new Error(`the backup is not accepted: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
    await settle();
    await remember(before);
  }

  const images = () =>
    Promise.all(machines.map(({ name, disks }) => Promise.all(disks.map((disk) => imageOfDisk(name, disk)))));

  /** Without the footer that Compute keeps behind a managed disk. */
  async function imageOfDisk(machine: string, blob: PageBlobClient): Promise<DiskImage> {
    const image = await imageOf(blob);
    if (machine !== MANAGED) return image;
    const sizeBytes = (await blob.getProperties()).contentLength! - FOOTER_BYTES;
    return new Map([...image].filter(([block]) => block < sizeBytes / BLOCK));
  }

  /** The disks that a restore has made, OS disk first. */
  async function disksOf(job: JobRow): Promise<PageBlobClient[]> {
    const container = targets().getContainerClient(job.restore!.containerUrl.split('/').at(-1)!);
    if (job.vmName !== MANAGED)
      return [`${job.vmName}-os.vhd`, `${job.vmName}-d1.vhd`].map((name) => container.getPageBlobClient(name));
    const { platform } = fleet!;
    const config = container.getBlobClient(job.bag['Config Blob Name']!);
    const { disks } = JSON.parse((await config.downloadToBuffer()).toString()) as {
      disks: { lun?: number; managedDiskId: string }[];
    };
    const inOrder = disks.toSorted((a, b) => (a.lun ?? -1) - (b.lun ?? -1));
    return Promise.all(
      inOrder.map(async ({ managedDiskId }) => {
        const { uniqueId } = await platform.compute.disks.get(RESTORED_GROUP, managedDiskId.split('/').at(-1)!);
        return blobOfManaged(platform, uniqueId!);
      }),
    );
  }

  /** Points that are new have been taken of these images. */
  async function remember(taken: readonly DiskImage[][]): Promise<void> {
    for (const [i, machine] of machines.entries()) {
      for (const { point } of await pointsOf(machine))
        if (!machine.images.has(point)) machine.images.set(point, taken[i]!);
    }
  }

  /** From one evening to the next: backups at 1:30, cleanup and merges at 4:15, sweep at 5:45, restores in between. */
  async function night(): Promise<void> {
    await write();
    const before = await images();
    const inHaste = random.chance(0.5);
    const readable = machines.flatMap((machine) => [...machine.images.keys()].map((point) => ({ machine, point })));
    await moveClockTo(await next(90));
    if (readable.length > 0) {
      const { machine, point } = random.pick(readable);
      const wanted = (await pointsOf(machine)).find((row) => row.point === point);
      if (wanted !== undefined) await startRestore(machine, point);
    }
    if (!inHaste) await settle();
    await moveClockTo(await next(255));
    if (!inHaste) await settle();
    await moveClockTo(await next(345));
    await settle();
    await remember(before);
  }

  it('goes on through at least thirty kills, some in each phase', async () => {
    const began = performance.now();
    let nights = 0;
    try {
      while (!killer.isDone && nights < MOST_NIGHTS) {
        await night();
        if (nights % 2 === 1) await backUpNow();
        nights++;
      }
    } finally {
      await killer.stop();
    }
    await fleet!.whole();
    const seconds = Math.round((performance.now() - began) / 1000);
    console.log(`seed ${SEED}: ${nights} nights in ${seconds} s, ${killer.table()}`);
    expect(killer.kills.length, `kills, seed ${SEED}`).toBeGreaterThanOrEqual(LEAST_KILLS);
    for (const phase of PHASES) expect(killer.hits(phase), `${phase.name}, seed ${SEED}`).toBeGreaterThan(0);
  });

  it('ends every job, and sweeps away all that the kills have left', async () => {
    for (let nights = 0; nights < 2; nights++) await night();
    // Without new work: a leap of the clock makes the watch send units twice, and what a twin writes is only marked by the same night's sweep.
    for (const machine of machines) await stopProtection(machine);
    for (let sweeps = 0; sweeps < 2; sweeps++) {
      await moveClockTo(await next(345));
      await settle();
    }
    const left = [...(await leftInVault()), ...(await snapshotDifferences()), ...(await leftOfManagedDisks())];
    expect(left, `seed ${SEED}`).toEqual([]);
    const canGiveWay = new Set(['Merge', 'Compact']);
    const outcomes = (await jobs())
      .filter(({ operation, status }) => status !== 'Completed' && !(canGiveWay.has(operation) && ENDED.has(status)))
      .map(({ operation, status, errors }) => ({ operation, status, errors }));
    expect(outcomes, `seed ${SEED}`).toEqual([]);
  });

  it('restores every point exactly, as did the restores that were hit', async () => {
    for (const machine of machines) for (const { point } of await pointsOf(machine)) await startRestore(machine, point);
    await settle();
    const restores = (await jobs()).filter(({ operation }) => operation === 'Restore');
    for (const job of restores) {
      const machine = machines.find(({ name }) => name === job.vmName)!;
      const restored = await Promise.all((await disksOf(job)).map((disk) => imageOfDisk(machine.name, disk)));
      const wanted = machine.images.get(job.point!);
      const differing = restored.map((image, i) => differences(image, wanted?.[i]));
      expect(differing, `blocks of point ${job.point} of ${job.vmName}, seed ${SEED}`).toEqual([[], []]);
    }
    for (const machine of machines) {
      const restored = new Set(restores.map(({ point }) => point));
      const points = await pointsOf(machine);
      expect(points.length).toBeGreaterThan(1);
      expect(points.filter(({ point }) => !restored.has(point))).toEqual([]);
    }
    expect(await leftOfManagedDisks()).toEqual([]);
    const made = await Array.fromAsync(fleet!.platform.compute.disks.listByResourceGroup(RESTORED_GROUP));
    expect(made).toHaveLength(2 * restores.filter(({ vmName }) => vmName === MANAGED).length);
    const wanted = new Set(['vhds', ...restores.map(({ restore }) => restore!.containerUrl.split('/').at(-1)!)]);
    const containers: string[] = [];
    for await (const { name } of targets().listContainers()) containers.push(name);
    // A probe of the storage that was killed leaves 64 KiB that say by their name what they are; Azure itself is not probed so.
    expect(containers.filter((name) => !wanted.has(name) && !name.startsWith('strata-probe-'))).toEqual([]);
  });

  const targets = () => fleet!.platform.blobs(TARGET);
});
