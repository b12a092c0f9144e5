import { describe, expect, it } from 'vitest';
import type { Step } from '../../shared/queue/steps.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { putBy } from '../support/put-by.ts';
import { assertBilled } from '../support/assert-billed.ts';
import { DAY_MS, type World } from '../support/world.ts';
import { isSound, mergedAcross, planNames, wide } from './parts-stage.ts';
import { B, block, live, start, until } from './stage.ts';
import { takeSteps } from './verify-stage.ts';

/* A layout may differ from one run to the next: a new version of Strata may take over between any two steps. */

/** Handles all messages of one kind that wait. */
async function runAll(world: World, kind: Step['step']): Promise<void> {
  for (const step of takeSteps(world, kind)) await runStep(world.ports, step);
}

describe.each([
  { from: 1, to: 4, thinBytes: -1 },
  { from: 1, to: 4, thinBytes: 16 * B },
  { from: 4, to: 1, thinBytes: -1 },
  { from: 4, to: 1, thinBytes: 16 * B },
  { from: 2, to: 3, thinBytes: 16 * B },
])('spans of $from regions that become spans of $to (thin up to $thinBytes bytes)', ({ from, to, thinBytes }) => {
  it('between the plan of a merge and its commit change nothing that a point shows', async () => {
    const { world, disk, images, backUp, change } = await wide({ spanRegions: from, thinBytes });
    await world.disks.write(disk, 0, block(1, 16));
    await backUp(2);
    await world.disks.write(disk, 0, block(2, 15));
    await backUp(4);
    await world.disks.write(disk, B, block(3, 15));
    await backUp(30);
    for (const days of [3, 2]) {
      world.clock.advance(days * DAY_MS);
      await cleanUp(world.ports);
      await runStep(world.ports, (await until(world, 'plan-merge')).step);
      expect(planNames(world).length).toBeGreaterThan(1);
      change({ spanRegions: to });
      await world.drain();
      change({ spanRegions: from });
      await isSound(world, images);
    }
    expect(live(world)).toHaveLength(1);
  });

  it('between the plan of a backup and its commit change nothing that a point shows', async () => {
    const { world, disk, images, change } = await wide({ spanRegions: from, thinBytes });
    await world.disks.write(disk, 0, block(1, 16));
    const id = await start(world);
    await runStep(world.ports, (await until(world, 'plan-transfer')).step);
    change({ spanRegions: to });
    await world.drain();
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, block(1, 16));
    await isSound(world, images);
  });

  it('between two runs of a commit change nothing that a point shows', async () => {
    const { world, disk, images, change } = await wide({ spanRegions: from, thinBytes });
    await world.disks.write(disk, 0, block(1, 16));
    const id = await start(world);
    const { step } = await until(world, 'commit');
    await runAll(world, 'transfer-unit');
    // The first run dies when it has written the parts.
    const dying = putBy(world.ports, async (real, name, body, summary) => {
      if (/\/points\/\d{17}\.[0-9a-f]{16}\.json$/.test(name)) throw new Error('killed');
      return real.put(name, body, summary);
    });
    await expect(runStep(dying, step)).rejects.toThrow('killed');
    change({ spanRegions: to });
    await runStep(world.ports, step);
    await world.drain();
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, block(1, 16));
    await world.sweep();
    await isSound(world, images);
  });
});

it('of a slab across spans every byte stays explained', async () => {
  const { world } = await mergedAcross();
  await assertBilled(world);
});

it('a backup on a base whose spans are one writes slabs that end where its own spans do', async () => {
  const { world, disk, images, backUp, change } = await wide({
    spanRegions: 16,
    inlineRegions: 256,
    thinBytes: 16 * B,
  });
  await world.disks.write(disk, 0, block(1, 16));
  await backUp(90);
  change({ spanRegions: 2, inlineRegions: 0 });
  await world.disks.write(disk, 0, block(2, 16));
  await backUp(2);
  await world.disks.clear(disk, { start: 0, end: 3 * B });
  await backUp(30);
  // The second goes into the third: neither knows of the base's spans.
  world.clock.advance(3 * DAY_MS);
  await world.cleanUp();
  expect(live(world)).toHaveLength(2);
  await isSound(world, images);
});
