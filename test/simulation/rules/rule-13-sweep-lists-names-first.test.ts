import { describe, expect, it } from 'vitest';
import type { JobId } from '../../../shared/domain/ids.ts';
import { cleanUp } from '../../../shared/services/clean-up-run.ts';
import { pointsPartition } from '../../../shared/services/keys.ts';
import { sweepItem } from '../../../shared/services/sweep.ts';
import { collect } from '../../support/collect.ts';
import { type Call, atEachCall, callNumber, fallAsleep } from '../../support/sleeper.ts';
import { namedIn } from '../../support/vault-map.ts';
import { DAY_MS, VAULT, type World } from '../../support/world.ts';
import { B, KEY, type Stage, block, container, itemOf, live, stage, start, until } from '../../services/stage.ts';
import { imageOf, whole } from './story.ts';

const sweeping = { vault: VAULT, itemId: KEY };

/** The `wanted`th listing that the handler makes: names, job states and the newest record are all found by listing. */
function listing(wanted: number): (call: Call) => boolean {
  let seen = 0;
  return ({ moment, call }) => moment === 'before' && call.endsWith('.list') && ++seen === wanted;
}

/** One point in the vault, and a changed block. */
async function written(): Promise<Stage> {
  const told = await stage();
  await told.world.disks.write(told.disk, 0, block(1, 6));
  await told.backUp(30);
  await told.world.disks.write(told.disk, B, block(2));
  return told;
}

async function marks(world: World): Promise<string[]> {
  const partition = pointsPartition(world.vaults.containerNames()[0]!, (await itemOf(world)).itemId);
  return (await collect(world.ports.catalog.marks.list(partition))).map(({ row }) => row.name);
}

describe('rule 13: sweep lists names first, then reads job states, then the record', () => {
  it('what a job writes that begins during a sweep is not marked', async () => {
    const calls = await atEachCall(async (n) => {
      const { world } = await written();
      const sleeper = await fallAsleep(world.ports, (ports) => sweepItem(ports, sweeping), callNumber(n));
      await start(world);
      await until(world, 'commit');
      await sleeper.wake();
      expect(await marks(world)).toEqual([]);
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(10);
  });

  it('what a job names that commits and ends during a sweep is not marked', async () => {
    const calls = await atEachCall(async (n) => {
      const { world } = await written();
      await start(world);
      const commit = await until(world, 'commit');
      const sleeper = await fallAsleep(world.ports, (ports) => sweepItem(ports, sweeping), callNumber(n));
      world.queue.putBack(commit);
      await world.drain();
      await sleeper.wake();
      const named = namedIn(container(world));
      expect((await marks(world)).filter((name) => named.has(name))).toEqual([]);
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(10);
  });

  it('a job that begins during one sweep and ends during another loses nothing', async () => {
    const first = await atEachCall(async (n) => {
      const second = await atEachCall(async (m) => {
        const told = await written();
        const { world, images } = told;
        const image = await imageOf(told);
        const one = await fallAsleep(world.ports, (ports) => sweepItem(ports, sweeping), listing(n));
        if (!one.asleep) return false;
        const id: JobId = await start(world);
        const commit = await until(world, 'commit');
        await one.wake();
        world.clock.advance(2 * 3_600_000);
        const other = await fallAsleep(world.ports, (ports) => sweepItem(ports, sweeping), listing(m));
        world.queue.putBack(commit);
        await world.drain();
        await other.wake();
        images.set((await world.job(id)).point!, image);
        expect(live(world)).toEqual([...images.keys()]);
        await whole({ world, images });
        return other.asleep;
      });
      return second > 0;
    });
    expect(first).toBeGreaterThan(4);
  });

  it('a mark is taken off a name that is found named: its grace begins anew when it is dropped', async () => {
    const told = await written();
    const { world, disk } = told;
    const id = await start(world, 1);
    const commit = await until(world, 'commit');
    // Tables that were set back do not know the job for a while, and a sweep marks what it has written.
    const row = await world.job(id);
    await world.ports.catalog.jobs.remove(VAULT, id);
    await sweepItem(world.ports, sweeping);
    expect(await marks(world)).not.toEqual([]);
    await world.ports.catalog.jobs.upsert(VAULT, id, row);
    world.queue.putBack(commit);
    await world.drain();
    await sweepItem(world.ports, sweeping);
    expect(await marks(world)).toEqual([]);
    // Much later a merge drops it. Readers have the grace from now on.
    await world.disks.write(disk, B, block(3));
    await told.backUp(60);
    const before = namedIn(container(world));
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    await until(world, 'reclaim');
    const dropped = [...before].filter((name) => !namedIn(container(world)).has(name));
    expect(dropped.length).toBeGreaterThan(2);
    await sweepItem(world.ports, sweeping);
    expect(dropped.filter((name) => !container(world).has(name))).toEqual([]);
  });
});
