import { expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { itemKey } from '../../shared/services/keys.ts';
import { createWorld, VAULT } from '../support/world.ts';

/** The longest place of a managed disk: names of resource groups have 90 characters at most, names of disks 80. */
const group = 'g'.repeat(90);
const placeOf = (name: string): string =>
  `/subscriptions/11111111-2222-3333-4444-555555555555/resourcegroups/${group}/providers/microsoft.compute/disks/${name.padEnd(80, '-')}`;

it('a VM with as many managed disks as there can be, all with the longest names, is backed up, again with others, and restored', async () => {
  const world = await createWorld();
  await world.createVm('vm', [BLOCK_BYTES]);
  await world.protect('vm');
  const { vmResourceId } = (await world.ports.catalog.items.get(VAULT, itemKey('app', 'vm')))!.row;
  const machine = (await world.compute.virtualMachine(vmResourceId))!;
  const attach = async (generation: string): Promise<void> => {
    const disks = Array.from({ length: 65 }, (_, i) => ({ lun: i - 1, name: `${generation}${i}`.padEnd(80, '-') }));
    for (const { name } of disks) {
      await world.disks.create(placeOf(name), BLOCK_BYTES);
      await world.disks.write(placeOf(name), 0, Buffer.alloc(512, 7));
    }
    world.compute.put({
      ...machine,
      disks: disks.map(({ lun, name }) => ({ lun, name, vhdUrl: undefined, managedDiskId: placeOf(name) })),
    });
  };
  for (const generation of ['a', 'b']) {
    await attach(generation);
    world.clock.advance(60_000);
    expect((await world.backup('vm')).errors).toEqual([]);
  }
  const points = await world.points('vm');
  expect(points.map(({ set, vault }) => [set.disks.length, vault])).toEqual([
    [65, 'Valid'],
    [65, 'Valid'],
  ]);
  const { job, disks } = await world.restore('vm', points[1]!.point);
  expect([job.status, disks.length]).toEqual(['Completed', 65]);
});
