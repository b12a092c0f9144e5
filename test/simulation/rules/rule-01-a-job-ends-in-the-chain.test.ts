import { describe, expect, it } from 'vitest';
import type { JobId } from '../../../shared/domain/ids.ts';
import { runStep } from '../../../shared/services/run-step.ts';
import { cancelJob, watchJobs } from '../../../shared/services/watch.ts';
import { gatedPorts } from '../../support/gated-ports.ts';
import { atEachCall, callNumber, fallAsleep, itsRecord } from '../../support/sleeper.ts';
import { leftovers } from '../../support/vault-map.ts';
import { DAY_MS, VAULT } from '../../support/world.ts';
import { B, KEY, type Stage, block, container, live, stage, start, until } from '../../services/stage.ts';
import { backingUp, completed, merging, whole } from './story.ts';

/** The job has ended, and the chain says the same of its point as its status does. */
async function endedAsTheChainSays({ world, images, image }: Stage & { image: Uint8Array }, id: JobId): Promise<void> {
  const { status, point } = await world.job(id);
  expect(['Cancelled', 'Failed', 'CompletedWithWarnings', 'Completed']).toContain(status);
  if (status === 'Completed') images.set(point!, image);
  expect(live(world)).toEqual([...images.keys()]);
}

describe('rule 1: a job ends in the chain', () => {
  it('a commit asks whether its job runs after it has read the newest record', async () => {
    const { world, images, id, commit } = await backingUp();
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

  it('a commit waits for the last of its objects', async () => {
    const { world, disk, images } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    const image = await world.disks.read(disk, { start: 0, end: 6 * B });
    const id = await start(world);
    const unit = await until(world, 'transfer-unit');
    await runStep(world.ports, (await until(world, 'commit')).step);
    expect(live(world)).toEqual([]);
    world.queue.putBack(unit);
    await world.drain();
    await completed({ world, images, image }, id);
    await whole({ world, images });
  });

  it('a coordinator that wakes up when its job was cancelled and swept commits nothing', async () => {
    const calls = await atEachCall(async (n) => {
      const told = await backingUp();
      const { world, images, id, commit } = told;
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, commit.step), callNumber(n));
      await cancelJob(world.ports, { vault: VAULT, jobId: id }).catch(() => undefined);
      await world.sweep();
      await sleeper.wake();
      await world.drain();
      await endedAsTheChainSays(told, id);
      await world.sweep();
      expect(leftovers(container(world))).toEqual([]);
      await whole({ world, images });
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(10);
  });

  it('a planner that commits on the spot and wakes up when its job was cancelled and swept commits nothing', async () => {
    const calls = await atEachCall(async (n) => {
      const { world, disk, images, backUp } = await stage({ onTheSpotBytes: 1024 * B });
      await world.disks.write(disk, 0, block(1, 6));
      await backUp(30);
      await world.disks.write(disk, 0, block(2));
      const image = await world.disks.read(disk, { start: 0, end: 6 * B });
      const id = await start(world);
      const plan = await until(world, 'plan-transfer');
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), callNumber(n));
      await cancelJob(world.ports, { vault: VAULT, jobId: id }).catch(() => undefined);
      for (let run = 0; run < 2; run++) {
        await world.sweep();
        world.clock.advance(DAY_MS);
      }
      await sleeper.wake();
      await world.drain();
      await endedAsTheChainSays({ world, disk, images, backUp, image }, id);
      for (let run = 0; run < 2; run++) {
        await world.sweep();
        world.clock.advance(DAY_MS);
      }
      expect(leftovers(container(world))).toEqual([]);
      await whole({ world, images });
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(20);
  });

  it('a planner that commits on the spot and wakes up when its twin has done the backup and the next changes nothing', async () => {
    const calls = await atEachCall(async (n) => {
      const { world, disk, images, backUp } = await stage({ onTheSpotBytes: 1024 * B });
      await world.disks.write(disk, 0, block(1, 6));
      await backUp(30);
      await world.disks.write(disk, 0, block(2));
      const image = await world.disks.read(disk, { start: 0, end: 6 * B });
      const id = await start(world);
      const plan = await until(world, 'plan-transfer');
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), callNumber(n));
      await runStep(world.ports, plan.step);
      await world.drain();
      await completed({ world, images, image }, id);
      await world.disks.write(disk, 0, block(3));
      await backUp(30);
      await sleeper.wake();
      await world.drain();
      expect(live(world)).toEqual([...images.keys()].sort());
      await whole({ world, images });
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(20);
  });

  it('a merge that wakes up when its job has failed and was swept commits nothing', async () => {
    const calls = await atEachCall(async (n) => {
      const { world, images, plan } = await merging();
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), callNumber(n));
      world.clock.advance(15 * DAY_MS);
      await watchJobs(world.ports);
      await world.sweep();
      await sleeper.wake();
      await world.drain();
      expect(live(world)).toContain([...images.keys()].at(-1));
      await whole({ world, images });
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(15);
  });

  it('a job that is ending is not swept, and has not ended, until its record stands', async () => {
    const told = await backingUp();
    const { world, images, id, commit } = told;
    const coordinator = await fallAsleep(world.ports, (ports) => runStep(ports, commit.step), itsRecord);
    const cancelling = await fallAsleep(
      world.ports,
      (ports) => cancelJob(ports, { vault: VAULT, jobId: id }),
      itsRecord,
    );
    expect([coordinator.asleep, cancelling.asleep]).toEqual([true, true]);
    expect((await world.job(id)).status).toBe('Cancelling');
    await runStep(world.ports, { step: 'sweep-item', v: 1, vault: VAULT, itemId: KEY });
    const marks: string[] = [];
    for await (const { row } of world.ports.catalog.marks.listAll()) marks.push(row.name);
    expect(marks, 'what it has written has not even been marked').toEqual([]);
    await world.sweep();
    // Its own record is not there yet: the commit is what happens.
    await coordinator.wake();
    await cancelling.wake();
    await world.drain();
    await endedAsTheChainSays(told, id);
    expect((await world.job(id)).status).toBe('Completed');
    await whole({ world, images });
  });

  it('a planner that sleeps has noted its plan before the first object of it is there', async () => {
    const calls = await atEachCall(async (n) => {
      const { world, disk, images } = await stage();
      await world.disks.write(disk, 0, block(1, 6));
      const image = await world.disks.read(disk, { start: 0, end: 6 * B });
      const id = await start(world);
      const plan = await until(world, 'plan-transfer');
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), callNumber(n));
      await world.sweep();
      await sleeper.wake();
      await world.drain();
      expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
      images.set((await world.job(id)).point!, image);
      await whole({ world, images });
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(10);
  });
});
