import { describe, expect, it } from 'vitest';
import type { DiskSnapshots } from '../../../shared/disk/disk-snapshots.ts';
import { isBackupError } from '../../../shared/domain/errors.ts';
import type { JobId } from '../../../shared/domain/ids.ts';
import { runStep } from '../../../shared/services/run-step.ts';
import { watchJobs } from '../../../shared/services/watch.ts';
import { collect } from '../../support/collect.ts';
import { atEachCall, callNumber, fallAsleep } from '../../support/sleeper.ts';
import { createWorld } from '../../support/world.ts';
import { B, block, itemOf, live, stage, start, until } from '../../services/stage.ts';
import { whole } from './story.ts';

/** Storage whose clock stepped back an hour at some snapshot, and which compares with a later one without a word: nothing changed. */
function steppedBack(real: DiskSnapshots): { snapshots: DiskSnapshots; stepBack: () => void } {
  const shown = new Map<string, string>();
  let back = false;
  const outside = (id: string): string => shown.get(id) ?? id;
  const inside = (id: string): string => [...shown].find(([, seen]) => seen === id)?.[0] ?? id;
  const snapshots: DiskSnapshots = {
    describe: (url) => real.describe(url),
    async take(url, tags) {
      const taken = await real.take(url, tags);
      const seen = new Date(taken.takenAtMs - 3_600_000).toISOString().replace('Z', '0000Z');
      if (back) shown.set(taken.id, seen);
      return back ? { url, id: seen, takenAtMs: taken.takenAtMs - 3_600_000 } : taken;
    },
    async *list(url) {
      for await (const found of real.list(url)) yield { ...found, id: outside(found.id) };
    },
    sizeOf: ({ url, id }) => real.sizeOf({ url, id: inside(id) }),
    remove: ({ url, id }) => real.remove({ url, id: inside(id) }),
    allocated: ({ url, id }, window) => real.allocated({ url, id: inside(id) }, window),
    changed({ url, id }, since, window) {
      if (since.id >= id) return collectNothing();
      return real.changed({ url, id: inside(id) }, { url: since.url, id: inside(since.id) }, window);
    },
    read: ({ url, id }, range) => real.read({ url, id: inside(id) }, range),
    readLong: ({ url, id }, range, take) => real.readLong({ url, id: inside(id) }, range, take),
    probeChangeTracking: ({ url, id }) => real.probeChangeTracking({ url, id: inside(id) }),
  };
  return { snapshots, stepBack: () => void (back = true) };
}

async function* collectNothing(): AsyncGenerator<never> {
  yield* [];
}

describe('rule 12: snapshot sets of an item never overlap', () => {
  it('of two backups that begin at once one holds the item', async () => {
    const calls = await atEachCall(async (n) => {
      const { world } = await stage();
      let first: JobId | undefined;
      const sleeper = await fallAsleep(
        world.ports,
        async (ports) => (first = await start({ ...world, ports })),
        callNumber(n),
      );
      const refused = (error: unknown): undefined => {
        expect(isBackupError(error, 'BMSUserErrorObjectLocked')).toBe(true);
      };
      const second = await start(world).catch(refused);
      await sleeper.wake().catch(refused);
      expect([first, second].filter((id) => id !== undefined)).toHaveLength(1);
      await world.drain();
      expect(await world.points('vm')).toHaveLength(1);
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(4);
  });

  it('a job that never got hold of the item takes no snapshots', async () => {
    const { world, disk } = await stage();
    // The request dies before it holds the item; another backup comes, and the watch takes the dead one on meanwhile.
    const request = await fallAsleep(
      world.ports,
      (ports) => start({ ...world, ports }),
      ({ call }) => call === 'items.replace',
    );
    await request.die();
    await start(world);
    const unit = await until(world, 'plan-transfer');
    world.clock.advance(20 * 60_000);
    await watchJobs(world.ports);
    world.queue.putBack(unit);
    await world.drain();
    expect(await collect(world.ports.snapshots.list(disk))).toHaveLength(1);
    expect((await itemOf(world)).lastPoint).toBe(live(world)[0]);
  });

  it('a diff starts at an older snapshot only, by the time of the storage', async () => {
    let stepBack = (): void => undefined;
    const told = await stage({
      wrap(ports) {
        const storage = steppedBack(ports.snapshots);
        stepBack = storage.stepBack;
        return { ...ports, snapshots: storage.snapshots };
      },
    });
    const { world, disk, images, backUp } = told;
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    stepBack();
    const second = await backUp(30);
    const { jobId } = (await world.points('vm')).find(({ point }) => point === second)!;
    expect((await world.job(jobId)).sources).toMatchObject([
      { source: 'hashes', reason: 'the base snapshot is not older than this one' },
    ]);
    await whole({ world, images });
  });

  it('a set without a disk is none', async () => {
    const { world } = await stage();
    const vm = (await world.compute.virtualMachine((await itemOf(world)).vmResourceId))!;
    world.compute.put({ ...vm, disks: [] });
    const { status, errors } = await world.job(await start(world).then(async (id) => (await world.drain(), id)));
    expect(status).toBe('Failed');
    expect(errors).toMatchObject([{ code: 'UserErrorVmWithoutDisks' }]);
    expect(await world.points('vm')).toEqual([]);
  });

  it.each(['before', 'after'] as const)(
    'a set one disk of which vanishes %s it is taken is thrown away',
    async (moment) => {
      const world = await createWorld();
      const disks = await world.createVm('vm', [2 * B, 2 * B]);
      for (const disk of disks) await world.disks.write(disk, 0, block(1));
      await world.protect('vm');
      await start(world);
      const take = await until(world, 'take-snapshot');
      const sleeper = await fallAsleep(
        world.ports,
        (ports) => runStep(ports, take.step),
        (at) => at.call === 'snapshots.take' && at.moment === moment,
      );
      expect(sleeper.asleep).toBe(true);
      await world.disks.delete(disks[1]!);
      await expect(sleeper.wake()).rejects.toSatisfy((error) => isBackupError(error, 'SnapshotSetIncomplete'));
      expect(await world.points('vm')).toEqual([]);
      expect(await collect(world.ports.snapshots.list(disks[0]!))).toEqual([]);
    },
  );
});
