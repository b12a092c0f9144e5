import { describe, expect, it } from 'vitest';
import { runStep } from '../../../shared/services/run-step.ts';
import { collect } from '../../support/collect.ts';
import { dyingAfter, fallAsleep } from '../../support/sleeper.ts';
import { liveManifests } from '../../support/vault-map.ts';
import { DAY_MS } from '../../support/world.ts';
import { B, block, container, stage, start, until } from '../../services/stage.ts';
import { imageOf, whole } from './story.ts';

describe("rule 11: the manifest names each disk's snapshot", () => {
  it("a twin's stray set of the base's point starts no diff", async () => {
    const told = await stage();
    const { world, disk, images, backUp } = told;
    await world.disks.write(disk, 0, block(1, 6));
    const image = await imageOf(told);
    const id = await start(world);
    const take = await until(world, 'take-snapshot');
    const mortal = dyingAfter(world.ports, ({ call }) => call === 'snapshots.take');
    const twin = await fallAsleep(
      mortal,
      (ports) => runStep(ports, take.step),
      ({ call }) => call === 'snapshots.take',
    );
    expect(twin.asleep).toBe(true);
    // The other twin's snapshot is the point's. Then the disk is written, and the first takes its own after all, and dies.
    world.queue.putBack(take);
    await world.drain();
    const { point } = await world.job(id);
    images.set(point!, image);
    world.clock.advance(60_000);
    await world.disks.write(disk, 2 * B, block(5));
    await twin.wake().catch(() => undefined);
    const tags = (await collect(world.ports.snapshots.list(disk))).map((each) => each.tags['point']);
    expect(tags).toEqual([point, point]);
    world.clock.advance(60_000);
    await world.disks.write(disk, 4 * B, block(6));
    await backUp(30);
    expect((await world.job((await world.points('vm'))[1]!.jobId)).sources).toMatchObject([{ source: 'diff' }]);
    await whole({ world, images });
  });

  it('a merge carries it on: the next diff starts at it', async () => {
    const { world, disk, images, backUp } = await stage();
    await world.setPolicy({ instantRetentionDays: 1 });
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(1);
    await world.disks.write(disk, B, block(2));
    const second = await backUp(60);
    const [, before] = liveManifests(container(world));
    world.clock.advance(2 * DAY_MS);
    await world.cleanUp();
    const [after] = liveManifests(container(world));
    expect(after!.attempt).not.toBe(before!.attempt);
    expect(after!.disks.map(({ snapshot }) => snapshot)).toEqual(before!.disks.map(({ snapshot }) => snapshot));
    const row = (await world.points('vm')).find(({ point }) => point === second)!;
    expect(after!.disks[0]!.snapshot).toEqual({ id: row.set.disks[0]!.snapshot, attempt: row.set.attempt });
    await world.disks.write(disk, 3 * B, block(3));
    const third = await backUp(60);
    const { jobId } = (await world.points('vm')).find(({ point }) => point === third)!;
    expect((await world.job(jobId)).sources).toMatchObject([{ source: 'diff' }]);
    await whole({ world, images });
  });
});
