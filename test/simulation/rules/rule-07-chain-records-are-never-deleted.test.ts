import { describe, expect, it } from 'vitest';
import { pointsPartition } from '../../../shared/services/keys.ts';
import { stopProtection } from '../../../shared/services/protection.ts';
import { runStep } from '../../../shared/services/run-step.ts';
import { watchJobs } from '../../../shared/services/watch.ts';
import { fallAsleep, itsRecord } from '../../support/sleeper.ts';
import { DAY_MS, VAULT } from '../../support/world.ts';
import { KEY, container, itemOf, live } from '../../services/stage.ts';
import { backingUp, merging, whole } from './story.ts';

describe('rule 7: chain records are never deleted', () => {
  it('a merge that wakes up after many sweeps cannot create its record anew', async () => {
    const { world, images, plan } = await merging();
    const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), itsRecord);
    world.clock.advance(15 * DAY_MS);
    await watchJobs(world.ports);
    await stopProtection(world.ports, VAULT, KEY);
    for (let night = 0; night < 3; night++) await world.sweep();
    await sleeper.wake();
    await world.drain();
    await world.sweep();
    expect(live(world)).toEqual([...images.keys()]);
    const records = [...container(world).keys()].filter((name) => name.includes('/chain/'));
    expect(records.map((name) => Number(/(\d+)\.json$/.exec(name)![1]))).toEqual(records.map((_, i) => i + 1));
    await whole({ world, images });
  });

  it('the newest record is found by listing: rows that were set back mislead no sweep', async () => {
    const { world, images, id, commit, image } = await backingUp();
    const partition = pointsPartition(world.vaults.containerNames()[0]!, (await itemOf(world)).itemId);
    const earlier = await world.points('vm');
    world.queue.putBack(commit);
    await world.drain();
    images.set((await world.job(id)).point!, image);
    for (const row of earlier) await world.ports.catalog.points.upsert(partition, row.point, row);
    await world.sweep();
    expect(live(world)).toEqual([...images.keys()]);
    await world.cleanUp();
    await whole({ world, images });
  });
});
