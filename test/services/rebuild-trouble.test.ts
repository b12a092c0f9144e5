import { describe, expect, it } from 'vitest';
import { BackupError, isBackupError } from '../../shared/domain/errors.ts';
import { type PointId, nextPointId } from '../../shared/domain/ids.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { startRebuild } from '../../shared/services/rebuild.ts';
import { putVault } from '../../shared/services/vaults.ts';
import { newestRecord } from '../support/vault-map.ts';
import { VAULT } from '../support/world.ts';
import { ADDRESS, ids, lose, openJobs, rebuild, threeNights } from './rebuild-stage.ts';
import { B, KEY, block, container, itemOf, jobsOf, live, restoresExactly, start, until } from './stage.ts';

/* What was lost in part, what is damaged, and what stands in the place of what was lost. */

const vaultRequest = { location: 'westeurope', skuName: 'Standard', tags: {}, properties: {} };

describe('a rebuild of what was lost in part', () => {
  it('ends running backups and merges, says so, and leaves restores alone', async () => {
    const { world, disk, images } = await threeNights();
    await world.disks.write(disk, 0, block(4));
    const image = await world.disks.read(disk, { start: 0, end: 6 * B });
    const { point } = await world.job(await start(world));
    const asleep = await until(world, 'commit');
    const restoring = await startRestore(world.ports, VAULT, KEY, [...images.keys()][0]!, { accountId: '/x/other' });
    const unit = await until(world, 'restore-unit');
    await lose(world, 'points', 'openJobs');
    world.queue.putBack(unit, 0);
    const { job, report } = await rebuild(world);
    expect(job.status).toBe('Completed');
    expect(report).toMatchObject([{ outcome: 'Rebuilt', details: { points: 3, added: 3 } }]);
    for await (const { row } of world.ports.catalog.jobs.list(VAULT)) {
      if (row.point === point)
        expect(row).toMatchObject({ status: 'CompletedWithWarnings', errors: [{ code: 'JobEndedByRebuild' }] });
    }
    world.queue.putBack(asleep, 0);
    await world.drain();
    expect(await ids(world)).toEqual([...images.keys(), point]);
    expect(live(world)).toEqual([...images.keys()]);
    expect(await itemOf(world)).toMatchObject({
      protectionState: 'ProtectionStopped',
      policyName: '',
      lastPoint: point,
    });
    expect((await itemOf(world)).activeJob).toBeUndefined();
    expect(await openJobs(world)).toEqual([]);
    expect(await world.job(restoring)).toMatchObject({ status: 'Completed', errors: [] });
    for (const [id, own] of new Map([...images, [point!, image]])) {
      const { disks } = await world.restore('vm', id);
      expect(Buffer.compare(disks[0]!, own)).toBe(0);
    }
  });

  it('finds the snapshots still there, however long ago the rows of their points were lost', async () => {
    const { world, images } = await threeNights();
    const { point } = await world.job(await start(world));
    await until(world, 'commit');
    await lose(world, 'points', 'jobs', 'openJobs');
    for (let days = 0; days < 3; days++) await world.sweep();
    expect((await rebuild(world)).job.status).toBe('Completed');
    expect((await world.points('vm')).map(({ instant }) => instant)).toEqual(['Deleted', 'Valid', 'Valid']);
    expect(await ids(world)).toEqual([...images.keys(), point]);
  });

  it('takes the set that a job has noted, and none of a job that has noted none', async () => {
    const { world, disk } = await threeNights();
    const { point } = await world.job(await start(world));
    await until(world, 'commit');
    const strayOf = async (tags: object): Promise<void> => {
      for await (const found of world.ports.snapshots.list(disk)) {
        if (found.tags['point'] === point)
          return void (await world.ports.snapshots.take(disk, { ...found.tags, ...tags, attempt: 'ffffffffffffffff' }));
      }
    };
    world.clock.advance(1000);
    await strayOf({});
    // A set of a backup that was ended before it had noted one.
    const failed = [...(await jobsOf(world))].find(
      ({ operation, set: own }) => operation !== 'Backup' && own === undefined,
    )!;
    await strayOf({ job: failed.jobId, point: nextPointId(world.clock.now(), point) });
    await lose(world, 'points');
    await rebuild(world);
    const { point: last, set: back } = (await world.points('vm')).at(-1)!;
    expect(last).toBe(point);
    expect(back.attempt).not.toBe('ffffffffffffffff');
  });

  it('takes away the row of a point that has been merged', async () => {
    const { world, images, merged } = await threeNights();
    const [first] = await world.points('vm');
    const { vaults } = world;
    const partition = `${vaults.containerNames()[0]}|${first!.itemId}`;
    await world.ports.catalog.points.insert(partition, merged, { ...first!, point: merged, seq: 1 });
    await lose(world, 'items');
    await rebuild(world);
    expect(await ids(world)).toEqual([...images.keys()]);
  });

  it('names an item whose folder is gone, and leaves its row', async () => {
    const { world } = await threeNights();
    for (const name of container(world).keys()) if (name.startsWith('v1/items/')) container(world).delete(name);
    const before = await itemOf(world);
    const { job, report } = await rebuild(world);
    expect(job).toMatchObject({ status: 'CompletedWithWarnings', errors: [{ code: 'RebuildIncomplete' }] });
    expect(report).toMatchObject([{ subject: 'vm', outcome: 'Missing' }]);
    expect(await itemOf(world)).toEqual(before);
  });

  it('keeps the item that a VM has by now', async () => {
    const { world, images } = await threeNights();
    await lose(world, 'items', 'points', 'jobs', 'openJobs');
    await world.protect('vm');
    await world.backup('vm');
    const fresh = await itemOf(world);
    const { report } = await rebuild(world);
    expect(report.map(({ outcome }) => outcome).sort()).toEqual(['Conflict', 'Rebuilt']);
    expect(report.find(({ outcome }) => outcome === 'Conflict')!.details).toMatchObject({ standing: fresh.itemId });
    expect((await itemOf(world)).itemId).toBe(fresh.itemId);
    expect([...images.keys()]).not.toContain((await ids(world))[0]);
  });
});

it('takes the place of an item that has nothing: the VM was protected anew, and no more', async () => {
  const { world, images } = await threeNights();
  const old = await itemOf(world);
  await lose(world, 'items', 'points', 'jobs', 'openJobs');
  await world.protect('vm');
  expect((await itemOf(world)).itemId).not.toBe(old.itemId);
  expect((await rebuild(world)).job.status).toBe('Completed');
  expect((await itemOf(world)).itemId).toBe(old.itemId);
  await restoresExactly(world, images);
});

describe('a rebuild that meets damage', () => {
  it('says which item it is, and brings the others back', async () => {
    const { world, images } = await threeNights();
    const [url] = await world.createVm('other', [2 * B]);
    await world.disks.write(url!, 0, block(5));
    await world.protect('other');
    await world.backup('other');
    const vmItem = (await itemOf(world)).itemId;
    const blobs = container(world);
    const newest = [...blobs.keys()]
      .filter((name) => name.includes('/chain/') && name.includes(vmItem))
      .sort()
      .at(-1)!;
    blobs.get(newest)!.body[150]! ^= 1;
    await lose(world);
    const { job, report } = await rebuild(world);
    expect(job).toMatchObject({ status: 'CompletedWithWarnings', errors: [{ code: 'RebuildIncomplete' }] });
    expect(report.map(({ outcome }) => outcome).sort()).toEqual(['Failed', 'Rebuilt']);
    const failed = report.find(({ outcome }) => outcome === 'Failed')!;
    expect(failed.details).toMatchObject({ code: 'DocumentCorrupt', item: vmItem });
    expect(failed.text).toContain(newest);
    expect(await world.points('other')).toHaveLength(1);
    // Mended, and done again: all is there.
    blobs.get(newest)!.body[150]! ^= 1;
    expect((await rebuild(world)).job.status).toBe('Completed');
    await restoresExactly(world, images);
  });

  it('brings back the points that it can read, and names the others', async () => {
    const { world, images } = await threeNights();
    const [first, second] = newestRecord(container(world)).points;
    container(world).delete(second!.manifest);
    await lose(world);
    const { job, report } = await rebuild(world);
    expect(job.status).toBe('CompletedWithWarnings');
    expect(report).toMatchObject([{ outcome: 'Incomplete', details: { points: 1 } }]);
    expect(report[0]!.text).toContain(second!.manifest);
    expect(await ids(world)).toEqual([first!.point]);
    await restoresExactly(world, new Map([...images].slice(0, 1)));
  });

  it('goes without snapshots that cannot be listed, says so, and sweeps none of them until it can', async () => {
    let reachable = true;
    const { world, disk, images } = await threeNights({
      onFailure: (error) => {
        if (!isBackupError(error, 'StorageUnavailable')) throw error;
      },
      wrap: (ports) => ({
        ...ports,
        snapshots: new Proxy(ports.snapshots, {
          get(target, name, receiver): unknown {
            if (name !== 'list' || reachable) return Reflect.get(target, name, receiver);
            return () => {
              throw new BackupError('StorageUnavailable', 'the account does not answer');
            };
          },
        }),
      }),
    });
    const { point } = await world.job(await start(world));
    await until(world, 'commit');
    await lose(world);
    reachable = false;
    const { job, report } = await rebuild(world);
    expect(job.status).toBe('CompletedWithWarnings');
    expect(report[0]!.text).toContain(disk);
    expect(await ids(world)).toEqual([...images.keys()]);
    reachable = true;
    await world.sweep();
    await world.sweep();
    expect((await rebuild(world)).job.status).toBe('Completed');
    expect(await ids(world)).toEqual([...images.keys(), point]);
    expect((await world.restore('vm', point!)).job.errors).toEqual([]);
    expect((await itemOf(world)).unlistedUrls).toEqual([]);
  });
});

describe("a vault's container", () => {
  it('is found by what it says of itself, in any case of letters', async () => {
    const { world, images } = await threeNights();
    await putVault(world.ports, { ...ADDRESS, vault: 'v2' }, vaultRequest);
    await lose(world);
    const asked = { subscriptionId: ADDRESS.subscriptionId, resourceGroup: 'BK', vault: 'V1' };
    await startRebuild(world.ports, asked, { properties: { a: 1 } });
    await world.drain();
    const { row } = (await world.ports.catalog.vaults.get(ADDRESS.subscriptionId, 'bk|v1'))!;
    expect(row).toMatchObject({ name: 'v1', resourceGroup: 'bk', location: 'westeurope', properties: { a: 1 } });
    expect(await world.ports.catalog.policies.get(VAULT, 'defaultpolicy')).toBeDefined();
    expect(await ids(world)).toEqual([...images.keys()]);
  });

  it('that nobody has is refused in words that help', async () => {
    const { world } = await threeNights();
    const asked = { ...ADDRESS, vault: 'v3' };
    await expect(startRebuild(world.ports, asked, { properties: {} })).rejects.toMatchObject({
      code: 'ResourceNotFound',
    });
    await expect(rebuild(world, 'vault-of-nobody')).rejects.toMatchObject({ code: 'ResourceNotFound' });
    expect(world.vaults.containerNames()).not.toContain('vault-of-nobody');
    container(world).get('v1/vault.json')!.body.fill(0x20, 100);
    await lose(world, 'vaults');
    await expect(rebuild(world)).rejects.toThrow(/DocumentCorrupt/);
  });

  it('has to be named where a vault was made anew under the name of the lost one, and takes its place while that is empty', async () => {
    const { world, images } = await threeNights();
    await lose(world);
    await putVault(world.ports, ADDRESS, vaultRequest);
    const [old, fresh] = world.vaults.containerNames();
    await expect(rebuild(world)).rejects.toMatchObject({ code: 'RebuildAmbiguous' });
    await expect(rebuild(world)).rejects.toThrow(fresh);
    expect((await rebuild(world, old)).job.status).toBe('Completed');
    await restoresExactly(world, images);
    // The empty one has gone, and is in nobody's way any more.
    expect(world.vaults.containerNames()).toEqual([old]);
    await expect(rebuild(world, fresh)).rejects.toMatchObject({ code: 'ResourceNotFound' });
    expect((await rebuild(world)).job.status).toBe('Completed');
  });
});

it('an item of which nothing was ever backed up leaves nothing to come back', async () => {
  const { world } = await threeNights();
  await world.createVm('idle', [B]);
  await world.protect('idle');
  await lose(world);
  const { job, report } = await rebuild(world);
  expect(job.status).toBe('Completed');
  expect(report.map(({ subject, outcome }) => `${subject} ${outcome}`).sort()).toEqual(['idle Empty', 'vm Rebuilt']);
  await world.setPolicy({});
  await world.protect('idle');
  const { point } = await world.backup('idle');
  expect((await world.restore('idle', point as PointId)).job.errors).toEqual([]);
});
