import { describe, expect, it } from 'vitest';
import { isBackupError } from '../../shared/domain/errors.ts';
import type { JobId } from '../../shared/domain/ids.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { holdsItem } from '../../shared/services/holders.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { takeDue } from '../../shared/services/take-due.ts';
import { cancelJob } from '../../shared/services/watch.ts';
import { collect } from '../support/collect.ts';
import type { QueuedMessage } from '../support/memory-queue.ts';
import { atEachCall, callNumber, fallAsleep } from '../support/sleeper.ts';
import { leftovers } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World } from '../support/world.ts';
import { imageOf, whole } from '../simulation/rules/story.ts';
import { B, block, container, itemOf, live, stage, start, type Stage, until, vaultOnly } from './stage.ts';

/* The scheduled tick comes while an earlier backup of the item still transfers. */

/** A backup whose units are on their way; `held` is the message of one of them, kept back. */
async function transferring(): Promise<Stage & { first: JobId; held: QueuedMessage }> {
  const told = await stage();
  await told.world.disks.write(told.disk, 0, block(1, 6));
  const first = await start(told.world);
  const image = await imageOf(told);
  const held = await until(told.world, 'transfer-unit');
  told.images.set((await told.world.job(first)).point!, image);
  return { ...told, first, held };
}

/** A day later the tick comes: the disk has changed, and the job takes its snapshots. Resolves the job that now waits last. */
async function tick({ world, disk, images }: Stage, fill: number): Promise<JobId> {
  world.clock.advance(DAY_MS);
  await world.disks.write(disk, B, block(fill));
  const image = await imageOf({ world, disk } as Stage);
  expect(await takeDue(world.ports)).toBe(1);
  await untilIdle(world);
  const { jobId, point } = (await itemOf(world)).waiting!.at(-1)!;
  images.set(point, image);
  return jobId;
}

/** Handles what is due without letting time pass: the coordinator of the running transfer looks again only later. */
async function untilIdle(world: World): Promise<void> {
  while (world.queue.due().some(({ step }) => step.step !== 'commit')) {
    const [next] = world.queue.due().filter(({ step }) => step.step !== 'commit');
    await runStep(world.ports, world.queue.take(next!.id)!.step);
  }
}

const tiersOf = async (world: World) => (await world.points('vm')).map(({ instant, vault }) => [instant, vault]);

async function letGo({ world, held }: { world: World; held: QueuedMessage }): Promise<void> {
  world.queue.putBack(held);
  await world.drain();
}

describe('a tick during a running transfer', () => {
  it('is a job that says what it waits for, and the day has a point', async () => {
    const told = await transferring();
    const { world, first } = told;
    const second = await tick(told, 2);
    const job = await world.job(second);
    expect(job).toMatchObject({
      status: 'InProgress',
      errors: [{ code: 'UserErrorBackupOperationInProgress', message: expect.stringContaining(first) }],
      tasks: [{ status: 'Completed' }, { status: 'NotStarted' }],
      attempts: [],
    });
    expect(await tiersOf(world)).toEqual([
      ['Valid', 'None'],
      ['Valid', 'None'],
    ]);
    expect(world.queue.waiting().map(({ step }) => step.step)).toEqual(['commit']); // nothing polls
  });

  it('goes into the vault after the one that it waited for, as what has changed since', async () => {
    const told = await transferring();
    const { world, first, images } = told;
    const second = await tick(told, 2);
    await letGo(told);
    expect(await world.job(first)).toMatchObject({ status: 'Completed' });
    expect(await world.job(second)).toMatchObject({
      status: 'Completed',
      errors: [],
      sources: [{ source: 'diff' }],
      tasks: [{ status: 'Completed' }, { status: 'Completed' }],
    });
    expect(live(world)).toEqual([...images.keys()]);
    expect(await itemOf(world)).toMatchObject({ lastBackupStatus: 'Completed' });
    expect((await itemOf(world)).waiting).toBeUndefined();
    await whole(told);
  });

  it('of several that wait the newest goes on, and the older ones say that they stay in the snapshot tier', async () => {
    const told = await transferring();
    const { world, images } = told;
    const ids = [await tick(told, 2), await tick(told, 3), await tick(told, 4)];
    const jobs = await Promise.all(ids.map((id) => world.job(id)));
    expect(jobs.map(({ status }) => status)).toEqual(['CompletedWithWarnings', 'CompletedWithWarnings', 'InProgress']);
    expect(jobs[0]!.errors.map(({ code }) => code)).toEqual([
      'UserErrorBackupOperationInProgress',
      'RecoveryPointOvertaken',
    ]);
    const [one, two, three, four] = [...images.keys()];
    const noted = (await world.points('vm')).filter(({ note }) => note !== undefined).map(({ point }) => point);
    expect(noted).toEqual([two, three]);
    // They can be restored as long as their snapshots are there.
    const { disks } = await world.restore('vm', two!);
    expect(Buffer.compare(disks[0]!, images.get(two!)!)).toBe(0);
    await letGo(told);
    expect(live(world)).toEqual([one, four]);
    world.clock.advance(3 * DAY_MS);
    await world.cleanUp();
    expect((await world.points('vm')).map(({ point }) => point)).toEqual([one, four]);
    await whole(told);
  });

  it('comes again at the next tick where the other is taking its snapshots: sets never overlap', async () => {
    const { world, disk } = await stage();
    const first = await start(world);
    const take = await until(world, 'take-snapshot');
    world.clock.advance(DAY_MS);
    expect(await takeDue(world.ports)).toBe(0);
    world.queue.putBack(take);
    const unit = await until(world, 'plan-transfer');
    expect(await takeDue(world.ports)).toBe(1);
    // Nor does a third begin before the second has its set.
    world.clock.advance(DAY_MS);
    expect(await takeDue(world.ports)).toBe(0);
    world.queue.putBack(unit);
    await world.drain();
    expect(await world.job(first)).toMatchObject({ status: 'Completed' });
    expect(await collect(world.ports.snapshots.list(disk))).toHaveLength(2);
    expect(live(world)).toHaveLength(2);
  });

  it('on request none begins while one transfers or waits', async () => {
    const told = await transferring();
    const refused = (error: unknown): boolean => isBackupError(error, 'BMSUserErrorObjectLocked');
    await expect(start(told.world)).rejects.toSatisfy(refused);
    await tick(told, 2);
    await expect(start(told.world)).rejects.toSatisfy(refused);
    await cancelJob(told.world.ports, { vault: VAULT, jobId: told.first });
    await expect(start(told.world)).rejects.toSatisfy(refused);
    await told.world.drain();
    await start(told.world);
  });

  it('keeps its snapshots past their time as long as it waits', async () => {
    const told = await transferring();
    const second = await tick(told, 2);
    told.world.clock.advance(5 * DAY_MS);
    await cleanUp(told.world.ports);
    await untilIdle(told.world);
    expect(await tiersOf(told.world)).toEqual([
      ['Valid', 'None'],
      ['Valid', 'None'],
    ]);
    await letGo(told);
    expect(await told.world.job(second)).toMatchObject({ status: 'Completed' });
  });

  it('is the first full one when the other is cancelled', async () => {
    const told = await transferring();
    const second = await tick(told, 2);
    await cancelJob(told.world.ports, { vault: VAULT, jobId: told.first });
    await told.world.drain();
    expect(await told.world.job(second)).toMatchObject({ status: 'Completed', sources: [{ source: 'full' }] });
    expect(live(told.world)).toEqual([[...told.images.keys()][1]]);
    await whole(told);
  });

  it('may be cancelled while it waits, and the other goes on', async () => {
    const told = await transferring();
    const second = await tick(told, 2);
    await cancelJob(told.world.ports, { vault: VAULT, jobId: second });
    expect((await itemOf(told.world)).waiting).toBeUndefined();
    await letGo(told);
    expect(await told.world.job(told.first)).toMatchObject({ status: 'Completed' });
    expect(live(told.world)).toHaveLength(1);
  });

  it('an older one goes on where the newer could not take its snapshots', async () => {
    const told = await transferring();
    const { world } = told;
    const second = await tick(told, 2);
    world.clock.advance(DAY_MS);
    expect(await takeDue(world.ports)).toBe(1);
    const third = (await itemOf(world)).waiting!.at(-1)!.jobId;
    await cancelJob(world.ports, { vault: VAULT, jobId: third });
    await letGo(told);
    expect(await world.job(second)).toMatchObject({ status: 'Completed' });
    expect(live(world)).toHaveLength(2);
  });
});

describe('the item is handed on', () => {
  it('wherever the one that held it dies as it ends', async () => {
    const calls = await atEachCall(async (n) => {
      const told = await transferring();
      const { world } = told;
      const second = await tick(told, 2);
      world.queue.putBack(told.held);
      await runStep(world.ports, (await until(world, 'transfer-unit')).step);
      const commit = await until(world, 'commit');
      const dying = await fallAsleep(world.ports, (ports) => runStep(ports, commit.step), callNumber(n));
      await dying.die();
      await world.drain();
      await world.settle();
      expect((await world.job(told.first)).status).toBe('Completed');
      expect((await world.job(second)).status).toBe('Completed');
      expect(await itemOf(world)).not.toHaveProperty('waiting');
      await whole(told);
      return dying.asleep;
    });
    expect(calls).toBeGreaterThan(10);
  });

  it('to one whose handler sleeps, whose point has its row all the same before a record names it', async () => {
    const calls = await atEachCall(async (n) => {
      const told = await transferring();
      const { world } = told;
      world.clock.advance(DAY_MS);
      await takeDue(world.ports);
      const take = await until(world, 'take-snapshot');
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, take.step), callNumber(n));
      await letGo(told);
      const rows = (await world.points('vm')).map(({ point }): string => point);
      expect(rows).toEqual(expect.arrayContaining(live(world)));
      await sleeper.wake().catch((error: unknown) => expect(isBackupError(error)).toBe(true));
      await world.drain();
      await world.settle();
      expect(live(world)).toHaveLength(2);
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(10);
  });

  it('whoever sleeps as he takes its snapshots, and wakes up when all is over', async () => {
    const calls = await atEachCall(async (n) => {
      const told = await transferring();
      const { world, disk } = told;
      await tick(told, 2);
      world.clock.advance(DAY_MS);
      await takeDue(world.ports);
      const take = await until(world, 'take-snapshot');
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, take.step), callNumber(n));
      world.queue.putBack(take);
      world.queue.putBack(told.held);
      await world.drain();
      await world.settle();
      await sleeper.wake().catch((error: unknown) => expect(isBackupError(error)).toBe(true));
      await world.drain();
      await world.settle();
      expect(live(world)).toHaveLength(2);
      expect(await itemOf(world)).not.toHaveProperty('waiting');
      await world.sweep();
      expect(leftovers(container(world))).toEqual([]);
      expect(await collect(world.ports.snapshots.list(disk))).toHaveLength(3);
      await vaultOnly(world);
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(10);
  });

  it.each([
    ['has been handed the item', true],
    ['waits for it alone', false],
  ])('for good: one that sleeps until it is cancelled and another %s does not end that one', async (_, isHanded) => {
    const ends = { before: 0, never: 0 };
    await atEachCall(async (n) => {
      const told = await transferring();
      const { world } = told;
      const second = await tick(told, 2);
      world.clock.advance(DAY_MS);
      await takeDue(world.ports);
      const third = (await itemOf(world)).waiting!.at(-1)!.jobId;
      const take = await until(world, 'take-snapshot');
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, take.step), callNumber(n));
      await cancelJob(world.ports, { vault: VAULT, jobId: third });
      // The transfer ends, and who waits is handed the item; his own message is not looked at yet.
      const { first: transfers } = told;
      if (isHanded) await cancelJob(world.ports, { vault: VAULT, jobId: transfers });
      const isNext = holdsItem(await itemOf(world), second);
      await sleeper.wake().catch((error: unknown) => expect(isBackupError(error)).toBe(true));
      if (!isHanded) await cancelJob(world.ports, { vault: VAULT, jobId: transfers });
      await world.drain();
      await world.settle();
      const { status, errors } = await world.job(second);
      if (isNext) {
        ends.never++;
        expect({ status, errors }).toEqual({ status: 'Completed', errors: [] });
        expect(live(world)).toHaveLength(1);
      } else {
        // It had been stood in for before the one that did so was cancelled.
        ends.before++;
        expect(status).toBe('CompletedWithWarnings');
        expect(errors.at(-1)).toMatchObject({ code: 'RecoveryPointOvertaken' });
      }
      expect(await itemOf(world)).not.toHaveProperty('waiting');
      expect((await itemOf(world)).activeJob).toBeUndefined();
      await whole(told);
      return sleeper.asleep;
    });
    expect(ends.never).toBeGreaterThan(10);
    expect(ends.before).toBeGreaterThan(3);
  });

  it('to the newest, whose handler died before it could end them', async () => {
    let left = 0;
    await atEachCall(async (n) => {
      const told = await transferring();
      const { world } = told;
      const second = await tick(told, 2);
      world.clock.advance(DAY_MS);
      await takeDue(world.ports);
      const third = (await itemOf(world)).waiting!.at(-1)!.jobId;
      const take = await until(world, 'take-snapshot');
      const dying = await fallAsleep(world.ports, (ports) => runStep(ports, take.step), callNumber(n));
      await dying.die();
      const { waiting = [] } = await itemOf(world);
      told.images.set((await world.job(third)).point!, await imageOf(told));
      if (!waiting.some(({ jobId }) => jobId === second) && (await world.job(second)).status === 'InProgress') {
        left++;
        // Whoever wakes it: it ends, and does not transfer beside the one that still does.
        await runStep(world.ports, { step: 'plan-transfer', v: 1, vault: VAULT, jobId: second });
        expect(await world.job(second)).toMatchObject({ status: 'CompletedWithWarnings', attempts: [] });
      }
      world.queue.putBack(take);
      await letGo(told);
      await world.settle();
      expect((await world.job(third)).status).toBe('Completed');
      const { status, errors } = await world.job(second);
      expect(status).toBe('CompletedWithWarnings');
      expect(errors.at(-1)).toMatchObject({ code: 'RecoveryPointOvertaken' });
      expect(live(world)).toHaveLength(2);
      expect(await itemOf(world)).not.toHaveProperty('waiting');
      await whole(told);
      return dying.asleep;
    });
    expect(left).toBeGreaterThan(0);
  });

  it('for good: one that was cancelled while its handler slept does not end the one that has its turn now', async () => {
    let kept = 0;
    await atEachCall(async (n) => {
      const told = await transferring();
      const { world } = told;
      const second = await tick(told, 2);
      world.clock.advance(DAY_MS);
      await takeDue(world.ports);
      const third = (await itemOf(world)).waiting!.at(-1)!.jobId;
      const take = await until(world, 'take-snapshot');
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, take.step), callNumber(n));
      await cancelJob(world.ports, { vault: VAULT, jobId: third });
      world.queue.putBack(told.held);
      await runStep(world.ports, (await until(world, 'transfer-unit')).step);
      const hasTurn = async (): Promise<boolean> => {
        const { status, attempts } = await world.job(second);
        return status === 'InProgress' && attempts.length > 0;
      };
      for (
        let [next] = world.queue.waiting();
        next !== undefined && !(await hasTurn());
        [next] = world.queue.waiting()
      ) {
        world.clock.advance(Math.max(0, next.dueMs - world.clock.now()));
        await runStep(world.ports, world.queue.take()!.step);
      }
      const isTransferring = await hasTurn();
      await sleeper.wake().catch((error: unknown) => expect(isBackupError(error)).toBe(true));
      await world.drain();
      await world.settle();
      if (isTransferring) {
        kept++;
        expect(await world.job(second)).toMatchObject({ status: 'Completed', errors: [] });
        expect(live(world)).toHaveLength(2);
      }
      return sleeper.asleep;
    });
    expect(kept).toBeGreaterThan(10);
  });
});
