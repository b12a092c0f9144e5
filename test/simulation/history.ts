import type { ItemRow, JobRow, SnapshotSet } from '../../shared/catalog/catalog.ts';
import type { VirtualMachine } from '../../shared/compute/compute.ts';
import { isBackupError } from '../../shared/domain/errors.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES, SECTOR_BYTES } from '../../shared/domain/units.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { cleanUp } from '../../shared/services/clean-up.ts';
import { ENDED } from '../../shared/services/jobs.ts';
import { itemKey } from '../../shared/services/keys.ts';
import { protect, stopProtection } from '../../shared/services/protection.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { giveUp, runStep } from '../../shared/services/run-step.ts';
import { sweep } from '../../shared/services/sweep.ts';
import { takeDue } from '../../shared/services/take-due.ts';
import { cancelJob, watchJobs } from '../../shared/services/watch.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { gatedPorts } from '../support/gated-ports.ts';
import type { QueuedMessage } from '../support/memory-queue.ts';
import { leftovers, liveManifests, namedIn, newestRecord } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';
import { type DiskImage, storedBlocks } from './model.ts';
import { Random } from './random.ts';
import { Scheduler, type Task } from './scheduler.ts';

/*
 * One random history of one or two VMs under the real services: disks are written, cleared, resized, attached, detached, re-created and
 * swapped, points are taken by hand and by schedule, expire and merge, restores run, jobs are cancelled, policies change, protection
 * stops and goes on, while requests, timers and workers interleave call by call, are killed, lose answers, get messages twice, and
 * wake up long after their message was given to a twin. The model is plain: the disks' bytes at each snapshot.
 *
 * Whenever nothing moves, all that the newest records lead to must be there. At the end the faults stop, everything that was begun is
 * let to its end, and the rules are checked: every job has ended, no item is held, every point that is left restores to its bytes, no
 * object and no snapshot is left over, and what is billed is what is there.
 */

const MOST_BLOCKS = 10;
const MOST_DISKS = 4;
const WORKERS = 2;
const MOST_DELIVERIES = 5;

/** What a request may be answered at any time: the simulation asks without looking first. */
const REFUSALS = [
  'BMSUserErrorObjectLocked',
  'UserErrorProtectionStopped',
  'UserErrorRecoveryPointLeaving',
  'UserErrorInstantRpNotFound',
  'UserErrorJobNotCancellable',
  'ResourceNotFound',
  'StorageUnavailable',
] as const;

interface Running {
  readonly task: Task;
  /** Absent for requests and timers. */
  readonly message: QueuedMessage | undefined;
}

/** A broken rule: the seed repeats it. */
export class RuleBroken extends Error {}

export interface HistoryReport {
  backups: number;
  merges: number;
  restores: number;
  cancels: number;
  stops: number;
  kills: number;
  lost: number;
  twins: number;
}

interface Machine {
  readonly name: string;
  readonly key: string;
}

export class History {
  readonly #random: Random;
  readonly #scheduler: Scheduler;
  readonly #world: World;
  readonly #ports: Ports;
  readonly #machines: readonly Machine[];
  /** The model: each disk's bytes at the moment of each snapshot. */
  readonly #images: Map<string, Uint8Array>;
  #running: Running[] = [];
  #zombies: Task[] = [];
  #disksMade = 0;
  readonly report: HistoryReport = {
    backups: 0,
    merges: 0,
    restores: 0,
    cancels: 0,
    stops: 0,
    kills: 0,
    lost: 0,
    twins: 0,
  };

  static async run(seed: number, actions = 120): Promise<HistoryReport> {
    const random = new Random(seed);
    const scheduler = new Scheduler(random);
    const images = new Map<string, Uint8Array>();
    const world: World = await createWorld({
      diff: random.chance(0.3) ? 'lying' : 'exact',
      wrap: (ports) => ({
        ...ports,
        snapshots: remembering(
          ports.snapshots,
          (url) => world.disks.read(url, { start: 0, end: world.disks.sizeBytes(url) }),
          images,
        ),
      }),
    });
    const machines: Machine[] = [];
    for (const name of random.chance(0.3) ? ['vm', 'other'] : ['vm']) {
      await world.createVm(
        name,
        Array.from({ length: random.between(1, 3) }, () => random.between(2, MOST_BLOCKS) * BLOCK_BYTES),
      );
      await world.protect(name);
      machines.push({ name, key: itemKey('app', name) });
    }
    const history = new History(random, scheduler, world, machines, images);
    try {
      for (let i = 0; i < actions; i++) {
        await history.#act();
        if (random.chance(0.2)) await history.#checkNamed();
      }
      await history.#quiet();
      await history.#check();
    } catch (cause) {
      const trace = scheduler.trace.slice(-40).join('\n  ');
      throw new RuleBroken(`seed ${seed}: ${cause instanceof Error ? cause.message : String(cause)}\n  ${trace}`, {
        cause,
      });
    }
    return history.report;
  }

  private constructor(
    random: Random,
    scheduler: Scheduler,
    world: World,
    machines: readonly Machine[],
    images: Map<string, Uint8Array>,
  ) {
    this.#random = random;
    this.#scheduler = scheduler;
    this.#world = world;
    this.#ports = gatedPorts(world.ports, scheduler);
    this.#machines = machines;
    this.#images = images;
  }

  async #act(): Promise<void> {
    const random = this.#random;
    const vm = random.pick(this.#machines);
    const roll = random.next();
    if (roll < 0.2) await this.#changeDisk(vm);
    else if (roll < 0.26) await this.#changeDisks(vm);
    else if (roll < 0.38) await this.#backUp(vm);
    else if (roll < 0.48) await this.#time();
    else if (roll < 0.53) await this.#restore(vm);
    else if (roll < 0.55) await this.#loseSnapshot(vm);
    else if (roll < 0.57) await this.#request('sweep', () => sweep(this.#ports));
    else if (roll < 0.59) await this.#request('watch', () => watchJobs(this.#ports));
    else if (roll < 0.61)
      await this.#world.setPolicy({
        dailyRetentionDays: random.between(1, 9),
        instantRetentionDays: random.between(1, 4),
        minuteOfDay: random.between(0, 1439),
      });
    else if (roll < 0.63) await this.#cancel();
    else if (roll < 0.65) await this.#stopOrGoOn(vm);
    else await this.#work(random.between(5, 120));
  }

  /** A request or a timer: half of them run beside the workers, call by call, and may be killed or fall asleep as any of them. */
  async #request(name: string, work: () => Promise<unknown>): Promise<void> {
    const task = await this.#scheduler.begin(name, work);
    this.#running.push({ task, message: undefined });
    if (this.#random.chance(0.5)) return;
    while (task.state === 'running') await this.#scheduler.turn(task);
    await this.#reap();
  }

  async #machine(vm: Machine): Promise<VirtualMachine> {
    return (await this.#world.compute.virtualMachine((await this.#item(vm)).vmResourceId))!;
  }

  async #item({ key }: Machine): Promise<ItemRow> {
    return (await this.#world.ports.catalog.items.get(VAULT, key))!.row;
  }

  async #changeDisk(vm: Machine): Promise<void> {
    const random = this.#random;
    const url = random.pick((await this.#machine(vm)).disks).vhdUrl!;
    const size = this.#world.disks.sizeBytes(url);
    const start = random.between(0, size / SECTOR_BYTES - 1) * SECTOR_BYTES;
    const end = Math.min(size, start + random.between(1, 100) * SECTOR_BYTES);
    const roll = random.next();
    if (roll < 0.55) await this.#world.disks.write(url, start, Buffer.alloc(end - start, random.between(0, 5)));
    else if (roll < 0.85) await this.#world.disks.clear(url, { start, end });
    else
      await this.#world.disks.resize(url, random.between(1, (MOST_BLOCKS * BLOCK_BYTES) / SECTOR_BYTES) * SECTOR_BYTES);
  }

  /** Disks come, go, come back, are re-created and change their places. */
  async #changeDisks(vm: Machine): Promise<void> {
    const random = this.#random;
    const machine = await this.#machine(vm);
    const disks = [...machine.disks];
    const freeLun = [0, 1, 2, 3, 4].find((lun) => disks.every((disk) => disk.lun !== lun))!;
    const roll = random.next();
    if (roll < 0.25 && disks.length < MOST_DISKS) {
      const name = `${vm.name}-more${this.#disksMade++}`;
      const vhdUrl = `https://disks0.example/vhds/${name}.vhd`;
      await this.#world.disks.create(vhdUrl, random.between(1, MOST_BLOCKS) * BLOCK_BYTES);
      await this.#world.disks.write(vhdUrl, 0, Buffer.alloc(BLOCK_BYTES, random.between(1, 5)));
      disks.push({ lun: freeLun, name, vhdUrl, managedDiskId: undefined });
    } else if (roll < 0.45 && disks.length > 1) {
      disks.splice(random.between(1, disks.length - 1), 1);
    } else if (roll < 0.65 && disks.length < MOST_DISKS) {
      const away = (await this.#item(vm)).disks.filter(({ url }) => disks.every(({ vhdUrl }) => vhdUrl !== url));
      if (away.length > 0) {
        const { name, url } = random.pick(away);
        disks.push({ lun: freeLun, name, vhdUrl: url, managedDiskId: undefined });
      }
    } else if (roll < 0.8) {
      const url = random.pick(disks).vhdUrl!;
      if (random.chance(0.5)) await this.#world.disks.delete(url);
      this.#world.clock.advance(1000);
      await this.#world.disks.create(url, random.between(1, MOST_BLOCKS) * BLOCK_BYTES);
      await this.#world.disks.write(url, 0, Buffer.alloc(BLOCK_BYTES, random.between(1, 5)));
    } else if (disks.length > 1) {
      const [a, b] = [random.between(0, disks.length - 1), random.between(0, disks.length - 1)];
      const luns = [disks[a]!.lun, disks[b]!.lun] as const;
      disks[a] = { ...disks[a]!, lun: luns[1] };
      if (a !== b) disks[b] = { ...disks[b]!, lun: luns[0] };
    }
    this.#world.compute.put({ ...machine, disks });
  }

  async #backUp({ key }: Machine): Promise<void> {
    const retainUntil = this.#world.clock.now() + this.#random.between(1, 8) * DAY_MS;
    await this.#request('backup', () =>
      startBackup(this.#ports, VAULT, key, { kind: 'onDemand', retainUntil }).then(() => this.report.backups++),
    );
  }

  async #time(): Promise<void> {
    const random = this.#random;
    this.#world.clock.advance(random.chance(0.1) ? 400 * DAY_MS : random.between(1, 3 * DAY_MS));
    if (random.chance(0.5)) await this.#request('take-due', () => takeDue(this.#ports));
    if (random.chance(0.7)) await this.#request('clean-up', () => cleanUp(this.#ports));
  }

  async #restore({ name, key }: Machine): Promise<void> {
    const points = await this.#world.points(name);
    if (points.length === 0) return;
    const { point } = this.#random.pick(points);
    await this.#request('restore', () =>
      startRestore(this.#ports, VAULT, key, point, { accountId: '/x/restored' }).then(() => this.report.restores++),
    );
  }

  async #cancel(): Promise<void> {
    const running = (await this.#jobs()).filter(
      ({ status, operation }) => status === 'InProgress' && operation !== 'Merge',
    );
    if (running.length === 0) return;
    const { jobId } = this.#random.pick(running);
    await this.#request('cancel', () =>
      cancelJob(this.#ports, { vault: VAULT, jobId }).then(() => this.report.cancels++),
    );
  }

  async #stopOrGoOn(vm: Machine): Promise<void> {
    const { protectionState, vmResourceId: resourceId } = await this.#item(vm);
    if (protectionState === 'ProtectionStopped') {
      await this.#request('resume', () =>
        protect(this.#ports, VAULT, { resourceId, resourceGroup: 'app', vmName: vm.name }, 'nightly'),
      );
    } else
      await this.#request('stop', () => stopProtection(this.#ports, VAULT, vm.key).then(() => this.report.stops++));
  }

  async #loseSnapshot(vm: Machine): Promise<void> {
    const url = this.#random.pick((await this.#machine(vm)).disks).vhdUrl!;
    for await (const snapshot of this.#world.ports.snapshots.list(url)) {
      if (this.#random.chance(0.5)) await this.#world.ports.snapshots.remove(snapshot);
    }
  }

  async #jobs(): Promise<JobRow[]> {
    const jobs: JobRow[] = [];
    for await (const { row } of this.#world.ports.catalog.jobs.list(VAULT)) jobs.push(row);
    return jobs;
  }

  /** Lets workers do some calls, with faults. */
  async #work(turns: number): Promise<void> {
    for (let i = 0; i < turns; i++) {
      await this.#reap();
      const random = this.#random;
      if (this.#working() < WORKERS && random.chance(0.4)) await this.#take();
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

  /** How many handlers of messages run. */
  #working(): number {
    return this.#running.filter(({ message }) => message !== undefined).length;
  }

  async #take(): Promise<void> {
    const due = this.#world.queue.due();
    if (due.length === 0) {
      const next = this.#world.queue.waiting()[0];
      if (next !== undefined && this.#running.length === 0)
        this.#world.clock.advance(next.dueMs - this.#world.clock.now());
      return;
    }
    // Mostly in order, sometimes not: queues promise nothing.
    const message = this.#world.queue.take(this.#random.chance(0.8) ? undefined : this.#random.pick(due).id);
    if (message !== undefined) await this.#begin(message);
  }

  async #begin(message: QueuedMessage): Promise<void> {
    const work = message.deliveries > MOST_DELIVERIES ? giveUp : runStep;
    const task = await this.#scheduler.begin(`${message.step.step}#${message.id}`, () =>
      work(this.#ports, message.step),
    );
    this.#running.push({ task, message });
    if (message.step.step === 'plan-merge') this.report.merges++;
  }

  /** Handlers that have ended; what failed comes again. */
  async #reap(): Promise<void> {
    for (const { task, message } of this.#running.filter((each) => each.task.state !== 'running')) {
      if (task.error === undefined) continue;
      const refused = message === undefined ? isBackupError(task.error, ...REFUSALS) : isBackupError(task.error);
      if (task.state === 'done' && !refused) throw task.error;
      if (message !== undefined) this.#world.queue.putBack(message, 1);
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
    await this.#checkNamed();
  }

  async #drain(): Promise<void> {
    for (let turns = 0; turns < 200_000; turns++) {
      await this.#reap();
      if (this.#working() < WORKERS) await this.#take();
      if (this.#scheduler.waiting().length === 0) {
        await this.#reap();
        if (this.#running.length === 0 && this.#world.queue.waiting().length === 0) return;
      }
      await this.#scheduler.turn();
    }
    throw new Error('the work never ends');
  }

  async #openJobs(): Promise<unknown[]> {
    return (await this.#jobs()).filter(({ status }) => !ENDED.has(status)).map((row) => ({ ...row, set: undefined }));
  }

  /** Whatever is under way: all that the newest records lead to is there, and no point stands in a record twice. */
  async #checkNamed(): Promise<void> {
    for (const vm of this.#machines) {
      const { itemId } = await this.#item(vm);
      const points = newestRecord(this.#blobs(), itemId).points.map(({ point }) => point);
      if (points.some((point, i) => i > 0 && point <= points[i - 1]!))
        throw new Error(`record with points ${points.join(', ')}`);
      namedIn(this.#blobs(), itemId);
    }
  }

  #blobs(): ReturnType<World['vaults']['blobs']> {
    return this.#world.vaults.blobs(this.#world.vaults.containerNames()[0]!);
  }

  async #check(): Promise<void> {
    const jobs = await this.#jobs();
    for (const row of jobs) {
      if (!ENDED.has(row.status)) throw new Error(`job ${row.operation} is ${row.status}`);
      if (row.errors.some(({ code }) => code === 'InternalError'))
        throw new Error(`job failed: ${JSON.stringify(row.errors)}`);
    }
    for (const vm of this.#machines) {
      const { itemId, ...item } = await this.#item(vm);
      const held = [item.activeJob, item.mergeJob, item.leaving, ...item.pins.map(({ point }) => point)].filter(
        (each) => each !== undefined,
      );
      if (held.length > 0) throw new Error(`item ${itemId} is held by ${held.join(', ')}`);
      const sets = new Map<PointId, SnapshotSet>();
      for (const job of jobs)
        if (job.itemId === itemId && job.operation === 'Backup' && job.set !== undefined) sets.set(job.point!, job.set);
      for (const job of jobs)
        if (job.itemId === itemId && job.operation === 'Restore') await this.#checkRestore(job, sets.get(job.point!)!);
      const left = leftovers(this.#blobs(), itemId);
      if (left.length > 0) throw new Error(`left over: ${left.join(', ')}`);
      await this.#checkSnapshots(vm, itemId);
      this.#checkBill(itemId, sets);
      await this.#checkPoints(vm, sets);
    }
  }

  /** Every snapshot belongs to a point. */
  async #checkSnapshots({ name }: Machine, itemId: string): Promise<void> {
    const owned = new Set<string>();
    for (const { set, instant } of await this.#world.points(name)) {
      if (instant === 'Valid') for (const { url, snapshot } of set.disks) owned.add(`${url}?${snapshot}`);
    }
    for (const disk of this.#world.disks.urls().filter((each) => each.includes('/vhds/'))) {
      for await (const { url, id, tags } of this.#world.ports.snapshots.list(disk)) {
        if (tags['item'] === itemId && !owned.has(`${url}?${id}`))
          throw new Error(`snapshot ${id} of ${url} is left over: ${JSON.stringify(tags)}`);
      }
    }
  }

  /** What a restore of the history has made: every byte, or nothing. */
  async #checkRestore(job: JobRow, set: SnapshotSet): Promise<void> {
    const made = this.#world.disks
      .urls()
      .filter((url) => url.startsWith(`${job.restore!.containerUrl}/`) && url.endsWith('.vhd'));
    if (job.status !== 'Completed') {
      if (made.length > 0) throw new Error(`a restore that is ${job.status} has left ${made.join(', ')}`);
      return;
    }
    await this.#compare(made, set, `restore job ${job.jobId} of ${job.point}`);
  }

  async #compare(urls: readonly string[], set: SnapshotSet, what: string): Promise<void> {
    const { disks } = this.#world;
    if (urls.length !== set.disks.length)
      throw new Error(`${what} has made ${urls.length} disks of ${set.disks.length}`);
    for (const [i, { url, snapshot, name }] of set.disks.entries()) {
      const restored = urls.find((made) => made.endsWith(`/${name}.vhd`)) ?? urls[i]!;
      const bytes = await disks.read(restored, { start: 0, end: disks.sizeBytes(restored) });
      if (Buffer.compare(bytes, this.#images.get(`${url}?${snapshot}`)!) !== 0)
        throw new Error(`${what}: disk ${name} differs`);
    }
  }

  /** What the manifests say is stored is what the model says is still visible, to the block. */
  #checkBill(itemId: string, sets: ReadonlyMap<PointId, SnapshotSet>): void {
    const manifests = liveManifests(this.#blobs(), itemId);
    const billed = manifests
      .flatMap(({ disks }) => disks.flatMap(({ regions }) => regions.flatMap(({ layers }) => layers)))
      .reduce((sum, { dataBlocks }) => sum + dataBlocks, 0);
    const live = new Set(manifests.map(({ point }) => point));
    const chains = new Map<string, (DiskImage & { point: PointId })[]>();
    const records = [...this.#blobs()]
      .filter(([name]) => name.startsWith(`v1/items/${itemId}/chain/`))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(
        ([, { body }]) => JSON.parse(Buffer.from(body).toString()) as { kind: string; points: { point: PointId }[] },
      );
    for (const { kind, points } of records) {
      if (kind !== 'backup') continue;
      const point = points.at(-1)!.point;
      const before = new Set(points.slice(0, -1).map((each) => each.point));
      for (const { disk, url, snapshot } of sets.get(point)!.disks) {
        const chain = chains.get(disk) ?? [];
        chains.set(disk, chain);
        const base = chain.findLastIndex((image) => before.has(image.point));
        chain.push({
          point,
          bytes: this.#images.get(`${url}?${snapshot}`)!,
          base: base < 0 ? undefined : base,
          live: live.has(point),
        });
      }
    }
    const expected = [...chains.values()].reduce((sum, chain) => sum + storedBlocks(chain), 0);
    if (billed !== expected) throw new Error(`${billed} blocks are billed, the model has ${expected}`);
  }

  /** Every point that is left restores to its bytes from the vault. */
  async #checkPoints({ name }: Machine, sets: ReadonlyMap<PointId, SnapshotSet>): Promise<void> {
    const world = this.#world;
    for (const { point, set, instant, vault } of await world.points(name)) {
      if (vault !== 'Valid') continue;
      if (instant === 'Valid')
        for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
      const { job } = await world.restore(name, point);
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
