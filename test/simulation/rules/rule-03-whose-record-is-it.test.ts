import { describe, expect, it } from 'vitest';
import { stopProtection } from '../../../shared/services/protection.ts';
import { runStep } from '../../../shared/services/run-step.ts';
import { watchJobs } from '../../../shared/services/watch.ts';
import { losingAnswers } from '../../support/put-by.ts';
import { fallAsleep, itsRecord } from '../../support/sleeper.ts';
import { leftovers } from '../../support/vault-map.ts';
import { DAY_MS, VAULT } from '../../support/world.ts';
import { B, KEY, block, container, live, stage } from '../../services/stage.ts';
import { merging, whole } from './story.ts';

describe('rule 3: whose record is it', () => {
  for (const code of ['StorageUnavailable', 'BlobAlreadyExists'] as const) {
    it(`the answer ${code} does not tell who has won, the record does`, async () => {
      const { world, disk, images, backUp } = await stage({ wrapHandlers: losingAnswers(/\/chain\//, code) });
      await world.disks.write(disk, 0, block(1, 6));
      await backUp(1);
      await world.disks.write(disk, B, block(2));
      await backUp(30);
      world.clock.advance(2 * DAY_MS);
      await world.cleanUp();
      expect(live(world)).toEqual([...images.keys()].slice(1));
      // One record for each commit and none besides: nobody took a commit for lost.
      expect([...container(world).keys()].filter((name) => name.includes('/chain/'))).toHaveLength(4);
      expect(leftovers(container(world))).toEqual([]);
      await whole({ world, images });
    });
  }

  it('the job does not tell: a merge finds the record that ended its own job, and has not won', async () => {
    const { world, images, plan } = await merging();
    const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), itsRecord);
    world.clock.advance(15 * DAY_MS);
    await watchJobs(world.ports);
    await stopProtection(world.ports, VAULT, KEY); // so that no other merge of the point follows
    await sleeper.wake();
    expect(world.queue.waiting().map(({ step }) => step.step)).not.toContain('reclaim');
    await world.drain();
    expect(live(world)).toEqual([...images.keys()]);
    await whole({ world, images });
  });

  it('a merge that was not first deletes nothing that it would have replaced', async () => {
    const { world, disk, images, plan, backUp } = await merging();
    const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), itsRecord);
    await world.disks.write(disk, 2 * B, block(3));
    await backUp(30);
    await sleeper.wake();
    expect(world.queue.waiting().map(({ step }) => step.step)).not.toContain('reclaim');
    expect(live(world)).toEqual([...images.keys()]);
    await whole({ world, images });
  });
});
