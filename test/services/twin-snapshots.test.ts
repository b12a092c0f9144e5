import { expect, it } from 'vitest';
import type { DiskSnapshots, TakenSnapshot } from '../../shared/disk/disk-snapshots.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { createWorld } from '../support/world.ts';
import { block, start } from './stage.ts';

/** Storage that tells time so coarsely that twins get one snapshot, which then carries the tags of the later one. */
function coarse(real: DiskSnapshots): DiskSnapshots {
  const taken = new Map<string, { snapshot: TakenSnapshot; tags: Readonly<Record<string, string>> }>();
  const own: Pick<DiskSnapshots, 'take' | 'list'> = {
    async take(url, tags) {
      const snapshot = taken.get(url)?.snapshot ?? (await real.take(url, tags));
      taken.set(url, { snapshot, tags });
      return snapshot;
    },
    async *list(url) {
      for await (const found of real.list(url)) yield { ...found, tags: taken.get(url)?.tags ?? found.tags };
    },
  };
  return new Proxy(real, {
    get: (target, name, receiver): unknown =>
      Reflect.get(name in own ? own : target, name, name in own ? own : receiver),
  });
}

it('twins that storage gives one snapshot do not delete it from under each other', async () => {
  const world = await createWorld({ wrap: (ports) => ({ ...ports, snapshots: coarse(ports.snapshots) }) });
  const [disk] = await world.createVm('vm', [6 * 16_384]);
  await world.disks.write(disk!, 0, block(3, 6));
  await world.protect('vm');
  const id = await start(world);
  const { step } = world.queue.take()!;
  expect(step.step).toBe('take-snapshot');
  await Promise.all([runStep(world.ports, step), runStep(world.ports, step)]);
  await world.drain();
  expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
});
