import { createHash } from 'node:crypto';
import {
  type Catalog,
  type JobRow,
  type PointRow,
  itemRow,
  jobRow,
  markRow,
  openJobRow,
  pointRow,
  policyRow,
  unitRow,
  vaultRow,
} from '../../shared/catalog/catalog.ts';
import { operationRow } from '../../shared/catalog/operation-row.ts';
import type { JobId, PointId } from '../../shared/domain/ids.ts';
import type { BackupPolicy } from '../../shared/domain/policy.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { cleanUp } from '../../shared/services/clean-up.ts';
import { Chain } from '../../shared/services/chain.ts';
import { readJob } from '../../shared/services/jobs.ts';
import { itemKey, pointsPartition, vaultKey } from '../../shared/services/keys.ts';
import { putPolicy } from '../../shared/services/policies.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { readPoints } from '../../shared/services/projection.ts';
import { protect } from '../../shared/services/protection.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { giveUp, runStep } from '../../shared/services/run-step.ts';
import { watchJobs } from '../../shared/services/watch.ts';
import { sweep } from '../../shared/services/sweep.ts';
import { putVault } from '../../shared/services/vaults.ts';
import { memoryTable } from './memory-catalog.ts';
import { memoryCompute } from './memory-compute.ts';
import { type MemoryDisksOptions, memoryDisks } from './memory-disks.ts';
import { type MemoryQueue, memoryQueue } from './memory-queue.ts';
import { memoryVault } from './memory-vault.ts';

const SUBSCRIPTION = '11111111-2222-3333-4444-555555555555';
const GROUP = 'app';
const ADDRESS = { subscriptionId: SUBSCRIPTION, resourceGroup: 'bk', vault: 'v1' };

export const DAY_MS = 86_400_000;
export const VAULT = vaultKey(ADDRESS);

/** A clock that stands until it is moved. */
export class ManualClock {
  #nowMs = Date.UTC(2026, 0, 1, 12);
  now(): number {
    return this.#nowMs;
  }
  advance(ms: number): void {
    this.#nowMs += ms;
  }
}

/** The real services over in-memory ports: one vault, one policy, as many VMs as a test makes. Nothing in it is random. */
export interface World {
  readonly ports: Ports;
  readonly clock: ManualClock;
  readonly queue: MemoryQueue;
  readonly disks: ReturnType<typeof memoryDisks>;
  readonly compute: ReturnType<typeof memoryCompute>;
  readonly vaults: ReturnType<typeof memoryVault>;
  /** Makes a VM with unmanaged disks of these sizes: the first is the OS disk, then LUN 0, 1, ... */
  createVm(name: string, sizes: readonly number[]): Promise<string[]>;
  protect(vm: string): Promise<void>;
  setPolicy(rules: Partial<BackupPolicy>): Promise<void>;
  /** Starts an on-demand backup and runs everything until nothing is left to do. */
  backup(vm: string, retainUntil?: number): Promise<JobRow>;
  /** Runs due and delayed messages until none is left, moving the clock as far as delays need. */
  drain(): Promise<void>;
  /** What the watch does after a quiet quarter of an hour, and all that follows from it. */
  watch(): Promise<void>;
  /** The daily cleanup and all that follows from it. */
  cleanUp(): Promise<void>;
  /** Two sweeps, a grace apart: what is left over after them is a leak. */
  sweep(): Promise<void>;
  points(vm: string): Promise<PointRow[]>;
  /** Restores a point and answers each disk's bytes, OS disk first. */
  restore(vm: string, point: PointId): Promise<{ job: JobRow; disks: Uint8Array[] }>;
  chain(vm: string): Promise<Chain>;
  job(id: JobId): Promise<JobRow>;
}

export interface WorldOptions {
  readonly regionBytes?: number;
  readonly diff?: MemoryDisksOptions['diff'];
  /** As the setting; default 0, so that every unit is a message. */
  readonly onTheSpotBytes?: number;
  /** Stands between the services and their ports. */
  readonly wrap?: (ports: Ports) => Ports;
  /** Stands between the handlers of messages and their ports, besides. */
  readonly wrapHandlers?: (ports: Ports) => Ports;
  /** Called when a handler threw, before its message is put back. */
  readonly onFailure?: (error: unknown) => void;
}

/** As in host.json: after so many deliveries a message is given up. */
const MOST_DELIVERIES = 5;

const same = (ports: Ports): Ports => ports;

export async function createWorld(options: WorldOptions = {}): Promise<World> {
  const {
    regionBytes = 4 * BLOCK_BYTES,
    diff = 'exact',
    wrap = same,
    wrapHandlers = same,
    onFailure,
    onTheSpotBytes = 0,
  } = options;
  const clock = new ManualClock();
  const queue = memoryQueue(clock);
  const disks = memoryDisks({ clock, diff });
  const compute = memoryCompute();
  const vaults = memoryVault();
  const catalog: Catalog = {
    vaults: memoryTable({ schema: vaultRow }),
    policies: memoryTable({ schema: policyRow }),
    items: memoryTable({ schema: itemRow }),
    points: memoryTable({ schema: pointRow }),
    jobs: memoryTable({ schema: jobRow }),
    openJobs: memoryTable({ schema: openJobRow }),
    units: memoryTable({ schema: unitRow }),
    marks: memoryTable({ schema: markRow }),
    operations: memoryTable({ schema: operationRow }),
  };
  let named = 0;
  const hex = (digits: number): string => createHash('sha256').update(`${named++}`).digest('hex').slice(0, digits);
  const ports = wrap({
    vaults,
    snapshots: disks.snapshots,
    targets: disks.targets,
    catalog,
    queue,
    compute,
    accounts: { blobEndpoint: (name) => `https://${name}.example` },
    clock,
    ids: { hex, guid: () => hex(32).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-') },
    settings: { geometry: { regionBytes }, deleteGraceSeconds: 60, sweepGraceSeconds: 3600, onTheSpotBytes },
    log: () => undefined,
  });
  const handlerPorts = wrapHandlers(ports);
  const vmId = (name: string): string =>
    `/subscriptions/${SUBSCRIPTION}/resourceGroups/${GROUP}/providers/Microsoft.Compute/virtualMachines/${name}`;
  const key = (name: string): string => itemKey(GROUP, name);

  const setPolicy = async (rules: Partial<BackupPolicy>): Promise<void> => {
    const whole = { minuteOfDay: 60, zone: 'UTC', dailyRetentionDays: 7, instantRetentionDays: 2, ...rules };
    await putPolicy(ports, VAULT, 'nightly', {}, whole);
  };
  await putVault(ports, ADDRESS, { location: 'westeurope', skuName: 'Standard', tags: {}, properties: {} });
  await setPolicy({});

  const world: World = {
    ports,
    clock,
    queue,
    disks,
    compute,
    vaults,
    setPolicy,
    async createVm(name, sizes) {
      const urls = sizes.map((_, i) => `https://disks${i % 2}.example/vhds/${name}-${i}.vhd`);
      for (const [i, url] of urls.entries()) await disks.create(url, sizes[i]!);
      compute.put({
        id: vmId(name),
        vmId: hex(32),
        name,
        resourceGroup: GROUP,
        location: 'westeurope',
        size: 'Standard_D2s_v5',
        osType: 'Linux',
        disks: urls.map((vhdUrl, i) => ({ lun: i - 1, name: `${name}-${i}`, vhdUrl, managedDiskId: undefined })),
      });
      return urls;
    },
    async protect(name) {
      await protect(ports, VAULT, { resourceId: vmId(name), resourceGroup: GROUP, vmName: name }, 'nightly');
    },
    async backup(name, retainUntil) {
      const id = await startBackup(ports, VAULT, key(name), { kind: 'onDemand', retainUntil });
      await world.drain();
      return world.job(id);
    },
    async drain() {
      for (let taken = 0; taken < 100_000; taken++) {
        const message = queue.take();
        if (message === undefined) {
          const next = queue.waiting()[0];
          if (next === undefined) return;
          clock.advance(next.dueMs - clock.now());
          continue;
        }
        try {
          await runStep(handlerPorts, message.step);
        } catch (error) {
          if (onFailure === undefined) throw error;
          onFailure(error);
          if (message.deliveries < MOST_DELIVERIES) queue.putBack(message, 10);
          else await giveUp(ports, message.step);
        }
      }
      throw new Error('the queue never becomes empty');
    },
    async watch() {
      clock.advance(20 * 60_000);
      await watchJobs(ports);
      await world.drain();
    },
    async cleanUp() {
      await cleanUp(ports);
      await world.drain();
    },
    async sweep() {
      for (let round = 0; round < 2; round++) {
        await sweep(ports);
        await world.drain();
        clock.advance((ports.settings.sweepGraceSeconds + 1) * 1000);
      }
    },
    async points(name) {
      const item = (await catalog.items.get(VAULT, key(name)))!.row;
      return readPoints(ports, pointsPartition(vaults.containerNames()[0]!, item.itemId));
    },
    async restore(name, point) {
      const id = await startRestore(ports, VAULT, key(name), point, { accountId: '/x/restored' });
      await world.drain();
      const job = await world.job(id);
      if (job.status !== 'Completed') return { job, disks: [] };
      const prefix = `${job.restore!.containerUrl}/`;
      const urls = disks.urls().filter((url) => url.startsWith(prefix) && url.endsWith('.vhd'));
      return {
        job,
        disks: await Promise.all(urls.map((url) => disks.read(url, { start: 0, end: disks.sizeBytes(url) }))),
      };
    },
    async chain(name) {
      const item = (await catalog.items.get(VAULT, key(name)))!.row;
      return new Chain(await ports.vaults.open(vaults.containerNames()[0]!), item.itemId);
    },
    async job(id) {
      const job = await readJob(ports, { vault: VAULT, jobId: id });
      if (job === undefined) throw new Error(`job ${id} has no row`);
      return job;
    },
  };
  return world;
}
