import { describe, expect, it } from 'vitest';
import { BackupError } from '../../shared/domain/errors.ts';
import type { Step } from '../../shared/queue/steps.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { cancelJob, failJob } from '../../shared/services/watch.ts';
import { gatedPorts } from '../support/gated-ports.ts';
import { leftovers, liveManifests, newestRecord } from '../support/vault-map.ts';
import { VAULT } from '../support/world.ts';
import { REGION, compact, namesOf, noise, sparse } from './compact-stage.ts';
import { B, KEY, container, holding, itemOf, restoresExactly, start, until, vaultOnly } from './stage.ts';

/* Twins, sleepers, ends and other jobs beside a compaction. */

describe('a compaction and what comes between', () => {
  it('twins: one layer stands, what the other has written goes with the sweep', async () => {
    const { world, images, allow } = await sparse();
    allow();
    await compact(world);
    const plan = await until(world, 'plan-compaction');
    const slow = holding(world.ports, /\.layer$/);
    const sleeper = runStep(slow.ports, plan.step);
    await slow.reached;
    await runStep(world.ports, plan.step);
    slow.letGo();
    await sleeper;
    // They may have cut their packs differently: none has written under the other's names.
    const { attempt } = liveManifests(container(world))[0]!.disks[0]!.regions[0]!.layers[0]!;
    expect(namesOf(world, '.pack').filter((name) => name.includes(`.${attempt}.`))).toHaveLength(2);
    world.queue.putBack(plan);
    await world.drain();
    expect(namesOf(world, '.layer')).toHaveLength(1);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it.each([
    ['its record', /\/chain\//],
    ['a manifest', /\/points\//],
    ['a layer', /\.layer$/],
  ])('that slept before writing %s while a backup committed changes nothing', async (_, pattern) => {
    const { world, disk, images, backUp, allow } = await sparse();
    allow();
    const job = await compact(world);
    const plan = await until(world, 'plan-compaction');
    const { ports, reached, letGo } = holding(world.ports, pattern);
    const sleeper = runStep(ports, plan.step);
    await reached;
    await world.disks.write(disk, 0, noise('new', 70));
    await backUp(30);
    const live = newestRecord(container(world));
    allow({ liveBelow: 0 });
    letGo();
    await sleeper;
    await world.drain();
    expect((await world.job(job)).status).toBe('Cancelled');
    expect(newestRecord(container(world)).points).toEqual(live.points);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('stops before its record when its job is gone', async () => {
    const { world, images, allow } = await sparse();
    allow();
    const jobId = await compact(world);
    const plan = await until(world, 'plan-compaction');
    let listings = 0;
    const losing = gatedPorts(world.ports, {
      async before(call) {
        // The first listing is that of planning; the next is that of the commit: the job runs, says the row that has been read.
        if (call !== 'vault.list' || ++listings !== 2) return;
        await world.ports.catalog.jobs.remove(VAULT, jobId);
        await world.ports.catalog.openJobs.remove(VAULT, jobId);
      },
      after: () => undefined,
    });
    await runStep(losing, plan.step);
    expect(listings).toBe(2);
    expect(newestRecord(container(world)).kind).toBe('merge');
    allow({ liveBelow: 0 });
    await world.cleanUp();
    expect(await itemOf(world)).not.toHaveProperty('mergeJob');
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('does not go on when another holds the item', async () => {
    const { world, images, allow } = await sparse();
    allow();
    const job = await compact(world);
    const found = (await world.ports.catalog.items.get(VAULT, KEY))!;
    await world.ports.catalog.items.replace(VAULT, KEY, { ...found.row, mergeJob: undefined }, found.etag);
    await world.drain();
    expect((await world.job(job)).status).toBe('Cancelled');
    expect(newestRecord(container(world)).kind).toBe('merge');
    await restoresExactly(world, images);
  });

  it('puts a record behind the newest when its job ends otherwise, so that a sleeper before the record loses', async () => {
    const { world, images, allow } = await sparse();
    allow();
    const job = await compact(world);
    const plan = await until(world, 'plan-compaction');
    const { ports, reached, letGo } = holding(world.ports, /\/chain\//);
    const sleeper = runStep(ports, plan.step);
    await reached;
    await failJob(world.ports, { vault: VAULT, jobId: job }, new BackupError('JobTimedOut', 'too old'));
    const packs = namesOf(world, '.pack');
    letGo();
    await sleeper;
    allow({ liveBelow: 0 });
    await world.drain();
    expect((await world.job(job)).status).toBe('Failed');
    expect(newestRecord(container(world)).kind).toBe('end');
    expect(namesOf(world, '.pack')).toEqual(packs);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('is not to be cancelled by users, who do not see it', async () => {
    const { world, allow } = await sparse();
    allow();
    const job = await compact(world);
    await expect(cancelJob(world.ports, { vault: VAULT, jobId: job })).rejects.toMatchObject({
      code: 'ResourceNotFound',
    });
  });

  it('goes on after its message was lost', async () => {
    const { world, images, allow } = await sparse();
    allow();
    const job = await compact(world);
    await until(world, 'plan-compaction');
    await world.drain();
    expect((await world.job(job)).status).toBe('InProgress');
    await world.watch();
    expect((await world.job(job)).status).toBe('Completed');
    await restoresExactly(world, images);
  });

  it.each([
    ['in two units', -1, 2],
    ['in one unit', 8 * REGION * B, 1],
  ])('a restore that was planned before it, %s, reads what stands now', async (_, restoreBytes, count) => {
    const { world, images, allow } = await sparse(2, { layout: { restoreBytes } });
    await vaultOnly(world);
    const point = [...images.keys()][0]!;
    const restore = await startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored' });
    const units: Step[] = [];
    for (let message = await until(world, 'restore-unit'); units.length < count;) {
      units.push(message.step);
      if (units.length < count) message = await until(world, 'restore-unit');
    }
    allow();
    await compact(world);
    const reclaim = await until(world, 'reclaim');
    await runStep(world.ports, reclaim.step);
    expect(leftovers(container(world)).filter((name) => !name.includes('/plans/'))).toEqual([]);
    for (const step of units) await runStep(world.ports, step);
    await world.drain();
    expect(await world.job(restore)).toMatchObject({ status: 'Completed', errors: [] });
    const target = world.disks.urls().find((url) => url.startsWith('https://restored') && url.endsWith('.vhd'))!;
    const bytes = await world.disks.read(target, { start: 0, end: world.disks.sizeBytes(target) });
    expect(Buffer.compare(bytes, images.get(point)!)).toBe(0);
  });

  it('a backup that was planned before its commit builds on what stands now', async () => {
    const { world, disk, images, allow } = await sparse(2);
    allow();
    await compact(world);
    const plan = await until(world, 'plan-compaction');
    await world.disks.write(disk, 7 * B, noise('later', 90));
    await world.disks.clear(disk, { start: REGION * B, end: (REGION + 3) * B });
    const image = await world.disks.read(disk, { start: 0, end: world.disks.sizeBytes(disk) });
    const backup = await start(world);
    const unit = await until(world, 'transfer-unit');
    await runStep(world.ports, plan.step);
    expect(newestRecord(container(world)).kind).toBe('compact');
    const reclaim = await until(world, 'reclaim');
    await runStep(world.ports, reclaim.step);
    world.queue.putBack(unit);
    allow({ liveBelow: 0 });
    await world.drain();
    const job = await world.job(backup);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, image);
    await restoresExactly(world, images);
    expect(leftovers(container(world))).toEqual([]);
  });
});
