import { describe, expect, it } from 'vitest';
import { BackupError, isBackupError } from '../../shared/domain/errors.ts';
import type { JobId, PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import type { Step } from '../../shared/queue/steps.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { cleanUp } from '../../shared/services/clean-up.ts';
import { itemKey } from '../../shared/services/keys.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { cancelJob } from '../../shared/services/watch.ts';
import { Killed, gatedPorts } from '../support/gated-ports.ts';
import type { QueuedMessage } from '../support/memory-queue.ts';
import { leftovers, newestRecord } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';

/*
 * Two workers at once, messages twice and late, handlers that wake up when all is over, answers that get lost: the named cases. What
 * a seed can find besides is looked for by the crash points and the simulation.
 */

const B = BLOCK_BYTES;
const block = (fill: number, blocks = 1): Buffer => Buffer.alloc(blocks * B, fill);
const KEY = itemKey('app', 'vm');

interface Stage {
  readonly world: World;
  readonly disk: string;
  readonly images: Map<PointId, Uint8Array>;
  /** Backs up; the point is kept for `days`. */
  readonly backUp: (days: number) => Promise<PointId>;
}

async function stage(options: Parameters<typeof createWorld>[0] = {}): Promise<Stage> {
  const world = await createWorld(options);
  const disk = (await world.createVm('vm', [6 * B]))[0]!;
  await world.protect('vm');
  const images = new Map<PointId, Uint8Array>();
  return {
    world,
    disk,
    images,
    async backUp(days) {
      const image = await world.disks.read(disk, { start: 0, end: world.disks.sizeBytes(disk) });
      const job = await world.backup('vm', world.clock.now() + days * DAY_MS);
      expect(job).toMatchObject({ status: 'Completed', errors: [] });
      images.set(job.point!, image);
      world.clock.advance(60_000);
      return job.point!;
    },
  };
}

const container = (world: World) => world.vaults.blobs(world.vaults.containerNames()[0]!);
const live = (world: World): string[] => newestRecord(container(world)).points.map(({ point }) => point);

/** Handles messages until one of this kind is next, and takes that one. */
async function until(world: World, wanted: Step['step']): Promise<QueuedMessage> {
  for (let taken = 0; taken < 1000; taken++) {
    const message = world.queue.take();
    if (message?.step.step === wanted) return message;
    if (message !== undefined) await runStep(world.ports, message.step);
    else world.clock.advance(Math.max(0, world.queue.waiting()[0]!.dueMs - world.clock.now()));
  }
  throw new Error(`no message ${wanted} comes`);
}

const start = (world: World, days = 30): Promise<JobId> =>
  startBackup(world.ports, VAULT, KEY, { kind: 'onDemand', retainUntil: world.clock.now() + days * DAY_MS });

async function vaultOnly(world: World): Promise<void> {
  for (const { set } of await world.points('vm')) {
    for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
  }
}

async function restoresExactly(world: World, images: ReadonlyMap<PointId, Uint8Array>): Promise<void> {
  await vaultOnly(world);
  for (const { point } of await world.points('vm')) {
    const { job, disks } = await world.restore('vm', point);
    expect(job.errors).toEqual([]);
    expect(Buffer.compare(disks[0]!, images.get(point)!), `point ${point}`).toBe(0);
  }
}

/** Ports whose vault holds every write of a name like `pattern` back until it is let go. */
function holding(ports: Ports, pattern: RegExp): { ports: Ports; reached: Promise<void>; letGo: () => void } {
  let letGo = (): void => undefined;
  let arrived = (): void => undefined;
  const released = new Promise<void>((resolve) => (letGo = resolve));
  const reached = new Promise<void>((resolve) => (arrived = resolve));
  const held: Ports = {
    ...ports,
    vaults: {
      ...ports.vaults,
      async open(name) {
        const real = await ports.vaults.open(name);
        return {
          ...real,
          async put(blob, body, summary) {
            if (pattern.test(blob)) {
              arrived();
              await released;
            }
            return real.put(blob, body, summary);
          },
        };
      },
    },
  };
  return { ports: held, reached, letGo };
}

/** Ports whose vault makes every write of a name like `pattern`, and then says `code`. */
const losing =
  (pattern: RegExp, code: 'StorageUnavailable' | 'BlobAlreadyExists') =>
  (ports: Ports): Ports => ({
    ...ports,
    vaults: {
      ...ports.vaults,
      async open(name) {
        const real = await ports.vaults.open(name);
        return {
          ...real,
          async put(blob, body, summary) {
            await real.put(blob, body, summary);
            if (pattern.test(blob)) throw new BackupError(code, `the answer to ${blob} was lost`);
          },
        };
      },
    },
  });

describe('two workers', () => {
  it('that get every message at the same time end as one would', async () => {
    const { world, disk, images } = await stage();
    const twice = async (): Promise<void> => {
      for (;;) {
        const message = world.queue.take();
        if (message !== undefined) {
          await Promise.all([runStep(world.ports, message.step), runStep(world.ports, message.step)]);
          continue;
        }
        const next = world.queue.waiting()[0];
        if (next === undefined) return;
        world.clock.advance(next.dueMs - world.clock.now());
      }
    };
    for (const [n, days] of [2, 30, 30].entries()) {
      await world.disks.write(disk, n * B, block(n + 1, 4 - n));
      const image = await world.disks.read(disk, { start: 0, end: 6 * B });
      const id = await start(world, days);
      await twice();
      expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
      images.set((await world.job(id)).point!, image);
      world.clock.advance(60_000);
    }
    world.clock.advance(3 * DAY_MS);
    await cleanUp(world.ports);
    await twice();
    expect(live(world)).toEqual([...images.keys()].slice(1));
    await restoresExactly(world, images);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
  });

  it('that fold and reclaim a merge late, after another merge, take nothing away', async () => {
    const { world, disk, images, backUp } = await stage();
    for (const n of [1, 2, 3, 4]) {
      await world.disks.write(disk, (n - 1) * B, block(n, 2));
      await backUp(n < 3 ? n + 1 : 30);
    }
    world.clock.advance(5 * DAY_MS);
    await cleanUp(world.ports);
    const late: Step[] = [];
    for (
      let message = world.queue.take();
      message !== undefined || world.queue.waiting().length > 0;
      message = world.queue.take()
    ) {
      if (message === undefined) {
        world.clock.advance(world.queue.waiting()[0]!.dueMs - world.clock.now());
        continue;
      }
      late.push(message.step);
      await runStep(world.ports, message.step);
    }
    for (const step of late) await runStep(world.ports, step);
    await world.drain();
    expect(live(world)).toEqual([...images.keys()].slice(2));
    await restoresExactly(world, images);
  });
});

describe('a commit', () => {
  it("whose disk's base has been merged away meanwhile is planned again", async () => {
    const { world, disk, images, backUp } = await stage();
    const vm = (await world.compute.virtualMachine(
      (await world.ports.catalog.items.get(VAULT, KEY))!.row.vmResourceId,
    ))!;
    const other = 'https://disks0.example/vhds/other.vhd';
    await world.disks.create(other, 6 * B);
    await world.disks.write(other, 0, block(9, 6));
    await world.disks.write(disk, 0, block(1, 6));
    const first = await backUp(2);
    // The disk is away in point 2, so its last point is 1; it comes back in point 3.
    world.compute.put({ ...vm, disks: [{ lun: 4, name: 'other', vhdUrl: other, managedDiskId: undefined }] });
    await world.backup('vm');
    world.clock.advance(60_000);
    world.compute.put(vm);
    await world.disks.write(disk, 2 * B, block(2));
    const image = await world.disks.read(disk, { start: 0, end: 6 * B });
    const id = await start(world);
    const commit = await until(world, 'commit');
    // All its layers are there, as differences from point 1. Now point 1 goes, and the disk with it: no later point includes it.
    world.clock.advance(3 * DAY_MS);
    await cleanUp(world.ports);
    await world.drain();
    expect(live(world)).not.toContain(first);
    await runStep(world.ports, commit.step);
    await world.drain();
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, image);
    await vaultOnly(world);
    const { job: restore, disks } = await world.restore('vm', job.point!);
    expect(restore.errors).toEqual([]);
    expect(Buffer.compare(disks[0]!, image)).toBe(0);
  });

  it('that a later point has overtaken leaves its own out of the vault and says so', async () => {
    const { world, disk, images, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    const slow = await start(world);
    const commit = await until(world, 'commit');
    // The item's row is lost hold of, as if tables had been rebuilt: another backup runs beside.
    const item = (await world.ports.catalog.items.get(VAULT, KEY))!;
    await world.ports.catalog.items.upsert(VAULT, KEY, { ...item.row, activeJob: undefined });
    world.clock.advance(60_000);
    await world.disks.write(disk, 3 * B, block(3));
    await backUp(30);
    await runStep(world.ports, commit.step);
    await world.drain();
    expect(await world.job(slow)).toMatchObject({
      status: 'CompletedWithWarnings',
      errors: [{ code: 'RecoveryPointOvertaken' }],
    });
    expect(live(world)).toEqual([...images.keys()]);
    await vaultOnly(world);
    for (const point of images.keys()) {
      const { disks } = await world.restore('vm', point);
      expect(Buffer.compare(disks[0]!, images.get(point)!)).toBe(0);
    }
  });

  it('of a handler that slept while its job was cancelled changes nothing', async () => {
    const { world, disk, images, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    const id = await start(world);
    const commit = await until(world, 'commit');
    const { ports, reached, letGo } = holding(world.ports, /\/chain\//);
    const sleeper = runStep(ports, commit.step);
    await reached;
    await cancelJob(world.ports, { vault: VAULT, jobId: id });
    letGo();
    await sleeper;
    await world.drain();
    expect((await world.job(id)).status).toBe('Cancelled');
    expect(live(world)).toEqual([...images.keys()]);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
  });

  it.each([
    ['writing its record', /\/chain\//],
    ['writing a manifest', /\/points\//],
    ['writing a layer', /\.layer$/],
  ])('of a merge that slept before %s while a backup committed changes nothing', async (_, pattern) => {
    const { world, disk, images, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(1);
    await world.disks.write(disk, B, block(2));
    await backUp(30);
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    const plan = await until(world, 'plan-merge');
    const { ports, reached, letGo } = holding(world.ports, pattern);
    const sleeper = runStep(ports, plan.step);
    await reached;
    await world.disks.write(disk, 2 * B, block(3));
    await backUp(30);
    letGo();
    await sleeper;
    expect(live(world)).toHaveLength(3);
    expect(world.queue.waiting().map(({ step }) => step.step)).not.toContain('reclaim');
    await world.drain();
    // It gave way, and cleanup has merged anew on the newest record.
    expect(live(world)).toEqual([...images.keys()].slice(1));
    await restoresExactly(world, images);
  });

  it('is told whether its job still runs after it has read the record, not only before', async () => {
    const { world, disk, images, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    const id = await start(world);
    const commit = await until(world, 'commit');
    let listings = 0;
    const cancelling = gatedPorts(world.ports, {
      async before(call) {
        // The first listing is that of the chain: the job runs, says the row that has been read.
        if (call === 'vault.list' && listings++ === 0) await cancelJob(world.ports, { vault: VAULT, jobId: id });
      },
      after: () => undefined,
    });
    await runStep(cancelling, commit.step);
    await world.drain();
    expect((await world.job(id)).status).toBe('Cancelled');
    expect(live(world)).toEqual([...images.keys()]);
  });

  it('that comes between a cancellation and its record is what has happened', async () => {
    const { world, disk, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    const id = await start(world);
    const commit = await until(world, 'commit');
    const committing = holding(world.ports, /\/chain\//);
    const cancelling = holding(world.ports, /\/chain\//);
    const commits = runStep(committing.ports, commit.step);
    await committing.reached;
    const cancels = cancelJob(cancelling.ports, { vault: VAULT, jobId: id });
    await cancelling.reached;
    committing.letGo();
    await commits;
    cancelling.letGo();
    await cancels;
    await world.drain();
    const job = await world.job(id);
    expect(job.status).toBe('Completed');
    expect(live(world)).toContain(job.point);
    expect(await world.points('vm')).toMatchObject([{ vault: 'Valid' }, { vault: 'Valid' }]);
  });

  it('whose handler died before it could say so has happened, once', async () => {
    const { world, disk, images, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    const image = await world.disks.read(disk, { start: 0, end: 6 * B });
    const id = await start(world);
    const commit = await until(world, 'commit');
    let dead = false;
    const dying = gatedPorts(world.ports, {
      before: (call) => {
        dead ||= call === 'points.list';
        if (dead) throw new Killed(call);
      },
      after: () => undefined,
    });
    await expect(runStep(dying, commit.step)).rejects.toThrow(Killed);
    world.queue.putBack(commit);
    await world.drain();
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, image);
    expect(live(world)).toEqual([...images.keys()]);
    await restoresExactly(world, images);
  });
});

describe('a lost answer', () => {
  for (const code of ['StorageUnavailable', 'BlobAlreadyExists'] as const) {
    it(`to the write of a record that is there (${code}) is no loss: whose attempt stands in it has won`, async () => {
      const { world, disk, images, backUp } = await stage({ wrapHandlers: losing(/\/chain\//, code) });
      await world.disks.write(disk, 0, block(1, 6));
      await backUp(1);
      await world.disks.write(disk, B, block(2));
      await backUp(30);
      world.clock.advance(2 * DAY_MS);
      await world.cleanUp();
      expect(live(world)).toEqual([...images.keys()].slice(1));
      // One record for each commit and none besides: nobody took a commit for lost.
      expect([...container(world).keys()].filter((name) => name.includes('/chain/'))).toHaveLength(4);
      expect(leftovers(container(world))).toEqual([]);
      await restoresExactly(world, images);
    });
  }

  it('to the write of a layer, pack or manifest is no loss either', async () => {
    const { world, disk, images, backUp } = await stage({
      wrapHandlers: losing(/\.layer$|\.pack$|\/points\//, 'BlobAlreadyExists'),
    });
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(1);
    await world.disks.write(disk, B, block(2));
    await backUp(30);
    world.clock.advance(2 * DAY_MS);
    await world.cleanUp();
    expect(live(world)).toEqual([...images.keys()].slice(1));
    await restoresExactly(world, images);
  });
});

describe('merges beside readers', () => {
  /** Three points that all wrote blocks 0 and 1; the first goes soon. */
  async function threePoints(): Promise<Stage> {
    const staged = await stage();
    for (const [n, days] of [1, 30, 30].entries()) {
      await staged.world.disks.write(staged.disk, 0, block(n + 1, 2));
      await staged.world.disks.write(staged.disk, (n + 2) * B, block(n + 1));
      await staged.backUp(days);
    }
    return staged;
  }

  it('a restore whose layers were merged away finds its point again, and no later one', async () => {
    const { world, images } = await threePoints();
    await vaultOnly(world);
    const middle = [...images.keys()][1]!;
    const id = await startRestore(world.ports, VAULT, KEY, middle, { accountId: '/x/restored' });
    const waiting: QueuedMessage[] = [await until(world, 'restore-unit')];
    for (let message = world.queue.take(); message !== undefined; message = world.queue.take()) waiting.push(message);
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    await world.drain();
    expect(live(world)).toEqual([...images.keys()].slice(1));
    for (const message of waiting) world.queue.putBack(message);
    await world.drain();
    const job = await world.job(id);
    expect(job.errors).toEqual([]);
    expect(job.status).toBe('Completed');
    const url = world.disks.urls().find((each) => each.startsWith(job.restore!.containerUrl) && each.endsWith('.vhd'))!;
    expect(Buffer.compare(await world.disks.read(url, { start: 0, end: 6 * B }), images.get(middle)!)).toBe(0);
  });

  it("a transfer whose base's layers were merged away takes its stack from the newest record", async () => {
    const { world, disk, images } = await threePoints();
    // Block 0 becomes again what it was at the point before the base.
    await world.disks.write(disk, 0, block(2));
    await world.disks.write(disk, B, block(7));
    const image = await world.disks.read(disk, { start: 0, end: 6 * B });
    const id = await start(world);
    const unit = await until(world, 'transfer-unit');
    const waiting: QueuedMessage[] = [unit];
    for (let message = world.queue.take(); message !== undefined; message = world.queue.take()) waiting.push(message);
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    await world.drain();
    expect(live(world)).toEqual([...images.keys()].slice(1));
    for (const message of waiting) world.queue.putBack(message);
    await world.drain();
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, image);
    await restoresExactly(world, images);
  });

  it('a point that is read from does not begin to go', async () => {
    const { world, images } = await threePoints();
    await vaultOnly(world);
    const first = [...images.keys()][0]!;
    await startRestore(world.ports, VAULT, KEY, first, { accountId: '/x/restored' });
    const waiting: QueuedMessage[] = [await until(world, 'plan-restore')];
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    await world.drain();
    expect(live(world)).toContain(first);
    for (const message of waiting) world.queue.putBack(message);
    await world.drain();
    await world.cleanUp();
    expect(live(world)).not.toContain(first);
  });

  it('a point that goes can no longer be read from', async () => {
    const { world, images } = await threePoints();
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    const plan = await until(world, 'plan-merge');
    const first = [...images.keys()][0]!;
    const refused = startRestore(world.ports, VAULT, KEY, first, { accountId: '/x/restored' });
    await expect(refused).rejects.toSatisfy((error) => isBackupError(error, 'UserErrorRecoveryPointLeaving'));
    world.queue.putBack(plan);
    await world.drain();
    expect(live(world)).not.toContain(first);
  });
});
