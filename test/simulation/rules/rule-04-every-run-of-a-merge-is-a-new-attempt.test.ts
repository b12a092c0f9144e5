import { describe, expect, it } from 'vitest';
import { cleanUp } from '../../../shared/services/clean-up-run.ts';
import { runStep } from '../../../shared/services/run-step.ts';
import { atEachCall, callNumber, fallAsleep, itsRecord } from '../../support/sleeper.ts';
import { DAY_MS } from '../../support/world.ts';
import { B, block, live, stage, start, until } from '../../services/stage.ts';
import { drainSoon, imageOf, merging, whole } from './story.ts';

describe('rule 4: every run of a merge is a new attempt', () => {
  it('a merge that sleeps while a backup commits never commits itself: the next one does', async () => {
    const calls = await atEachCall(async (n) => {
      const { world, disk, images, plan, first, backUp } = await merging();
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), callNumber(n));
      await world.disks.write(disk, 2 * B, block(3));
      await backUp(30);
      const between = live(world);
      await sleeper.wake();
      // A merge that had not begun takes the record that it finds; one that had planned gives way. None loses the new point.
      expect(live(world)).toContain(between.at(-1));
      await drainSoon(world);
      expect(live(world)).toEqual([...images.keys()].filter((point) => point !== first));
      await whole({ world, images });
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(15);
  });

  it('the fold of a run that gave way is not taken for that of the next', async () => {
    const told = await stage();
    const { world, disk, images, backUp } = told;
    await world.disks.write(disk, 0, block(1, 2));
    await backUp(4);
    await world.disks.write(disk, B, block(2, 2));
    await backUp(2);
    await world.disks.write(disk, 2 * B, block(3, 2));
    const third = await backUp(60);
    world.clock.advance(3 * DAY_MS);
    await cleanUp(world.ports);
    const plan = await until(world, 'plan-merge');
    // The second point's fold into the third is made, and then another record comes first.
    const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), itsRecord);
    expect(sleeper.asleep).toBe(true);
    await world.disks.write(disk, 5 * B, block(4));
    const fourth = await backUp(60);
    // By the time of the next run the first point has expired too: its blocks have gone into the second before that goes.
    world.clock.advance(2 * DAY_MS);
    await sleeper.wake();
    await drainSoon(world);
    await cleanUp(world.ports); // the run of two days ago is over
    await drainSoon(world);
    expect(live(world)).toEqual([third, fourth]);
    await whole({ world, images });
  });

  it('a transfer commits at a later record when only a merge has come between', async () => {
    const told = await stage();
    const { world, disk, images, backUp } = told;
    await world.disks.write(disk, 0, block(1, 6));
    const first = await backUp(1);
    await world.disks.write(disk, B, block(2));
    await backUp(60);
    await world.disks.write(disk, 2 * B, block(3));
    const image = await imageOf(told);
    const id = await start(world);
    const commit = await until(world, 'commit');
    const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, commit.step), itsRecord);
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    await drainSoon(world);
    expect(live(world)).not.toContain(first);
    await sleeper.wake();
    const { status, attempts, point } = await world.job(id);
    expect(status).toBe('Completed');
    expect(attempts).toHaveLength(1);
    images.set(point!, image);
    expect(live(world)).toEqual([...images.keys()].slice(1));
    await whole({ world, images });
  });
});
