import { describe, expect, it } from 'vitest';
import type { Step } from '../../shared/queue/steps.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { runStep } from '../../shared/services/run-step.ts';
import type { QueuedMessage } from '../support/memory-queue.ts';
import { losingAnswers } from '../support/put-by.ts';
import { leftovers } from '../support/vault-map.ts';
import { DAY_MS, VAULT } from '../support/world.ts';
import {
  B,
  KEY,
  type Stage,
  block,
  container,
  live,
  restoresExactly,
  stage,
  start,
  until,
  vaultOnly,
} from './stage.ts';

/* Two workers at once, messages twice and late, lost answers, readers beside merges: the named cases. */

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

describe('a lost answer', () => {
  it('to the write of a layer, pack or manifest is no loss', async () => {
    const { world, disk, images, backUp } = await stage({
      wrapHandlers: losingAnswers(/\.layer$|\.pack$|\/points\//),
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

  /** Merges while the messages from the first `wanted` one on wait, and lets them go then. */
  async function mergeBefore({ world, images }: Stage, wanted: Step['step']): Promise<void> {
    const waiting: QueuedMessage[] = [await until(world, wanted)];
    for (let message = world.queue.take(); message !== undefined; message = world.queue.take()) waiting.push(message);
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    await world.drain();
    expect(live(world)).toEqual([...images.keys()].slice(1));
    for (const message of waiting) world.queue.putBack(message);
    await world.drain();
  }

  it('a restore whose layers were merged away finds its point again, and no later one', async () => {
    const staged = await threePoints();
    const { world, images } = staged;
    await vaultOnly(world);
    const middle = [...images.keys()][1]!;
    const id = await startRestore(world.ports, VAULT, KEY, middle, { accountId: '/x/restored' });
    await mergeBefore(staged, 'restore-unit');
    const job = await world.job(id);
    expect(job.errors).toEqual([]);
    expect(job.status).toBe('Completed');
    const url = world.disks.urls().find((each) => each.startsWith(job.restore!.containerUrl) && each.endsWith('.vhd'))!;
    expect(Buffer.compare(await world.disks.read(url, { start: 0, end: 6 * B }), images.get(middle)!)).toBe(0);
  });

  it("a transfer whose base's layers were merged away takes its stack from the newest record", async () => {
    const staged = await threePoints();
    const { world, disk, images } = staged;
    // Block 0 becomes again what it was at the point before the base.
    await world.disks.write(disk, 0, block(2));
    await world.disks.write(disk, B, block(7));
    const image = await world.disks.read(disk, { start: 0, end: 6 * B });
    const id = await start(world);
    await mergeBefore(staged, 'transfer-unit');
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, image);
    await restoresExactly(world, images);
  });
});
