import { expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { vaultKey } from '../../shared/services/keys.ts';
import { protect } from '../../shared/services/protection.ts';
import { putVault } from '../../shared/services/vaults.ts';
import { createWorld } from '../support/world.ts';

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
