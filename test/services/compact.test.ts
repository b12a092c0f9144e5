import { describe, expect, it } from 'vitest';
import { decodeLayer } from '../../shared/format/layer-file.ts';
import { readPackTable } from '../../shared/format/pack.ts';
import { startCompaction } from '../../shared/services/compact.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { leftovers, liveManifests, newestRecord, ownedBlocks } from '../support/vault-map.ts';
import { DAY_MS, VAULT } from '../support/world.ts';
import { FRAME, REGION, bytesOf, compact, counted, namesOf, noise, sparse } from './compact-stage.ts';
import { B, KEY, container, itemOf, restoresExactly, start, until } from './stage.ts';

/* Sparse packs become dense ones, and nobody sees a difference but in the bill. */

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
    expect(await itemOf(world)).not.toHaveProperty('mergeJob');
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
