import { describe, expect, it } from 'vitest';
import { CLEARED } from '../../shared/domain/extent.ts';
import type { Step } from '../../shared/queue/steps.ts';
import { decodeLayer } from '../../shared/format/layer-file.ts';
import { packTail, readPackTable } from '../../shared/format/pack.ts';
import { startCompaction } from '../../shared/services/compact.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { failJob, cancelJob } from '../../shared/services/watch.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import type { StoredBlob } from '../support/memory-vault.ts';
import { gatedPorts } from '../support/gated-ports.ts';
import { leftovers, liveManifests, newestRecord, ownedBlocks } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World } from '../support/world.ts';
import { REGION, bytesOf, compact, counted, namesOf, noise, sparse } from './compact-stage.ts';
import { B, KEY, container, holding, restoresExactly, start, until, vaultOnly } from './stage.ts';

/* Sparse packs become dense ones, and nobody sees a difference but in the bill. */

const FRAME = 16 * B;
const item = async (world: World) => (await world.ports.catalog.items.get(VAULT, KEY))!.row;

describe('a compaction', () => {
  it('moves the frames in use, changes no view, and lets the old packs go after the grace', async () => {
    const { world, images, allow } = await sparse();
    const before = ownedBlocks(container(world), REGION);
    const packs = namesOf(world, '.pack');
    const bytes = bytesOf(world, '.pack');
    allow();
    const begun = world.clock.now();
    const job = await compact(world);
    await world.drain();
    expect(await world.job(job)).toMatchObject({
      status: 'Completed',
      errors: [],
      doneBytes: 3 * FRAME,
      totalBytes: 3 * FRAME,
    });
    expect(newestRecord(container(world))).toMatchObject({ kind: 'compact', state: 'protected' });
    expect(await item(world)).not.toHaveProperty('mergeJob');
    expect(ownedBlocks(container(world), REGION)).toEqual(before);
    // Five frames of eight were dead; the pack that is all alive stays where it is.
    const saved = bytes - bytesOf(world, '.pack');
    expect(saved).toBeGreaterThan(5 * FRAME);
    expect(saved).toBeLessThan(5 * FRAME + 2_000);
    expect(namesOf(world, '.pack').filter((name) => packs.includes(name))).toHaveLength(packs.length - 1);
    expect(world.clock.now() - begun).toBeGreaterThanOrEqual(60_000);
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('keeps the old packs until the grace is over', async () => {
    const { world, allow } = await sparse();
    const packs = namesOf(world, '.pack');
    allow();
    await compact(world);
    const reclaim = await until(world, 'reclaim');
    expect(namesOf(world, '.pack')).toEqual(expect.arrayContaining(packs));
    await runStep(world.ports, reclaim.step);
    expect(namesOf(world, '.pack')).not.toEqual(expect.arrayContaining(packs));
  });

  it('writes packs and counts that are true', async () => {
    const { world, allow } = await sparse();
    allow();
    await compact(world);
    await world.drain();
    const [fold] = liveManifests(container(world))[0]!.disks[0]!.regions[0]!.layers;
    const name = namesOf(world, `.${fold!.attempt}.layer`)[0]!;
    const file = container(world).get(name)!.body;
    const layer = decodeLayer(name, file);
    const sizes = layer.packs.map((pack) => container(world).get(pack.name)!.body.length);
    expect(layer.packs.map(({ totalBytes }) => totalBytes)).toEqual(sizes);
    expect(fold!.storedBytes).toBe(file.length + sizes.reduce((sum, size) => sum + size, 0));
    const live = layer.frames.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
    expect(fold!.liveBytes).toBe(file.length + live);
    expect(fold!.storedBytes - fold!.liveBytes).toBeLessThan(2_000);
    // The table of a new pack tells all blocks of its frames, the dead one included.
    const made = layer.packs.find((pack) => pack.name.includes(fold!.attempt))!;
    const table = readPackTable(made.name, container(world).get(made.name)!.body);
    expect(table.map(({ blocks }) => [blocks[0], blocks.length])).toEqual([
      [48, 16],
      [96, 16],
      [112, 16],
    ]);
    expect((await world.points('vm')).map(({ storedBytes }) => storedBytes).reduce((a, b) => a + b)).toBe(
      counted(world).storedBytes,
    );
  });

  it('takes away the checkpoints that stand for what has another name now, and no others', async () => {
    const { world, disk, images, backUp, allow } = await sparse(2);
    // Each change goes to both regions, until their stacks are deep enough for a checkpoint.
    for (const n of [0, 1, 2, 3]) {
      await world.disks.write(disk, n * B, noise(`first ${n}`, 20));
      await world.disks.write(disk, (REGION + n) * B, noise(`second ${n}`, 20));
      await backUp(60);
    }
    const checkpoints = namesOf(world, '.checkpoint');
    expect(checkpoints.length).toBeGreaterThanOrEqual(2);
    allow();
    // Room for one region only.
    const { started } = await startCompaction(world.ports, VAULT, KEY, 4 * FRAME);
    expect(started).toBe(true);
    await world.drain();
    const left = namesOf(world, '.checkpoint');
    expect(left.length).toBeGreaterThan(0);
    expect(left.length).toBeLessThan(checkpoints.length);
    expect(checkpoints).toEqual(expect.arrayContaining(left));
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('goes as far as its budget, and on from there the next time', async () => {
    const { world, images, allow } = await sparse(3);
    const wasted = (): number => counted(world).storedBytes - counted(world).liveBytes;
    allow();
    const all = wasted();
    expect(all).toBeGreaterThan(15 * FRAME);
    expect(await startCompaction(world.ports, VAULT, KEY, 0)).toEqual({ started: false, bytes: 0, left: 0 });
    const start = await startCompaction(world.ports, VAULT, KEY, 7 * FRAME);
    expect(start).toMatchObject({ started: true, bytes: 6 * FRAME });
    expect(start.left).toBeGreaterThan(0);
    await world.drain();
    // Three frames of each pack have to move: the budget is enough for two packs.
    expect(all - wasted()).toBeGreaterThan(10 * FRAME);
    expect(all - wasted()).toBeLessThan(11 * FRAME);
    await compact(world);
    await world.drain();
    expect(wasted()).toBeLessThan(10_000);
    expect(await startCompaction(world.ports, VAULT, KEY, Infinity)).toMatchObject({ left: 0 });
    await world.drain();
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('with many units sends them to others', async () => {
    const { world, images, allow } = await sparse(10);
    allow();
    const job = await compact(world);
    await until(world, 'compact-unit').then((message) => world.queue.putBack(message));
    await world.drain();
    expect((await world.job(job)).status).toBe('Completed');
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('leaves layers in slabs alone, and does not start where nothing pays', async () => {
    const { world, allow } = await sparse();
    const nothing = { started: false, bytes: 0, left: 0 };
    expect(await startCompaction(world.ports, VAULT, KEY, Infinity)).toEqual(nothing);
    allow({ liveBelow: 0.9, leastWasteBytes: 1 });
    // At the prices of the cool tier, a MiB for two months is not worth a dozen requests.
    expect(await startCompaction(world.ports, VAULT, KEY, Infinity)).toEqual(nothing);
    expect(world.queue.waiting()).toEqual([]);
  });

  it('does not start while a backup, a merge, or another compaction holds the item', async () => {
    const { world, disk, images, allow } = await sparse();
    const refused = async (): Promise<void> => {
      allow();
      expect(await startCompaction(world.ports, VAULT, KEY, Infinity)).toMatchObject({ started: false });
      allow({ liveBelow: 0 });
    };
    const image = await world.disks.read(disk, { start: 0, end: world.disks.sizeBytes(disk) });
    const backup = await start(world, 90);
    await refused();
    await world.drain();
    images.set((await world.job(backup)).point!, image);

    world.clock.advance(70 * DAY_MS);
    images.delete([...images.keys()][0]!);
    await cleanUp(world.ports);
    const merge = await until(world, 'plan-merge');
    await refused();
    world.queue.putBack(merge);
    await world.drain();

    allow();
    await compact(world);
    await refused();
    await world.drain();
    await restoresExactly(world, images);
  });

  it('does nothing for an item whose protection is stopped', async () => {
    const { world, allow } = await sparse();
    allow();
    const job = await compact(world);
    const chain = await world.chain('vm');
    const stopped = { kind: 'state', attempt: 'f'.repeat(16), job: null, writtenAt: 'now', state: 'stopped' } as const;
    await chain.append(await chain.newest(), stopped as unknown as Parameters<typeof chain.append>[1]);
    const packs = namesOf(world, '.pack');
    await world.drain();
    expect((await world.job(job)).status).toBe('Cancelled');
    expect(namesOf(world, '.pack')).toEqual(packs);
    expect(await startCompaction(world.ports, VAULT, KEY, Infinity)).toMatchObject({ started: false });
  });
});

/** Where each block of the newest point's one layer of region 0 is stored. */
function whereabouts(world: World): Map<number, string> {
  const name = namesOf(world, '.layer').at(-1)!;
  const { packs, frames, extents } = decodeLayer(name, container(world).get(name)!.body);
  const places = new Map<number, string>();
  for (const { start, count, frame, slot } of extents) {
    if (frame === CLEARED) continue;
    const { pack, offset } = frames[frame]!;
    for (let i = 0; i < count; i++) places.set(start + i, `${packs[pack]!.name} ${offset} ${slot + i}`);
  }
  return places;
}

/** A table that reads, and has the blocks of one frame in another order than the layer. */
function liar(name: string, pack: StoredBlob): void {
  const table = readPackTable(name, pack.body);
  const end = table.at(-1)!.offset + table.at(-1)!.storedBytes;
  const lying = table.map((frame, n) => (n === 6 ? { ...frame, blocks: frame.blocks.toReversed() } : frame));
  pack.body = Buffer.concat([pack.body.subarray(0, end), packTail(name, lying)]);
}

describe('a pack that is not what its layer says', () => {
  it.each<[string, (name: string, pack: StoredBlob) => void]>([
    ['has a damaged table', (_, { body }) => (body[body.length - 60]! ^= 1)],
    ['has been cut', (_, pack) => (pack.body = pack.body.subarray(0, 1_000))],
    ['has the table of other blocks', liar],
  ])('stays as it is when it %s, while others move', async (_, damage) => {
    const { world, disk, backUp, allow } = await sparse();
    // One more fold: its oldest pack, and the one above, are sparse, and stand behind one that is all alive.
    const [oldest] = namesOf(world, '.pack');
    await world.disks.write(disk, 0, noise('above', 70));
    await backUp(200);
    world.clock.advance(100 * DAY_MS);
    await world.cleanUp();
    expect(namesOf(world, '.layer')).toHaveLength(1);
    const packs = namesOf(world, '.pack').length;
    expect(packs).toBeGreaterThanOrEqual(3);
    damage(oldest!, container(world).get(oldest!)!);
    const { body } = container(world).get(oldest!)!;
    const before = ownedBlocks(container(world), REGION);
    const frames = whereabouts(world);
    allow();
    const job = await compact(world);
    await world.drain();
    expect(await world.job(job)).toMatchObject({ status: 'Completed', errors: [] });
    expect(namesOf(world, '.pack')).toContain(oldest);
    expect(container(world).get(oldest!)!.body).toEqual(body);
    expect(ownedBlocks(container(world), REGION)).toEqual(before);
    // Each frame has the bytes that it had, wherever it is now; those of the damaged pack have not moved.
    expect([...whereabouts(world).values()].filter((place) => !place.startsWith(oldest!))).not.toEqual(
      [...frames.values()].filter((place) => !place.startsWith(oldest!)),
    );
    expect([...whereabouts(world).values()].filter((place) => place.startsWith(oldest!))).toEqual(
      [...frames.values()].filter((place) => place.startsWith(oldest!)),
    );
    expect(leftovers(container(world))).toEqual([]);
    // It is not tried again and again.
    expect(await startCompaction(world.ports, VAULT, KEY, Infinity)).toMatchObject({ started: false });
  });

  it('is copied as it is where only bytes of a frame are damaged, and the hashes go on telling', async () => {
    const { world, images, allow } = await sparse();
    const [first] = namesOf(world, '.pack');
    // Frame 6 of the first pack: its first byte.
    container(world).get(first!)!.body[16 + 6 * FRAME + 5]! ^= 1;
    allow();
    await compact(world);
    await world.drain();
    expect(namesOf(world, '.pack')).not.toContain(first);
    await vaultOnly(world);
    const { job } = await world.restore('vm', [...images.keys()][0]!);
    expect(job.status).not.toBe('Completed');
    expect(job.errors[0]).toMatchObject({ code: 'PackCorrupt' });
    expect(job.errors[0]!.message).toMatch(/block 96/);
  });
});

describe('a compaction and what comes between', () => {
  it('twins: one layer stands, what the other has written goes with the sweep', async () => {
    const { world, images, allow } = await sparse();
    allow();
    await compact(world);
    const plan = await until(world, 'plan-compaction');
    const slow = holding(world.ports, /\.layer$/);
    const sleeper = runStep(slow.ports, plan.step);
    await slow.reached;
    await runStep(world.ports, plan.step);
    slow.letGo();
    await sleeper;
    // They may have cut their packs differently: none has written under the other's names.
    const { attempt } = liveManifests(container(world))[0]!.disks[0]!.regions[0]!.layers[0]!;
    expect(namesOf(world, '.pack').filter((name) => name.includes(`.${attempt}.`))).toHaveLength(2);
    world.queue.putBack(plan);
    await world.drain();
    expect(namesOf(world, '.layer')).toHaveLength(1);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it.each([
    ['its record', /\/chain\//],
    ['a manifest', /\/points\//],
    ['a layer', /\.layer$/],
  ])('that slept before writing %s while a backup committed changes nothing', async (_, pattern) => {
    const { world, disk, images, backUp, allow } = await sparse();
    allow();
    const job = await compact(world);
    const plan = await until(world, 'plan-compaction');
    const { ports, reached, letGo } = holding(world.ports, pattern);
    const sleeper = runStep(ports, plan.step);
    await reached;
    await world.disks.write(disk, 0, noise('new', 70));
    await backUp(30);
    const live = newestRecord(container(world));
    allow({ liveBelow: 0 });
    letGo();
    await sleeper;
    await world.drain();
    expect((await world.job(job)).status).toBe('Cancelled');
    expect(newestRecord(container(world)).points).toEqual(live.points);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('stops before its record when its job is gone', async () => {
    const { world, images, allow } = await sparse();
    allow();
    const jobId = await compact(world);
    const plan = await until(world, 'plan-compaction');
    let listings = 0;
    const losing = gatedPorts(world.ports, {
      async before(call) {
        // The first listing is that of planning; the next is that of the commit: the job runs, says the row that has been read.
        if (call !== 'vault.list' || ++listings !== 2) return;
        await world.ports.catalog.jobs.remove(VAULT, jobId);
        await world.ports.catalog.openJobs.remove(VAULT, jobId);
      },
      after: () => undefined,
    });
    await runStep(losing, plan.step);
    expect(listings).toBe(2);
    expect(newestRecord(container(world)).kind).toBe('merge');
    allow({ liveBelow: 0 });
    await world.cleanUp();
    expect(await item(world)).not.toHaveProperty('mergeJob');
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('does not go on when another holds the item', async () => {
    const { world, images, allow } = await sparse();
    allow();
    const job = await compact(world);
    const found = (await world.ports.catalog.items.get(VAULT, KEY))!;
    await world.ports.catalog.items.replace(VAULT, KEY, { ...found.row, mergeJob: undefined }, found.etag);
    await world.drain();
    expect((await world.job(job)).status).toBe('Cancelled');
    expect(newestRecord(container(world)).kind).toBe('merge');
    await restoresExactly(world, images);
  });

  it('puts a record behind the newest when its job ends otherwise, so that a sleeper before the record loses', async () => {
    const { world, images, allow } = await sparse();
    allow();
    const job = await compact(world);
    const plan = await until(world, 'plan-compaction');
    const { ports, reached, letGo } = holding(world.ports, /\/chain\//);
    const sleeper = runStep(ports, plan.step);
    await reached;
    await failJob(world.ports, { vault: VAULT, jobId: job }, new BackupError('JobTimedOut', 'too old'));
    const packs = namesOf(world, '.pack');
    letGo();
    await sleeper;
    allow({ liveBelow: 0 });
    await world.drain();
    expect((await world.job(job)).status).toBe('Failed');
    expect(newestRecord(container(world)).kind).toBe('end');
    expect(namesOf(world, '.pack')).toEqual(packs);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('is not to be cancelled by users, who do not see it', async () => {
    const { world, allow } = await sparse();
    allow();
    const job = await compact(world);
    await expect(cancelJob(world.ports, { vault: VAULT, jobId: job })).rejects.toMatchObject({
      code: 'ResourceNotFound',
    });
  });

  it('goes on after its message was lost', async () => {
    const { world, images, allow } = await sparse();
    allow();
    const job = await compact(world);
    await until(world, 'plan-compaction');
    await world.drain();
    expect((await world.job(job)).status).toBe('InProgress');
    await world.watch();
    expect((await world.job(job)).status).toBe('Completed');
    await restoresExactly(world, images);
  });

  it('a restore that was planned before it reads what stands now', async () => {
    const { world, images, allow } = await sparse(2);
    await vaultOnly(world);
    const point = [...images.keys()][0]!;
    const restore = await startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored' });
    const units: Step[] = [];
    for (let message = await until(world, 'restore-unit'); units.length < 2;) {
      units.push(message.step);
      if (units.length < 2) message = await until(world, 'restore-unit');
    }
    allow();
    await compact(world);
    const reclaim = await until(world, 'reclaim');
    await runStep(world.ports, reclaim.step);
    expect(leftovers(container(world)).filter((name) => !name.includes('/plans/'))).toEqual([]);
    for (const step of units) await runStep(world.ports, step);
    await world.drain();
    expect(await world.job(restore)).toMatchObject({ status: 'Completed', errors: [] });
    const target = world.disks.urls().find((url) => url.startsWith('https://restored') && url.endsWith('.vhd'))!;
    const bytes = await world.disks.read(target, { start: 0, end: world.disks.sizeBytes(target) });
    expect(Buffer.compare(bytes, images.get(point)!)).toBe(0);
  });

  it('a backup that was planned before its commit builds on what stands now', async () => {
    const { world, disk, images, allow } = await sparse(2);
    allow();
    await compact(world);
    const plan = await until(world, 'plan-compaction');
    await world.disks.write(disk, 7 * B, noise('later', 90));
    await world.disks.clear(disk, { start: REGION * B, end: (REGION + 3) * B });
    const image = await world.disks.read(disk, { start: 0, end: world.disks.sizeBytes(disk) });
    const backup = await start(world);
    const unit = await until(world, 'transfer-unit');
    await runStep(world.ports, plan.step);
    expect(newestRecord(container(world)).kind).toBe('compact');
    const reclaim = await until(world, 'reclaim');
    await runStep(world.ports, reclaim.step);
    world.queue.putBack(unit);
    allow({ liveBelow: 0 });
    await world.drain();
    const job = await world.job(backup);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, image);
    await restoresExactly(world, images);
    expect(leftovers(container(world))).toEqual([]);
  });
});
