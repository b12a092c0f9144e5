import { describe, expect, it } from 'vitest';
import { runStep } from '../../../shared/services/run-step.ts';
import { collect } from '../../support/collect.ts';
import { atEachCall, callNumber, fallAsleep } from '../../support/sleeper.ts';
import { createWorld } from '../../support/world.ts';
import { B, block, live } from '../../services/stage.ts';
import { merging, whole } from './story.ts';

describe("rule 10: a merge deletes its point's snapshots before the record that drops it", () => {
  it('at no moment is there a snapshot of a point that no record names any more', async () => {
    const calls = await atEachCall(async (n) => {
      const { world, disk, images, first, plan } = await merging();
      const merge = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), callNumber(n));
      const left = (await collect(world.ports.snapshots.list(disk))).map(({ tags }) => tags['point']);
      expect(left.filter((point) => !live(world).includes(point!))).toEqual([]);
      await merge.wake();
      await world.drain();
      expect(live(world)).not.toContain(first);
      await whole({ world, images });
      return merge.asleep;
    });
    expect(calls).toBeGreaterThan(15);
  });

  it('each snapshot says of how many disks its set is', async () => {
    const world = await createWorld();
    const disks = await world.createVm('vm', [2 * B, 2 * B, 2 * B]);
    for (const disk of disks) await world.disks.write(disk, 0, block(1));
    await world.protect('vm');
    await world.backup('vm');
    const tags = await Promise.all(
      disks.map(async (disk) => (await collect(world.ports.snapshots.list(disk)))[0]!.tags),
    );
    expect(tags.map((each) => each['disks'])).toEqual(['3', '3', '3']);
    expect(new Set(tags.map((each) => `${each['point']} ${each['attempt']}`)).size).toBe(1);
  });
});
