import { expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { vaultKey } from '../../shared/services/keys.ts';
import { protect, stopProtection } from '../../shared/services/protection.ts';
import { putVault } from '../../shared/services/vaults.ts';
import { DAY_MS, VAULT, createWorld } from '../support/world.ts';
import { B, KEY, block, restoresExactly, stage } from './stage.ts';

it('a VM that one vault protects is refused by another, and the error says which has it', async () => {
  const world = await createWorld();
  await world.createVm('vm', [BLOCK_BYTES]);
  await world.protect('vm');
  const { row } = (await world.ports.catalog.items.listAll()[Symbol.asyncIterator]().next()).value!;
  const address = { subscriptionId: '11111111-2222-3333-4444-555555555555', resourceGroup: 'bk', vault: 'second' };
  await putVault(world.ports, address, { location: 'westeurope', skuName: 'Standard', tags: {}, properties: {} });
  const again = protect(
    world.ports,
    vaultKey(address),
    { resourceId: row.vmResourceId, resourceGroup: row.resourceGroup, vmName: row.vmName },
    'DefaultPolicy',
  );
  await expect(again).rejects.toThrow(/protected by vault v1 in resource group bk/);
});

it('stopping drops the snapshots that only the next diff would have needed, and keeps younger ones', async () => {
  const { world, disk, backUp, images } = await stage();
  await world.setPolicy({ instantRetentionDays: 2 });
  const snapshots = async () => (await world.points('vm')).map(({ instant }) => instant);
  await world.disks.write(disk, 0, block(1));
  await backUp(30);
  world.clock.advance(3 * DAY_MS);
  await world.cleanUp();
  expect(await snapshots()).toEqual(['Valid']); // past its time: the anchor
  await stopProtection(world.ports, VAULT, KEY);
  expect(await snapshots()).toEqual(['Deleted']);

  await world.protect('vm');
  await world.disks.write(disk, B, block(2));
  await backUp(30);
  const { sources } = await world.job((await world.points('vm')).at(-1)!.jobId);
  expect(sources).toMatchObject([{ source: 'hashes', reason: 'the base snapshot is gone' }]);
  await stopProtection(world.ports, VAULT, KEY);
  expect(await snapshots()).toEqual(['Deleted', 'Valid']);
  await restoresExactly(world, images);
});
