import { describe, expect, it } from 'vitest';
import type { JobId } from '../../shared/domain/ids.ts';
import { startCompaction } from '../../shared/services/compact.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { cancelJob } from '../../shared/services/watch.ts';
import { assertBilled } from '../support/assert-billed.ts';
import { leftovers, liveManifests, newestRecord } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World } from '../support/world.ts';
import { compact, sparse } from './compact-stage.ts';
import { firsts, isSound, mergedAcross, parted, partsOf, planNames } from './parts-stage.ts';
import { lose, rebuild } from './rebuild-stage.ts';
import { B, KEY, block, container, live, restoresExactly, stage, start, until } from './stage.ts';
import { takeSteps, verify } from './verify-stage.ts';

/* The life of a vault in which plans and manifests all have parts: everything else is as without them. */

async function expire(world: World, days: number): Promise<void> {
  world.clock.advance(days * DAY_MS);
  await world.cleanUp();
}

/** A backup that has written some of its objects. */
async function underWay(world: World, disk: string): Promise<JobId> {
  await world.disks.write(disk, 0, block(77, 6));
  const id = await start(world);
  for (let units = 0; units < 2; units++) await runStep(world.ports, (await until(world, 'transfer-unit')).step);
  expect(planNames(world).length).toBeGreaterThan(1);
  return id;
}

describe.each([
  { spanRegions: 1, thinBytes: -1, foldRatio: 64 },
  { spanRegions: 2, thinBytes: 8 * B, foldRatio: 64 },
  { spanRegions: 2, thinBytes: B, foldRatio: 1 },
])('a vault with spans of $spanRegions regions, thin up to $thinBytes bytes, folds at $foldRatio,', (layout) => {
  it('goes through backups, merges, a verification and a rebuild as any other', async () => {
    const { world, disk, images, backUp } = await stage(parted({ ...layout, checkpointDepth: 1 }));
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(2);
    await world.disks.write(disk, B, block(2));
    await world.disks.write(disk, 4 * B, block(3));
    await backUp(4);
    await world.disks.clear(disk, { start: B, end: 2 * B });
    await world.disks.write(disk, 5 * B, block(4));
    await backUp(8);
    await world.disks.write(disk, 0, block(5, 2));
    await backUp(60);
    expect(liveManifests(container(world)).every(({ format }) => format === 3)).toBe(true);
    await isSound(world, images);
    for (const days of [3, 2, 5]) {
      await expire(world, days);
      await isSound(world, images);
    }
    expect(live(world)).toHaveLength(1);
    await world.disks.write(disk, 3 * B, block(6));
    await backUp(60);
    await isSound(world, images);
    expect(await verify(world)).toMatchObject({ status: 'Completed', errors: [] });
    await lose(world);
    expect((await rebuild(world)).job).toMatchObject({ status: 'Completed', errors: [] });
    await isSound(world, images);
  });

  it('is left clean by a backup that was cancelled', async () => {
    const { world, disk, backUp } = await stage(parted(layout));
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await cancelJob(world.ports, { vault: VAULT, jobId: await underWay(world, disk) });
    await world.drain();
    await world.sweep();
    expect(planNames(world)).toEqual([]);
    expect(leftovers(container(world))).toEqual([]);
    await assertBilled(world);
  });
});

describe('a merge', () => {
  it('keeps the parts of its successor that it has nothing for, and writes the others', async () => {
    const { world, disk, images, backUp } = await stage(parted());
    await world.disks.write(disk, B, block(1));
    await world.disks.write(disk, 5 * B, block(1));
    await backUp(2);
    for (const region of [0, 1, 3]) await world.disks.write(disk, region * B, block(2));
    await backUp(30);
    const before = partsOf(world)[1]!.map(({ name }) => name);
    await expire(world, 3);
    expect(firsts(world)).toEqual([[0, 1, 3, 5]]);
    expect(partsOf(world)[0]!.map(({ name }) => before.includes(name))).toEqual([true, false, true, false]);
    await isSound(world, images);
  });

  it('brings the regions of a point that had parts into a manifest that had none', async () => {
    const { world, disk, images, backUp } = await stage(parted({ inlineRegions: 3 }));
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(2);
    await world.disks.write(disk, 2 * B, block(2));
    await backUp(30);
    expect(firsts(world).map((each) => each.length)).toEqual([6, 0]);
    await expire(world, 3);
    expect(firsts(world).map((each) => each.length)).toEqual([6]);
    await isSound(world, images);
  });

  it('that takes some regions of a slab across spans leaves it for the others', async () => {
    const { world, images } = await mergedAcross();
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('that leaves few regions writes a manifest without parts again', async () => {
    const { world, disk, images, backUp } = await stage(parted({ inlineRegions: 2 }));
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(2);
    await world.disks.clear(disk, { start: B, end: 6 * B });
    await backUp(30);
    expect(firsts(world).map((each) => each.length)).toEqual([6, 5]);
    await expire(world, 3);
    expect(firsts(world)).toEqual([[]]);
    expect(liveManifests(container(world))[0]!.format).toBe(2);
    await isSound(world, images);
  });
});

it('a compaction rewrites the spans that it changes, and no others', async () => {
  const { world, images, allow } = await sparse(3, {
    layout: { spanRegions: 1, inlineRegions: 0, thinBytes: -1, checkpointDepth: 1 },
  });
  await isSound(world, images);
  const names = (): string[] => partsOf(world)[0]!.map(({ name }) => name);
  const before = names();
  expect(before).toHaveLength(3);
  allow();
  await compact(world, 3 * 16 * B); // what one region moves
  await world.drain();
  expect(newestRecord(container(world)).kind).toBe('compact');
  expect(names().filter((name) => before.includes(name))).toHaveLength(2);
  await isSound(world, images);
  expect(await startCompaction(world.ports, VAULT, KEY, Infinity)).toMatchObject({ started: true });
  await world.drain();
  expect(names().filter((name) => before.includes(name))).toEqual([]);
  await isSound(world, images);
});

it('a transfer sends every unit of every part by its number, and those that were lost again', async () => {
  const { world, disk, images } = await stage(parted());
  await world.disks.write(disk, 0, block(1, 6));
  const id = await start(world);
  await runStep(world.ports, (await until(world, 'plan-transfer')).step);
  const sent = takeSteps(world, 'transfer-unit');
  expect(sent.map((step) => (step.step === 'transfer-unit' ? step.unit : -1))).toEqual([0, 1, 2, 3, 4, 5]);
  expect(planNames(world)).toHaveLength(2);
  for (const step of sent.filter((_, unit) => unit !== 1 && unit !== 5)) await runStep(world.ports, step);
  await runStep(world.ports, (await until(world, 'commit')).step);
  expect((await world.job(id)).doneBytes).toBe(4 * B);
  for (const unit of [1, 5]) {
    const again = await until(world, 'transfer-unit');
    expect(again.step).toMatchObject({ unit });
    await runStep(world.ports, again.step);
  }
  await world.drain();
  const job = await world.job(id);
  expect(job).toMatchObject({ status: 'Completed', errors: [], doneBytes: 6 * B, totalBytes: 6 * B });
  expect(planNames(world)).toEqual([]);
  images.set(job.point!, block(1, 6));
  await isSound(world, images);
});
