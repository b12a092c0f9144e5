import { describe, expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import { watchJobs } from '../../shared/services/watch.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { startRebuild } from '../../shared/services/rebuild.ts';
import { newestRecord } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World } from '../support/world.ts';
import { ADDRESS, essence, ids, lose, rebuild, threeNights } from './rebuild-stage.ts';
import { B, KEY, block, container, live, restoresExactly, start, until } from './stage.ts';

/** Takes a set for `point` that looks like the one of a twin, as far as tags go. */
async function strayOf(world: World, url: string, point: PointId, attempt: string, more: object = {}): Promise<void> {
  for await (const { tags } of world.ports.snapshots.list(url)) {
    await world.ports.snapshots.take(url, { ...tags, point, attempt, ...more });
    return;
  }
  throw new Error('no snapshot to take after');
}

const item = async (world: World) => (await world.ports.catalog.items.get(VAULT, KEY))!.row;

describe('a rebuilt catalog', () => {
  it('has every point as it was, and every point restores exactly', async () => {
    const { world, images } = await threeNights();
    const before = await world.points('vm');
    const old = await item(world);
    await lose(world);
    const { job, report } = await rebuild(world);
    expect(job).toMatchObject({ status: 'Completed', errors: [], bag: { Items: '1', 'Items Done': '1' } });
    expect(report).toMatchObject([{ subject: 'vm', outcome: 'Rebuilt', details: { points: 2, inVault: 2, added: 2 } }]);
    expect((await world.points('vm')).map(essence)).toEqual(before.map(essence));
    const row = await item(world);
    expect(row).toMatchObject({
      itemId: old.itemId,
      vmResourceId: old.vmResourceId,
      vmName: 'vm',
      resourceGroup: 'app',
      policyName: '',
      protectionState: 'ProtectionStopped',
      disks: old.disks,
      lastPoint: old.lastPoint,
      pins: [],
    });
    expect(await ids(world)).toEqual([...images.keys()]);
    await restoresExactly(world, images);
  });

  it('is stopped in the chain too: nothing expires and nothing merges until somebody has looked', async () => {
    const { world, images } = await threeNights();
    await lose(world);
    await rebuild(world);
    expect(newestRecord(container(world))).toMatchObject({ kind: 'rebuild', state: 'stopped' });
    world.clock.advance(400 * DAY_MS);
    await world.cleanUp();
    await world.sweep();
    expect(live(world)).toEqual([...images.keys()]);
    await expect(startBackup(world.ports, VAULT, KEY, { kind: 'onDemand' })).rejects.toMatchObject({
      code: 'UserErrorProtectionStopped',
    });
    await restoresExactly(world, images);
  });

  it('goes on when it is given a policy: the next backup is a difference, and retention works again', async () => {
    const { world, disk, images, backUp } = await threeNights();
    await lose(world);
    await rebuild(world);
    await world.setPolicy({});
    await world.protect('vm');
    await world.disks.write(disk, 4 * B, block(7));
    const job = await backUp(30).then(async (point) => {
      for await (const { row } of world.ports.catalog.jobs.list(VAULT)) if (row.point === point) return row;
      throw new Error('no job');
    });
    expect(job.sources).toMatchObject([{ source: 'diff' }]);
    expect((await world.points('vm')).at(-1)).toMatchObject({ dataBlocks: 1, instant: 'Valid', vault: 'Valid' });
    world.clock.advance(31 * DAY_MS);
    await world.cleanUp();
    expect(live(world)).toEqual([[...images.keys()].at(-1)]);
    await restoresExactly(world, images);
  });

  it('goes on by hashes where the snapshots are gone', async () => {
    const { world, disk, images, backUp } = await threeNights();
    for await (const snapshot of world.ports.snapshots.list(disk)) await world.ports.snapshots.remove(snapshot);
    await lose(world);
    await rebuild(world);
    expect((await world.points('vm')).map(({ instant }) => instant)).toEqual(['Deleted', 'Deleted']);
    await world.setPolicy({});
    await world.protect('vm');
    await world.disks.write(disk, 4 * B, block(7));
    await world.disks.clear(disk, { start: 0, end: B });
    await backUp(30);
    expect((await world.points('vm')).at(-1)).toMatchObject({ dataBlocks: 1, clearedBlocks: 1 });
    await restoresExactly(world, images);
  });

  it('has no merged point, though a twin has left a whole set of its snapshots', async () => {
    const { world, disk, images, merged } = await threeNights();
    await strayOf(world, disk, merged, 'feedfeedfeedfeed');
    await lose(world);
    await rebuild(world);
    expect(await ids(world)).toEqual([...images.keys()]);
    await world.sweep();
    for await (const { tags } of world.ports.snapshots.list(disk)) expect(tags['point']).not.toBe(merged);
  });

  it('has no merged point when a record that could tell is damaged', async () => {
    const { world, disk, images, merged } = await threeNights();
    await strayOf(world, disk, merged, 'feedfeedfeedfeed');
    const blobs = container(world);
    const records = [...blobs.keys()].filter((name) => name.includes('/chain/')).sort();
    for (const name of records.slice(1, -1)) blobs.get(name)!.body.fill(0x20, 100);
    await lose(world);
    await rebuild(world);
    expect(await ids(world)).toEqual([...images.keys()]);
  });

  it('has the point that only its snapshots know, and its asleep handlers change nothing', async () => {
    const { world, disk, images } = await threeNights();
    await world.disks.write(disk, 5 * B, block(9));
    const image = await world.disks.read(disk, { start: 0, end: 6 * B });
    const retainUntil = world.clock.now() + 30 * DAY_MS;
    const { point } = await world.job(await start(world));
    const asleep = await until(world, 'commit');
    const before = (await world.points('vm')).find((row) => row.point === point)!;
    await lose(world);
    const { report } = await rebuild(world);
    expect(report).toMatchObject([{ outcome: 'Rebuilt', details: { points: 3, inVault: 2 } }]);
    const row = (await world.points('vm')).at(-1)!;
    expect(essence(row)).toEqual(essence(before));
    expect(row).toMatchObject({ point, vault: 'None', instant: 'Valid', retainUntil, jobId: before.jobId });
    expect(row.note).toContain('snapshot tier');
    world.queue.putBack(asleep, 0);
    await world.drain();
    expect(live(world)).toEqual([...images.keys()]);
    const { job, disks } = await world.restore('vm', point!);
    expect(job.errors).toEqual([]);
    expect(Buffer.compare(disks[0]!, image)).toBe(0);
    // A point's id is never given twice.
    await world.setPolicy({});
    await world.protect('vm');
    expect((await world.backup('vm')).point! > point!).toBe(true);
  });

  it('takes whole sets only, of several the last, and none that is not one moment', async () => {
    const { world, disk, images } = await threeNights();
    const last = [...images.keys()].at(-1)!;
    const next = (n: number) => `${BigInt(last) + BigInt(n)}` as PointId;
    await strayOf(world, disk, next(1), 'aaaaaaaaaaaaaaaa', { disks: '2' });
    await strayOf(world, disk, next(2), 'bbbbbbbbbbbbbbbb');
    world.clock.advance(1000);
    await strayOf(world, disk, next(2), 'aaaaaaaaaaaaaaaa');
    await strayOf(world, disk, next(3), 'aaaaaaaaaaaaaaaa', { about: 'nothing' });
    // Two disks, and two minutes between their snapshots.
    const other = 'https://disks1.example/vhds/other.vhd';
    await world.disks.create(other, B);
    const vm = (await world.compute.virtualMachine((await item(world)).vmResourceId))!;
    world.compute.put({ ...vm, disks: [...vm.disks, { lun: 3, name: 'o', vhdUrl: other, managedDiskId: undefined }] });
    await strayOf(world, disk, next(4), 'cccccccccccccccc', { disks: '2' });
    world.clock.advance(120_000);
    for await (const { tags } of world.ports.snapshots.list(disk)) {
      if (tags['point'] === next(4)) await world.ports.snapshots.take(other, { ...tags, disk: 'other-disk' });
    }
    await lose(world);
    const { job } = await rebuild(world);
    expect(job.status).toBe('Completed');
    expect(await ids(world)).toEqual([...images.keys(), next(2)]);
    expect((await world.points('vm')).at(-1)!.set.attempt).toBe('aaaaaaaaaaaaaaaa');
    expect((await item(world)).lastPoint).toBe(next(4));
  });

  it('is the same whether it is rebuilt once, again, or twice at once', async () => {
    const { world } = await threeNights();
    await start(world);
    await until(world, 'commit');
    await lose(world);
    const both = await Promise.all([0, 1].map(() => startRebuild(world.ports, ADDRESS, { properties: {} })));
    await world.drain();
    for (const id of both) expect((await world.job(id)).status).toBe('Completed');
    const once = { item: await item(world), points: await world.points('vm') };
    const { report } = await rebuild(world);
    expect(report).toMatchObject([{ outcome: 'Rebuilt', details: { points: 3, added: 0 } }]);
    expect({ item: await item(world), points: await world.points('vm') }).toEqual(once);
  });

  it('is one rebuild for whoever asks while it runs', async () => {
    const { world } = await threeNights();
    await lose(world);
    const first = await startRebuild(world.ports, ADDRESS, { properties: {} });
    expect(await startRebuild(world.ports, ADDRESS, { properties: {} })).toBe(first);
    await world.drain();
    expect(await startRebuild(world.ports, ADDRESS, { properties: {} })).not.toBe(first);
  });

  it('comes back though the row of the vault is lost once more while its rebuild runs, and somebody asks again', async () => {
    const { world, images } = await threeNights();
    await lose(world);
    const id = await startRebuild(world.ports, ADDRESS, { properties: {} });
    await lose(world, 'vaults');
    expect(await startRebuild(world.ports, ADDRESS, { properties: {} })).toBe(id);
    await world.drain();
    expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
    await restoresExactly(world, images);
  });

  it('comes back though all messages of its rebuild were lost', async () => {
    const { world, images } = await threeNights();
    await lose(world);
    const id = await startRebuild(world.ports, ADDRESS, { properties: {} });
    world.queue.take();
    world.clock.advance(20 * 60_000);
    await watchJobs(world.ports);
    await world.drain();
    expect((await world.job(id)).status).toBe('Completed');
    await restoresExactly(world, images);
  });
});
