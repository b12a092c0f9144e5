import type { JobRow, SnapshotSet } from '../../shared/catalog/catalog.ts';
import { isBackupError } from '../../shared/domain/errors.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES, SECTOR_BYTES } from '../../shared/domain/units.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { cleanUp } from '../../shared/services/clean-up.ts';
import { ENDED } from '../../shared/services/jobs.ts';
import { itemKey } from '../../shared/services/keys.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { giveUp, runStep } from '../../shared/services/run-step.ts';
import { sweep } from '../../shared/services/sweep.ts';
import { watchJobs } from '../../shared/services/watch.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { gatedPorts } from '../support/gated-ports.ts';
import type { QueuedMessage } from '../support/memory-queue.ts';
import { leftovers, liveManifests } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';
import { storedBlocks } from './model.ts';
import { Random } from './random.ts';
import { Scheduler, type Task } from './scheduler.ts';

/*
 * One random history of one VM under the real services: its disks are written, cleared and resized, points are taken, expire and
 * merge, restores run, while two workers interleave call by call, are killed, lose answers, get messages twice, and wake up long
 * after their message was given to a twin. The model is plain: the disks' bytes at each backup.
 *
 * Then the faults stop, everything that was begun is let to its end, and the rules are checked: every job has ended, every point
 * that is left restores to its bytes, nothing is left over, and what is billed is what is there.
 */

const VM = 'vm';
const KEY = itemKey('app', VM);
const MOST_BLOCKS = 10;
const WORKERS = 2;
const MOST_DELIVERIES = 5;

interface Running {
  readonly task: Task;
  readonly message: QueuedMessage | undefined;
}

/** A broken rule: the seed repeats it. */
export class RuleBroken extends Error {}

export interface HistoryReport {
  backups: number;
  merges: number;
  restores: number;
  kills: number;
  lost: number;
  twins: number;
}

export class History {
  readonly #random: Random;
  readonly #scheduler: Scheduler;
  readonly #world: World;
  readonly #ports: Ports;
  readonly #disks: string[];
  /** The model: each disk's bytes at the moment of each snapshot. */
  readonly #images: Map<string, Uint8Array>;
  #running: Running[] = [];
  #zombies: Task[] = [];
  readonly report: HistoryReport = { backups: 0, merges: 0, restores: 0, kills: 0, lost: 0, twins: 0 };

  static async run(seed: number, actions = 60): Promise<HistoryReport> {
    const random = new Random(seed);
    const scheduler = new Scheduler(random);
    const images = new Map<string, Uint8Array>();
    const world: World = await createWorld({
      diff: random.chance(0.3) ? 'lying' : 'exact',
      onTheSpotBytes: random.chance(0.3) ? BLOCK_BYTES * MOST_BLOCKS : 0,
      wrap: (ports) => ({ ...ports, snapshots: remembering(ports.snapshots, (url) => world.disks.read(url, { start: 0, end: world.disks.sizeBytes(url) }), images) }),
    });
    const sizes = Array.from({ length: random.between(1, 2) }, () => random.between(2, MOST_BLOCKS) * BLOCK_BYTES);
    const disks = await world.createVm(VM, sizes);
    await world.protect(VM);
    const history = new History(random, scheduler, world, disks, images);
    try {
      for (let i = 0; i < actions; i++) await history.#act();
      await history.#quiet();
      await history.#check();
    } catch (cause) {
      const trace = scheduler.trace.slice(-40).join('\n  ');
      throw new RuleBroken(`seed ${seed}: ${cause instanceof Error ? cause.message : String(cause)}\n  ${trace}`, { cause });
    }
    return history.report;
  }

  private constructor(random: Random, scheduler: Scheduler, world: World, disks: string[], images: Map<string, Uint8Array>) {
    this.#random = random;
    this.#scheduler = scheduler;
    this.#world = world;
    this.#ports = gatedPorts(world.ports, scheduler);
    this.#disks = disks;
    this.#images = images;
  }

  async #act(): Promise<void> {
    const random = this.#random;
    const roll = random.next();
    if (roll < 0.25) await this.#changeDisk();
    else if (roll < 0.4) await this.#backUp();
    else if (roll < 0.5) await this.#time();
    else if (roll < 0.56) await this.#restore();
    else if (roll < 0.59) await this.#loseSnapshot();
    else if (roll < 0.62) await sweep(this.#world.ports);
    else if (roll < 0.64) await watchJobs(this.#world.ports);
    else await this.#work(random.between(5, 120));
  }

  async #changeDisk(): Promise<void> {
    const random = this.#random;
    const url = random.pick(this.#disks);
    const size = this.#world.disks.sizeBytes(url);
    const start = random.between(0, size / SECTOR_BYTES - 1) * SECTOR_BYTES;
    const end = Math.min(size, start + random.between(1, 100) * SECTOR_BYTES);
    const roll = random.next();
    if (roll < 0.55) await this.#world.disks.write(url, start, Buffer.alloc(end - start, random.between(0, 5)));
    else if (roll < 0.85) await this.#world.disks.clear(url, { start, end });
    else await this.#world.disks.resize(url, random.between(1, (MOST_BLOCKS * BLOCK_BYTES) / SECTOR_BYTES) * SECTOR_BYTES);
  }

  async #backUp(): Promise<void> {
    const retainUntil = this.#world.clock.now() + this.#random.between(1, 8) * DAY_MS;
    try {
      await startBackup(this.#world.ports, VAULT, KEY, { kind: 'onDemand', retainUntil });
      this.report.backups++;
    } catch (error) {
      if (!isBackupError(error, 'BMSUserErrorObjectLocked')) throw error;
    }
  }

  async #time(): Promise<void> {
    const random = this.#random;
    this.#world.clock.advance(random.chance(0.1) ? 400 * DAY_MS : random.between(1, 3 * DAY_MS));
    if (random.chance(0.7)) await cleanUp(this.#world.ports);
  }

  async #restore(): Promise<void> {
    const points = await this.#world.points(VM);
    if (points.length === 0) return;
    const { point } = this.#random.pick(points);
    try {
      await startRestore(this.#world.ports, VAULT, KEY, point, { accountId: '/x/restored' });
      this.report.restores++;
    } catch (error) {
      if (!isBackupError(error, 'UserErrorRecoveryPointLeaving', 'UserErrorInstantRpNotFound', 'ResourceNotFound')) throw error;
    }
  }

  async #loseSnapshot(): Promise<void> {
    const url = this.#random.pick(this.#disks);
    for await (const snapshot of this.#world.ports.snapshots.list(url)) {
      if (this.#random.chance(0.5)) await this.#world.ports.snapshots.remove(snapshot);
    }
  }

  /** Lets workers do some calls, with faults. */
  async #work(turns: number): Promise<void> {
    for (let i = 0; i < turns; i++) {
      await this.#reap();
      const random = this.#random;
      if (this.#running.length < WORKERS && random.chance(0.4)) await this.#take();
      const roll = random.next();
      if (roll < 0.004) await this.#kill();
      else if (roll < 0.01) await this.#forget();
      else if (roll < 0.016) await this.#duplicate();
      else {
        const lose = random.chance(0.004);
        if (lose) this.report.lost++;
        await this.#scheduler.turn(undefined, lose);
      }
    }
  }

  async #take(): Promise<void> {
    const due = this.#world.queue.due();
    if (due.length === 0) {
      const next = this.#world.queue.waiting()[0];
      if (next !== undefined && this.#running.length === 0) this.#world.clock.advance(next.dueMs - this.#world.clock.now());
      return;
    }
    // Mostly in order, sometimes not: queues promise nothing.
    const message = this.#world.queue.take(this.#random.chance(0.8) ? undefined : this.#random.pick(due).id);
    if (message !== undefined) await this.#begin(message);
  }

  async #begin(message: QueuedMessage): Promise<void> {
    const work = message.deliveries > MOST_DELIVERIES ? giveUp : runStep;
    const task = await this.#scheduler.begin(`${message.step.step}#${message.id}`, () => work(this.#ports, message.step));
    this.#running.push({ task, message });
    if (message.step.step === 'plan-merge') this.report.merges++;
  }

  /** Handlers that have ended; what failed comes again. */
  async #reap(): Promise<void> {
    for (const { task, message } of this.#running.filter((each) => each.task.state !== 'running')) {
      if (task.error !== undefined && message !== undefined) {
        if (task.state === 'done' && !isBackupError(task.error)) throw task.error;
        this.#world.queue.putBack(message, 1);
      }
    }
    for (const zombie of this.#zombies) {
      if (zombie.state === 'done' && zombie.error !== undefined && !isBackupError(zombie.error)) throw zombie.error;
    }
    this.#zombies = this.#zombies.filter(({ state }) => state === 'running');
    this.#running = this.#running.filter(({ task }) => task.state === 'running');
  }

  async #kill(): Promise<void> {
    if (this.#running.length === 0) return;
    this.report.kills++;
    await this.#scheduler.kill(this.#random.pick(this.#running).task);
  }

  /** A worker falls asleep: its message comes again for a twin, and some day it wakes up. */
  async #forget(): Promise<void> {
    if (this.#running.length === 0) return;
    this.report.twins++;
    const sleeper = this.#random.pick(this.#running);
    this.#running = this.#running.filter((each) => each !== sleeper);
    this.#zombies.push(sleeper.task);
    if (sleeper.message !== undefined) this.#world.queue.putBack(sleeper.message, 0);
  }

  async #duplicate(): Promise<void> {
    const waiting = this.#world.queue.due();
    if (waiting.length === 0) return;
    this.report.twins++;
    await this.#begin({ ...this.#random.pick(waiting), deliveries: 1 });
  }

  /** The faults stop. Everything that was begun comes to its end, sleepers last. */
  async #quiet(): Promise<void> {
    for (let rounds = 0; rounds < 12; rounds++) {
      await this.#drain();
      let open = 0;
      for await (const _ of this.#world.ports.catalog.openJobs.listAll()) open++;
      if (open === 0 && rounds > 0) break;
      if (rounds === 11) throw new Error(`${open} jobs do not end: ${JSON.stringify(await this.#openJobs())}`);
      this.#world.clock.advance(20 * 60_000);
      await watchJobs(this.#world.ports);
    }
    this.#world.clock.advance(20 * DAY_MS);
    await cleanUp(this.#world.ports);
    await this.#drain();
    await this.#world.sweep();
  }

  async #drain(): Promise<void> {
    for (let turns = 0; turns < 200_000; turns++) {
      await this.#reap();
      if (this.#running.length < WORKERS) await this.#take();
      if (this.#scheduler.waiting().length === 0) {
        await this.#reap();
        if (this.#running.length === 0 && this.#world.queue.waiting().length === 0) return;
      }
      await this.#scheduler.turn();
    }
    throw new Error('the work never ends');
  }

  async #openJobs(): Promise<unknown[]> {
    const jobs: unknown[] = [];
    for await (const { row } of this.#world.ports.catalog.jobs.list(VAULT)) {
      if (!ENDED.has(row.status)) jobs.push({ ...row, set: undefined });
    }
    return jobs;
  }

  async #check(): Promise<void> {
    const world = this.#world;
    const sets = new Map<PointId, SnapshotSet>();
    for await (const { row } of world.ports.catalog.jobs.list(VAULT)) {
      if (!ENDED.has(row.status)) throw new Error(`job ${row.operation} is ${row.status}`);
      if (row.errors.some(({ code }) => code === 'InternalError')) throw new Error(`job failed: ${JSON.stringify(row.errors)}`);
      if (row.operation === 'Backup' && row.set !== undefined) sets.set(row.point!, row.set);
    }
    for await (const { row } of world.ports.catalog.jobs.list(VAULT)) {
      if (row.operation === 'Restore') await this.#checkRestore(row, sets.get(row.point!)!);
    }
    const container = world.vaults.blobs(world.vaults.containerNames()[0]!);
    const left = leftovers(container);
    if (left.length > 0) throw new Error(`left over: ${left.join(', ')}`);
    await this.#checkBill(sets);
    await this.#checkPoints(sets);
  }

  /** What a restore of the history has made: every byte, or nothing. */
  async #checkRestore(job: JobRow, set: SnapshotSet): Promise<void> {
    const made = this.#world.disks.urls().filter((url) => url.startsWith(`${job.restore!.containerUrl}/`) && url.endsWith('.vhd'));
    if (job.status !== 'Completed') {
      if (made.length > 0) throw new Error(`a restore that is ${job.status} has left ${made.join(', ')}`);
      return;
    }
    await this.#compare(made, set, `restore job ${job.jobId} of ${job.point}`);
  }

  async #compare(urls: readonly string[], set: SnapshotSet, what: string): Promise<void> {
    const { disks } = this.#world;
    if (urls.length !== set.disks.length) throw new Error(`${what} has made ${urls.length} disks of ${set.disks.length}`);
    for (const [i, { url, snapshot, name }] of set.disks.entries()) {
      const restored = urls.find((made) => made.endsWith(`/${name}.vhd`)) ?? urls[i]!;
      const bytes = await disks.read(restored, { start: 0, end: disks.sizeBytes(restored) });
      if (Buffer.compare(bytes, this.#images.get(`${url}?${snapshot}`)!) !== 0) throw new Error(`${what}: disk ${name} differs`);
    }
  }

  /** What the manifests say is stored is what the model says is still visible, to the block. */
  async #checkBill(sets: ReadonlyMap<PointId, SnapshotSet>): Promise<void> {
    const world = this.#world;
    const container = world.vaults.blobs(world.vaults.containerNames()[0]!);
    const manifests = liveManifests(container);
    const billed = manifests
      .flatMap(({ disks }) => disks.flatMap(({ regions }) => regions.flatMap(({ layers }) => layers)))
      .reduce((sum, { dataBlocks }) => sum + dataBlocks, 0);
    const committed = [...container]
      .filter(([name]) => name.includes('/chain/'))
      .map(([, { body }]) => JSON.parse(Buffer.from(body).toString()) as { kind: string; points: { point: PointId }[] })
      .filter(({ kind }) => kind === 'backup')
      .map(({ points }) => points.at(-1)!.point);
    const images = committed.map((point) =>
      sets.get(point)!.disks.map(({ url, snapshot }) => this.#images.get(`${url}?${snapshot}`)!),
    );
    const live = new Set(manifests.map(({ point }) => point));
    const expected = storedBlocks(images, committed.map((point) => live.has(point)));
    if (billed !== expected) throw new Error(`${billed} blocks are billed, the model has ${expected}`);
  }

  /** Every point that is left restores to its bytes from the vault. */
  async #checkPoints(sets: ReadonlyMap<PointId, SnapshotSet>): Promise<void> {
    const world = this.#world;
    for (const { point, set, instant, vault } of await world.points(VM)) {
      if (vault !== 'Valid') continue;
      if (instant === 'Valid') for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
      const { job } = await world.restore(VM, point);
      if (job.status !== 'Completed') throw new Error(`point ${point} does not restore: ${JSON.stringify(job.errors)}`);
      await this.#checkRestore(job, sets.get(point)!);
    }
  }
}

/** Remembers a disk's bytes whenever a snapshot of it is taken. */
function remembering(
  snapshots: Ports['snapshots'],
  read: (url: string) => Promise<Uint8Array>,
  images: Map<string, Uint8Array>,
): Ports['snapshots'] {
  return new Proxy(snapshots, {
    get(target, property, receiver): unknown {
      if (property !== 'take') return Reflect.get(target, property, receiver);
      const take: Ports['snapshots']['take'] = async (url, tags) => {
        const bytes = read(url);
        const taken = target.take(url, tags);
        const [image, snapshot] = await Promise.all([bytes, taken]);
        images.set(`${url}?${snapshot.id}`, image);
        return snapshot;
      };
      return take;
    },
  });
}
