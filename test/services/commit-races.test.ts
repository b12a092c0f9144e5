import { describe, expect, it } from 'vitest';
import { cleanUp } from '../../shared/services/clean-up.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { cancelJob } from '../../shared/services/watch.ts';
import { Killed, gatedPorts } from '../support/gated-ports.ts';
import { leftovers } from '../support/vault-map.ts';
import { DAY_MS, VAULT } from '../support/world.ts';
import { B, KEY, block, container, holding, live, restoresExactly, stage, start, until, vaultOnly } from './stage.ts';

/* A commit and what may come between its steps: the named cases. What a seed finds besides is looked for by the simulation. */

describe('a commit', () => {
  it("whose disk's base has been merged away meanwhile is planned again", async () => {
    const { world, disk, images, backUp } = await stage();
    const vm = (await world.compute.virtualMachine(
      (await world.ports.catalog.items.get(VAULT, KEY))!.row.vmResourceId,
    ))!;
    const other = 'https://disks0.example/vhds/other.vhd';
    await world.disks.create(other, 6 * B);
    await world.disks.write(other, 0, block(9, 6));
    await world.disks.write(disk, 0, block(1, 6));
    const first = await backUp(2);
    // The disk is away in point 2, so its last point is 1; it comes back in point 3.
    world.compute.put({ ...vm, disks: [{ lun: 4, name: 'other', vhdUrl: other, managedDiskId: undefined }] });
    await world.backup('vm');
    world.clock.advance(60_000);
    world.compute.put(vm);
    await world.disks.write(disk, 2 * B, block(2));
    const image = await world.disks.read(disk, { start: 0, end: 6 * B });
    const id = await start(world);
    const commit = await until(world, 'commit');
    // All its layers are there, as differences from point 1. Now point 1 goes, and the disk with it: no later point includes it.
    world.clock.advance(3 * DAY_MS);
    await cleanUp(world.ports);
    await world.drain();
    expect(live(world)).not.toContain(first);
    await runStep(world.ports, commit.step);
    await world.drain();
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, image);
    await vaultOnly(world);
    const { job: restore, disks } = await world.restore('vm', job.point!);
    expect(restore.errors).toEqual([]);
    expect(Buffer.compare(disks[0]!, image)).toBe(0);
  });

  it('that a later point has overtaken leaves its own out of the vault and says so', async () => {
    const { world, disk, images, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    const slow = await start(world);
    const commit = await until(world, 'commit');
    // The item's row is lost hold of, as if tables had been rebuilt: another backup runs beside.
    const item = (await world.ports.catalog.items.get(VAULT, KEY))!;
    await world.ports.catalog.items.upsert(VAULT, KEY, { ...item.row, activeJob: undefined });
    world.clock.advance(60_000);
    await world.disks.write(disk, 3 * B, block(3));
    await backUp(30);
    await runStep(world.ports, commit.step);
    await world.drain();
    expect(await world.job(slow)).toMatchObject({
      status: 'CompletedWithWarnings',
      errors: [{ code: 'RecoveryPointOvertaken' }],
    });
    expect(live(world)).toEqual([...images.keys()]);
    await vaultOnly(world);
    for (const point of images.keys()) {
      const { disks } = await world.restore('vm', point);
      expect(Buffer.compare(disks[0]!, images.get(point)!)).toBe(0);
    }
  });

  it('of a handler that slept while its job was cancelled changes nothing', async () => {
    const { world, disk, images, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    const id = await start(world);
    const commit = await until(world, 'commit');
    const { ports, reached, letGo } = holding(world.ports, /\/chain\//);
    const sleeper = runStep(ports, commit.step);
    await reached;
    await cancelJob(world.ports, { vault: VAULT, jobId: id });
    letGo();
    await sleeper;
    await world.drain();
    expect((await world.job(id)).status).toBe('Cancelled');
    expect(live(world)).toEqual([...images.keys()]);
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
  });

  it.each([
    ['writing its record', /\/chain\//],
    ['writing a manifest', /\/points\//],
    ['writing a layer', /\.layer$/],
  ])('of a merge that slept before %s while a backup committed changes nothing', async (_, pattern) => {
    const { world, disk, images, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(1);
    await world.disks.write(disk, B, block(2));
    await backUp(30);
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    const plan = await until(world, 'plan-merge');
    const { ports, reached, letGo } = holding(world.ports, pattern);
    const sleeper = runStep(ports, plan.step);
    await reached;
    await world.disks.write(disk, 2 * B, block(3));
    await backUp(30);
    letGo();
    await sleeper;
    expect(live(world)).toHaveLength(3);
    expect(world.queue.waiting().map(({ step }) => step.step)).not.toContain('reclaim');
    await world.drain();
    // It gave way, and cleanup has merged anew on the newest record.
    expect(live(world)).toEqual([...images.keys()].slice(1));
    await restoresExactly(world, images);
  });

  it('is told whether its job still runs after it has read the record, not only before', async () => {
    const { world, disk, images, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    const id = await start(world);
    const commit = await until(world, 'commit');
    let listings = 0;
    const cancelling = gatedPorts(world.ports, {
      async before(call) {
        // The first listing is that of the chain: the job runs, says the row that has been read.
        if (call === 'vault.list' && listings++ === 0) await cancelJob(world.ports, { vault: VAULT, jobId: id });
      },
      after: () => undefined,
    });
    await runStep(cancelling, commit.step);
    await world.drain();
    expect((await world.job(id)).status).toBe('Cancelled');
    expect(live(world)).toEqual([...images.keys()]);
  });

  it('that comes between a cancellation and its record is what has happened', async () => {
    const { world, disk, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    const id = await start(world);
    const commit = await until(world, 'commit');
    const committing = holding(world.ports, /\/chain\//);
    const cancelling = holding(world.ports, /\/chain\//);
    const commits = runStep(committing.ports, commit.step);
    await committing.reached;
    const cancels = cancelJob(cancelling.ports, { vault: VAULT, jobId: id });
    await cancelling.reached;
    committing.letGo();
    await commits;
    cancelling.letGo();
    await cancels;
    await world.drain();
    const job = await world.job(id);
    expect(job.status).toBe('Completed');
    expect(live(world)).toContain(job.point);
    expect(await world.points('vm')).toMatchObject([{ vault: 'Valid' }, { vault: 'Valid' }]);
  });

  it('whose handler died before it could say so has happened, once', async () => {
    const { world, disk, images, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    const image = await world.disks.read(disk, { start: 0, end: 6 * B });
    const id = await start(world);
    const commit = await until(world, 'commit');
    let dead = false;
    const dying = gatedPorts(world.ports, {
      before: (call) => {
        dead ||= call === 'points.list';
        if (dead) throw new Killed(call);
      },
      after: () => undefined,
    });
    await expect(runStep(dying, commit.step)).rejects.toThrow(Killed);
    world.queue.putBack(commit);
    await world.drain();
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, image);
    expect(live(world)).toEqual([...images.keys()]);
    await restoresExactly(world, images);
  });
});
