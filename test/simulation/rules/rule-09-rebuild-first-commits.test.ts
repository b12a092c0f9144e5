import { describe, expect, it } from 'vitest';
import { cleanUp } from '../../../shared/services/clean-up-run.ts';
import { startRebuild } from '../../../shared/services/rebuild.ts';
import { stopProtection } from '../../../shared/services/protection.ts';
import { runStep } from '../../../shared/services/run-step.ts';
import { gatedPorts } from '../../support/gated-ports.ts';
import { atEachCall, callNumber, fallAsleep } from '../../support/sleeper.ts';
import { leftovers, newestRecord } from '../../support/vault-map.ts';
import { DAY_MS, VAULT } from '../../support/world.ts';
import { ADDRESS, ids, lose, rebuild } from '../../services/rebuild-stage.ts';
import { B, KEY, block, container, live, stage, until } from '../../services/stage.ts';
import { backingUp, merging, whole } from './story.ts';

describe('rule 9: rebuild first commits', () => {
  it('a rebuild writes no row of an item before its record stands, which stops the item', async () => {
    const { world } = await merging();
    await lose(world);
    await startRebuild(world.ports, ADDRESS, { properties: {} });
    const { step } = await until(world, 'rebuild-item');
    const written: string[] = [];
    const watched = gatedPorts(world.ports, {
      before: () => undefined,
      after(call) {
        if (!/^(points|items)\.(insert|replace|upsert)$/.test(call)) return;
        const { kind, state } = newestRecord(container(world));
        written.push(`${call} after ${kind}, ${state}`);
      },
    });
    await runStep(watched, step);
    expect(new Set(written)).toEqual(
      new Set(['points.insert after rebuild, stopped', 'items.insert after rebuild, stopped']),
    );
  });

  it('a merge that sleeps through the loss of the tables and their rebuild changes nothing', async () => {
    const calls = await atEachCall(async (n) => {
      const { world, images, plan } = await merging();
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), callNumber(n));
      await lose(world);
      await rebuild(world);
      const rebuilt = newestRecord(container(world));
      await sleeper.wake();
      await world.drain();
      expect(newestRecord(container(world))).toEqual(rebuilt);
      expect(await ids(world)).toEqual(live(world));
      await whole({ world, images });
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(15);
  });

  it("a merge takes the item's state from the record that it builds on, whatever the rows say", async () => {
    const { world, disk, images, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(1);
    await world.disks.write(disk, B, block(2));
    await backUp(60);
    // Who stops protection dies between its record and the item's row.
    const stopping = await fallAsleep(
      world.ports,
      (ports) => stopProtection(ports, VAULT, KEY),
      ({ call }) => call === 'items.replace',
    );
    expect(stopping.asleep).toBe(true);
    await stopping.die();
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    await world.drain();
    expect(live(world)).toEqual([...images.keys()]);
    await whole({ world, images });
  });

  it('a handler whose job row has gone since it began stops', async () => {
    const { world, images, id, commit } = await backingUp();
    let listings = 0;
    const losing = gatedPorts(world.ports, {
      async before(call) {
        // The first listing is that of the chain: the job runs, says the row that has been read.
        if (call === 'vault.list' && listings++ === 0) await world.ports.catalog.jobs.remove(VAULT, id);
      },
      after: () => undefined,
    });
    await runStep(losing, commit.step);
    expect(live(world)).toEqual([...images.keys()]);
    await whole({ world, images });
  });

  it('a job whose row is gone holds nothing', async () => {
    const { world, disk, images, id, commit, backUp } = await backingUp();
    await world.ports.catalog.jobs.remove(VAULT, id);
    await runStep(world.ports, commit.step);
    expect(live(world)).toEqual([...images.keys()]);
    await world.disks.write(disk, 3 * B, block(3));
    await backUp(30);
    expect(live(world)).toEqual([...images.keys()]);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
    await whole({ world, images });
  });
});
