import { describe, expect, it } from 'vitest';
import { BackupError, isBackupError } from '../../shared/domain/errors.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { cancelJob, failJob } from '../../shared/services/watch.ts';
import { DAY_MS, VAULT, type World } from '../support/world.ts';
import { lose, rebuild } from './rebuild-stage.ts';
import { B, KEY, block, restoresExactly, stage, start, until } from './stage.ts';

/* What a sweep must not take for a leftover because a table has lost its rows. */

/** A point that only its snapshots hold: its transfer has failed. */
async function onlySnapshots(world: World): Promise<PointId> {
  const id = await start(world);
  await until(world, 'plan-transfer');
  await failJob(
    world.ports,
    { vault: VAULT, jobId: id },
    new BackupError('JobTimedOut', 'its transfer came to nothing'),
  );
  world.clock.advance(60_000);
  return (await world.job(id)).point!;
}

async function snapshotsOf(world: World, point: string): Promise<number> {
  let found = 0;
  for (const url of world.disks.urls())
    for await (const { tags } of world.ports.snapshots.list(url)) if (tags['point'] === point) found++;
  return found;
}

describe('a point that only its snapshots hold', () => {
  it('outlives the loss of its row, until a rebuild brings it back', async () => {
    const { world, disk } = await stage();
    await world.disks.write(disk, 0, block(1, 2));
    const point = await onlySnapshots(world);
    await lose(world, 'points');
    await world.sweep(); // nobody has noticed yet
    expect((await rebuild(world)).job.status).toBe('Completed');
    expect(await world.points('vm')).toMatchObject([{ point, instant: 'Valid', vault: 'None' }]);
    expect((await world.restore('vm', point)).job.errors).toEqual([]);
  });

  it('outlives it though other points of the item keep theirs', async () => {
    const { world, disk, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 2));
    const point = await onlySnapshots(world);
    await backUp(30);
    const { itemId } = (await world.points('vm'))[0]!;
    await world.ports.catalog.points.remove(`${world.vaults.containerNames()[0]}|${itemId}`, point);
    await world.sweep();
    expect(await snapshotsOf(world, point)).toBe(1);
  });

  it('is swept when it was merged: the chain has named it', async () => {
    const { world, disk, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 2));
    const first = await backUp(2);
    const tags = await tagsOf(world, (await world.points('vm'))[0]!.set.disks[0]!.snapshot);
    await backUp(30);
    world.clock.advance(3 * DAY_MS);
    await world.cleanUp();
    expect((await world.points('vm')).map(({ point }) => point)).not.toContain(first);
    await world.ports.snapshots.take(disk, tags); // as a dead run would have left it
    expect(await snapshotsOf(world, first)).toBe(1);
    await world.sweep();
    expect(await snapshotsOf(world, first)).toBe(0);
  });

  it('has its row when its backup is cancelled before anything said so, and goes with its time', async () => {
    const { world, disk } = await stage();
    await world.disks.write(disk, 0, block(1, 2));
    const id = await start(world);
    const { step } = world.queue.take()!;
    const dying: Ports['catalog']['points'] = {
      ...world.ports.catalog.points,
      insert: () => Promise.reject(new Error('dead')),
    };
    await expect(runStep({ ...world.ports, catalog: { ...world.ports.catalog, points: dying } }, step)).rejects.toThrow(
      'dead',
    );
    expect(await world.points('vm')).toEqual([]);
    await cancelJob(world.ports, { vault: VAULT, jobId: id });
    const { point } = await world.job(id);
    expect(await world.points('vm')).toMatchObject([{ point, instant: 'Valid', vault: 'None' }]);
    world.clock.advance(40 * DAY_MS);
    await world.cleanUp();
    await world.sweep();
    expect(await world.points('vm')).toEqual([]);
    expect(await snapshotsOf(world, point!)).toBe(0);
  });
});

async function tagsOf(world: World, snapshot: string): Promise<Record<string, string>> {
  for (const url of world.disks.urls())
    for await (const { id, tags } of world.ports.snapshots.list(url)) if (id === snapshot) return { ...tags };
  throw new Error(`no snapshot ${snapshot}`);
}

describe('what a running job has written', () => {
  it('is no leftover, though the table of open jobs is lost', async () => {
    let onDelete: (blob: string) => Promise<void> = async () => undefined;
    const wrap = (ports: Ports): Ports => ({
      ...ports,
      vaults: {
        ...ports.vaults,
        async open(name) {
          const real = await ports.vaults.open(name);
          return {
            ...real,
            async delete(blob) {
              await onDelete(blob);
              return real.delete(blob);
            },
          };
        },
      },
    });
    const { world, disk, images } = await stage({ wrap, layout: { thinBytes: -1 }, regionBytes: 8 * B });
    await world.disks.write(disk, 0, block(1, 5));
    const id = await start(world);
    const commit = await until(world, 'commit');
    await lose(world, 'openJobs');
    const sweepItem = () => runStep(world.ports, { step: 'sweep-item', v: 1, vault: VAULT, itemId: KEY });
    await sweepItem();
    world.clock.advance((world.ports.settings.sweepGraceSeconds + 1) * 1000);
    const deleted: string[] = [];
    onDelete = async (blob) => {
      deleted.push(blob);
      if (!blob.endsWith('.layer')) return;
      onDelete = async () => undefined;
      await runStep(world.ports, commit.step); // the packs are gone by now, the layer is still there
    };
    await sweepItem();
    expect.soft(deleted.filter((name) => name.endsWith('.pack'))).toEqual([]);
    // The watch knows of it again.
    expect.soft(await world.ports.catalog.openJobs.get(VAULT, id)).toBeDefined();
    world.queue.putBack(commit, 0);
    await world.drain();
    const job = await world.job(id);
    expect(job.status).toBe('Completed');
    images.set(job.point!, await world.disks.read(disk, { start: 0, end: 6 * B }));
    await restoresExactly(world, images);
  });

  it('its snapshots are none either', async () => {
    const { world, disk } = await stage();
    await world.disks.write(disk, 0, block(1, 2));
    const id = await start(world);
    await until(world, 'commit');
    const { point } = await world.job(id);
    await lose(world, 'openJobs', 'points');
    for (let sweeps = 0; sweeps < 2; sweeps++) {
      await runStep(world.ports, { step: 'sweep-item', v: 1, vault: VAULT, itemId: KEY });
      world.clock.advance((world.ports.settings.sweepGraceSeconds + 1) * 1000);
    }
    expect(await snapshotsOf(world, point!)).toBe(1);
  });
});

it('leftover snapshots on a disk go although the account of another disk is gone for good, whose marks stay', async () => {
  let gone = 'none';
  const { world, disk, backUp } = await stage({
    wrap: (ports) => ({
      ...ports,
      snapshots: {
        ...ports.snapshots,
        list(url) {
          if (url.startsWith(gone)) throw new BackupError('StorageUnavailable', `${gone} does not answer`);
          return ports.snapshots.list(url);
        },
      },
    }),
    onFailure: (error) => {
      if (!isBackupError(error, 'StorageUnavailable')) throw error;
    },
  });
  await backUp(30);
  const other = 'https://gone.example/vhds/other.vhd';
  await world.disks.create(other, B);
  const { row, etag } = (await world.ports.catalog.items.get(VAULT, KEY))!;
  await world.ports.catalog.items.replace(VAULT, KEY, { ...row, formerUrls: [other] }, etag);
  const tags = { vault: world.vaults.containerNames()[0]!, item: row.itemId, job: 'dead', attempt: '00000000deadbeef' };
  world.clock.advance(1000);
  const left = await world.ports.snapshots.take(disk, tags);
  const there = await world.ports.snapshots.take(other, tags);
  const sweepItem = () => runStep(world.ports, { step: 'sweep-item', v: 1, vault: VAULT, itemId: KEY });
  await sweepItem();
  gone = 'https://gone.example';
  world.clock.advance((world.ports.settings.sweepGraceSeconds + 1) * 1000);
  await sweepItem();
  expect(await world.ports.snapshots.sizeOf({ url: disk, id: left.id })).toBeUndefined();
  expect(await world.ports.snapshots.sizeOf({ url: other, id: there.id })).toBeDefined();
  gone = 'none';
  await sweepItem(); // its grace has run since the first sweep
  expect(await world.ports.snapshots.sizeOf({ url: other, id: there.id })).toBeUndefined();
});
