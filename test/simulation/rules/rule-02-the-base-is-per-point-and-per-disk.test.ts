import { describe, expect, it } from 'vitest';
import { cleanUp } from '../../../shared/services/clean-up-run.ts';
import { runStep } from '../../../shared/services/run-step.ts';
import { DAY_MS, VAULT } from '../../support/world.ts';
import { B, KEY, block, itemOf, live, stage, start, until, vaultOnly } from '../../services/stage.ts';
import { imageOf, whole } from './story.ts';

describe('rule 2: the base is per point and per disk', () => {
  it('a disk that returns is planned again when its own last point was merged away meanwhile', async () => {
    const told = await stage();
    const { world, disk, backUp } = told;
    const vm = (await world.compute.virtualMachine((await itemOf(world)).vmResourceId))!;
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
    const image = await imageOf(told);
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
    await vaultOnly(world);
    const { job: restore, disks } = await world.restore('vm', job.point!);
    expect(restore.errors).toEqual([]);
    expect(Buffer.compare(disks[0]!, image)).toBe(0);
  });

  it('a transfer whose base is no longer the last point commits no difference from it', async () => {
    const { world, disk, images, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    const slow = await start(world);
    const commit = await until(world, 'commit');
    // The item's row is lost hold of, as if tables had been set back: another backup runs beside.
    await world.ports.catalog.items.upsert(VAULT, KEY, { ...(await itemOf(world)), activeJob: undefined });
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
    await whole({ world, images });
  });
});
