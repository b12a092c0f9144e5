import type { JobRow, PointRow } from '../../shared/catalog/catalog.ts';
import type { JobId, PointId } from '../../shared/domain/ids.ts';
import type { BackupPolicy } from '../../shared/domain/policy.ts';
import type { Step } from '../../shared/queue/steps.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { Chain } from '../../shared/services/chain.ts';
import { readJob } from '../../shared/services/jobs.ts';
import { itemKey, pointsPartition, vaultKey } from '../../shared/services/keys.ts';
import { putPolicy } from '../../shared/services/policies.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { readPoints } from '../../shared/services/projection.ts';
import { protect } from '../../shared/services/protection.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { giveUp, runStep } from '../../shared/services/run-step.ts';
import { openVault, readItem } from '../../shared/services/vault-of.ts';
import { watchJobs } from '../../shared/services/watch.ts';
import { sweep } from '../../shared/services/sweep.ts';
import { putVault } from '../../shared/services/vaults.ts';
import type { MemoryCompute } from './memory-compute.ts';

export const SUBSCRIPTION = '11111111-2222-3333-4444-555555555555';
export const GROUP = 'app';
export const ADDRESS = { subscriptionId: SUBSCRIPTION, resourceGroup: 'bk', vault: 'v1' };

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

/** A message in a worker's hands. */
export interface Delivery {
  readonly step: Step;
  /** How often it has been taken, this time included. */
  readonly deliveries: number;
  /** Its handler has done with it. */
  done(): void | Promise<void>;
  /** Its handler has failed or died: it comes again. */
  putBack(): void | Promise<void>;
}

/** What a life stands on: the ports, and the hands of whoever owns disks, machines and queues. */
export interface Ground {
  /** For what users and timers do. */
  readonly ports: Ports;
  /** For what handlers of messages do. */
  readonly handlerPorts: Ports;
  readonly clock: ManualClock;
  readonly compute: MemoryCompute;
  /** The account that restores go to. */
  readonly targetAccount: string;
  /** A new empty disk, the `index`th of that VM; resolves its URL. */
  createDisk(vm: string, index: number, sizeBytes: number): Promise<string>;
  /** All bytes of a disk. */
  readDisk(url: string): Promise<Uint8Array>;
  /** The URLs of the disks in a container, by its URL, the OS disk first. */
  disksIn(containerUrl: string): Promise<string[]>;
  /** Takes the next message, moving the clock as far as it is delayed; undefined when there is none at all. */
  next(): Promise<Delivery | undefined>;
}

/** The real services at work: one vault, one policy, as many VMs as a test makes. Nothing in it is random. */
export interface Life {
  readonly ports: Ports;
  readonly clock: ManualClock;
  readonly compute: MemoryCompute;
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
  /** Lets the watch look until every job has ended. @throws when one does not */
  settle(): Promise<void>;
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

/** As in host.json: after so many deliveries a message is given up. */
const MOST_DELIVERIES = 5;
/** A job whose handlers die needs the watch a few times at most. */
const MOST_LOOKS = 4;

/** Who looks on while messages are handled. */
export interface Onlooker {
  /** Called before a step is handled. */
  readonly onStep?: ((step: Step) => void) | undefined;
  /** Called when a handler threw, before its message is put back; without it such a failure is the test's. */
  readonly onFailure?: ((error: unknown) => void) | undefined;
}

/** Begins a life: the vault and the policy are made. */
export async function createLife(ground: Ground, { onStep, onFailure }: Onlooker = {}): Promise<Life> {
  const { ports, handlerPorts, clock, compute } = ground;
  const vmId = (name: string): string =>
    `/subscriptions/${SUBSCRIPTION}/resourceGroups/${GROUP}/providers/Microsoft.Compute/virtualMachines/${name}`;
  const key = (name: string): string => itemKey(GROUP, name);

  const life: Life = {
    ports,
    clock,
    compute,
    async setPolicy(rules) {
      const whole = { minuteOfDay: 60, zone: 'UTC', dailyRetentionDays: 7, instantRetentionDays: 2, ...rules };
      await putPolicy(ports, VAULT, 'nightly', {}, whole);
    },
    async createVm(name, sizes) {
      const urls: string[] = [];
      for (const [i, size] of sizes.entries()) urls.push(await ground.createDisk(name, i, size));
      compute.put({
        id: vmId(name),
        vmId: ports.ids.hex(32),
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
      await life.drain();
      return life.job(id);
    },
    async drain() {
      for (let taken = 0; taken < 100_000; taken++) {
        const message = await ground.next();
        if (message === undefined) return;
        onStep?.(message.step);
        try {
          await runStep(handlerPorts, message.step);
        } catch (error) {
          if (onFailure === undefined) throw error;
          onFailure(error);
          if (message.deliveries < MOST_DELIVERIES) {
            await message.putBack();
            continue;
          }
          await giveUp(ports, message.step);
        }
        await message.done();
      }
      throw new Error('the queue never becomes empty');
    },
    async watch() {
      clock.advance(20 * 60_000);
      await watchJobs(ports);
      await life.drain();
    },
    async settle() {
      for (let looks = 0; ; looks++) {
        let open = 0;
        for await (const _ of ports.catalog.openJobs.listAll()) open++;
        if (open === 0) return;
        if (looks === MOST_LOOKS) throw new Error('a job does not end');
        await life.watch();
      }
    },
    async cleanUp() {
      await cleanUp(ports);
      await life.drain();
    },
    async sweep() {
      for (let round = 0; round < 2; round++) {
        await sweep(ports);
        await life.drain();
        clock.advance((ports.settings.sweepGraceSeconds + 1) * 1000);
      }
    },
    async points(name) {
      const { row: vault } = await openVault(ports, VAULT);
      const { row: item } = await readItem(ports, VAULT, key(name));
      return readPoints(ports, pointsPartition(vault.containerName, item.itemId));
    },
    async restore(name, point) {
      const id = await startRestore(ports, VAULT, key(name), point, { accountId: `/x/${ground.targetAccount}` });
      await life.drain();
      const job = await life.job(id);
      if (job.status !== 'Completed') return { job, disks: [] };
      const urls = await ground.disksIn(job.restore!.containerUrl);
      return { job, disks: await Promise.all(urls.map((url) => ground.readDisk(url))) };
    },
    async chain(name) {
      const { row: item } = await readItem(ports, VAULT, key(name));
      return new Chain((await openVault(ports, VAULT)).container, item.itemId);
    },
    async job(id) {
      const job = await readJob(ports, { vault: VAULT, jobId: id });
      if (job === undefined) throw new Error(`job ${id} has no row`);
      return job;
    },
  };
  await putVault(ports, ADDRESS, { location: 'westeurope', skuName: 'Standard', tags: {}, properties: {} });
  await life.setPolicy({});
  return life;
}
