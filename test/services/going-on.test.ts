import { expect, it } from 'vitest';
import { BackupError } from '../../shared/domain/errors.ts';
import type { Step } from '../../shared/queue/steps.ts';
import { startMerge } from '../../shared/services/merge.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { giveUp, runStep } from '../../shared/services/run-step.ts';
import { watchJobs } from '../../shared/services/watch.ts';
import type { QueuedMessage } from '../support/memory-queue.ts';
import { DAY_MS, VAULT, createWorld } from '../support/world.ts';
import { B, KEY, block, letPass, restoresExactly, stage, start, until, vaultOnly } from './stage.ts';

/* What goes wrong under a job without being its end. */

it('a restore goes on from the vault when its snapshots go while units are under way', async () => {
  const { world, images, backUp, disk } = await stage();
  await world.disks.write(disk, 0, block(3, 6));
  const point = await backUp(30);
  const id = await startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored' });
  const unit = await until(world, 'restore-unit');
  await vaultOnly(world);
  world.queue.putBack(unit);
  await world.drain();
  const job = await world.job(id);
  expect(job).toMatchObject({ status: 'Completed', errors: [], sources: [{ source: 'vault' }] });
  const made = world.disks.urls().find((url) => url.startsWith(job.restore!.containerUrl) && url.endsWith('.vhd'))!;
  const bytes = await world.disks.read(made, { start: 0, end: world.disks.sizeBytes(made) });
  expect(Buffer.compare(bytes, images.get(point)!)).toBe(0);
});

it('a unit whose message was lost gets another', async () => {
  const { world, images, disk } = await stage();
  await world.disks.write(disk, 0, block(3, 6));
  const image = await world.disks.read(disk, { start: 0, end: world.disks.sizeBytes(disk) });
  const id = await start(world);
  await until(world, 'transfer-unit'); // taken, and never seen again
  await world.drain();
  const job = await world.job(id);
  expect(job).toMatchObject({ status: 'Completed', errors: [] });
  images.set(job.point!, image);
  await restoresExactly(world, images);
});

it('a unit of a restore whose message was lost gets another from the watch', async () => {
  const { world, backUp, disk } = await stage();
  await world.disks.write(disk, 0, block(3, 6));
  const point = await backUp(30);
  const id = await startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored' });
  await until(world, 'restore-unit'); // taken, and never seen again
  // Its coordinator looks every half minute meanwhile.
  await letPass(world, 20 * 60_000);
  expect(await world.job(id)).toMatchObject({ status: 'InProgress' });
  await watchJobs(world.ports);
  await letPass(world, 60_000);
  expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
});

it('a step that the queue has given up waits while storage is away, and goes on when it is back', async () => {
  let away = false;
  const world = await createWorld({
    wrap: (ports) => ({
      ...ports,
      snapshots: new Proxy(ports.snapshots, {
        get(target, method, receiver): unknown {
          if (!away) return Reflect.get(target, method, receiver);
          return () => {
            throw new BackupError('StorageUnavailable', 'storage does not answer');
          };
        },
      }),
    }),
  });
  const [disk] = await world.createVm('vm', [6 * 16_384]);
  await world.disks.write(disk!, 0, block(3, 6));
  await world.protect('vm');
  const id = await start(world);
  const unit = await until(world, 'transfer-unit');
  away = true;
  await giveUp(world.ports, unit.step);
  expect((await world.job(id)).status).toBe('InProgress');
  away = false;
  await world.drain();
  expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
});

it('a restore that has been decided ends, though the marks of its units are lost', async () => {
  const { world, images, backUp, disk } = await stage();
  await world.disks.write(disk, 0, block(3, 6));
  const point = await backUp(30);
  const id = await startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored' });
  let dying = true;
  const complete: (typeof world.ports.targets)['complete'] = (target) => {
    if (!dying) return world.ports.targets.complete(target);
    return Promise.reject(new BackupError('StorageUnavailable', 'the handler dies here'));
  };
  const ports = { ...world.ports, targets: { ...world.ports.targets, complete } };
  const last = await until(world, 'finish-restore');
  await expect(runStep(ports, last.step)).rejects.toThrow('dies');
  const { attempt, outcome } = await world.job(id);
  expect(outcome).toBe('Completed');
  for await (const { partition, key } of world.ports.catalog.units.list(attempt!))
    await world.ports.catalog.units.remove(partition, key);
  dying = false;
  await runStep(ports, last.step);
  const job = await world.job(id);
  expect(job).toMatchObject({ status: 'Completed', errors: [] });
  const made = world.disks.urls().find((url) => url.startsWith(job.restore!.containerUrl) && url.endsWith('.vhd'))!;
  const bytes = await world.disks.read(made, { start: 0, end: world.disks.sizeBytes(made) });
  expect(Buffer.compare(bytes, images.get(point)!)).toBe(0);
});

it('a merge that gets on is not begun again by every look of the watch, one whose units were lost is', async () => {
  const regions = 40; // more than are folded on the spot
  const world = await createWorld({ layout: { thinBytes: -1 }, regionBytes: B });
  const disk = (await world.createVm('vm', [regions * B]))[0]!;
  await world.protect('vm');
  const backUp = async (days: number) => (await world.backup('vm', world.clock.now() + days * DAY_MS)).point!;
  await world.disks.write(disk, 0, block(1, regions));
  const first = await backUp(1);
  await world.disks.write(disk, 0, block(2, regions));
  world.clock.advance(60_000);
  const second = await backUp(30);
  world.clock.advance(2 * DAY_MS);
  expect(await startMerge(world.ports, VAULT, KEY, first)).toBe(true);
  await runStep(world.ports, world.queue.take()!.step);
  const units: QueuedMessage[] = [];
  const waiting = (step: Step['step']): number =>
    world.queue.waiting().filter((each) => each.step.step === step).length;
  /** Lets ten minutes pass with one unit done in them, or none; then the watch looks. */
  const tenMinutes = async (withUnit: boolean): Promise<void> => {
    for (let minute = 0; minute < 10; minute++) {
      world.clock.advance(60_000);
      for (let due = world.queue.due().length; due > 0; due--) {
        const message = world.queue.take()!;
        if (message.step.step === 'merge-unit') units.push(message);
        else await runStep(world.ports, message.step);
      }
    }
    if (withUnit) await runStep(world.ports, units.shift()!.step);
    await watchJobs(world.ports);
  };
  for (let looks = 0; looks < 12; looks++) await tenMinutes(true);
  expect({ coordinators: waiting('commit'), begun: waiting('plan-merge') }).toEqual({ coordinators: 1, begun: 0 });
  units.length = 0; // lost
  await tenMinutes(false);
  await tenMinutes(false);
  expect(waiting('plan-merge') + waiting('merge-unit')).toBeGreaterThan(0);
  await world.drain();
  expect((await world.points('vm')).map(({ point }) => point)).toEqual([second]);
});
