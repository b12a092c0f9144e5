import { describe, expect, it } from 'vitest';
import type { AttemptId, ItemId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { Chain } from '../../shared/services/chain.ts';
import { vaultKey } from '../../shared/services/keys.ts';
import { protect, stopProtection } from '../../shared/services/protection.ts';
import { putVault } from '../../shared/services/vaults.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';
import { B, KEY, block, container, restoresExactly, stage } from './stage.ts';

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

describe('of two requests that protect a VM at once', () => {
  /** A world in which something happens when a request is about to insert its item's row, the first time. */
  async function worldWith(meanwhile: (world: World, insert: () => Promise<unknown>) => Promise<void>): Promise<World> {
    let isFirst = true;
    const world: World = await createWorld({
      wrap: (ports) => ({
        ...ports,
        catalog: {
          ...ports.catalog,
          items: {
            ...ports.catalog.items,
            async insert(partition, key, row) {
              const insert = () => ports.catalog.items.insert(partition, key, row);
              if (isFirst) {
                isFirst = false;
                await meanwhile(world, insert);
              }
              return insert();
            },
          },
        },
      }),
    });
    await world.createVm('vm', [BLOCK_BYTES]);
    await world.protect('vm');
    return world;
  }

  const folders = (world: World): Set<string> =>
    new Set([...container(world).keys()].flatMap((name) => /^v1\/items\/([^/]+)/.exec(name)?.[1] ?? []));
  const itemOf = async (world: World) => (await world.ports.catalog.items.get(VAULT, KEY))!.row.itemId;

  it('the later one leaves nothing behind', async () => {
    const world = await worldWith((own) => own.protect('vm'));
    expect(folders(world)).toEqual(new Set([await itemOf(world)]));
    expect((await world.backup('vm')).status).toBe('Completed');
  });

  it('an answer that was lost takes nothing away', async () => {
    const world = await worldWith(async (_, insert) => void (await insert()));
    expect(folders(world)).toEqual(new Set([await itemOf(world)]));
    expect((await world.backup('vm')).status).toBe('Completed');
  });

  it('what a rebuild has seen meanwhile stays', async () => {
    const world = await worldWith(async (own) => {
      const [first] = [...folders(own)];
      const chain = new Chain(await own.ports.vaults.open(own.vaults.containerNames()[0]!), first as ItemId);
      const end = {
        kind: 'end',
        attempt: '0123456789abcdef' as AttemptId,
        job: null,
        writtenAt: '2026-01-01T00:00:00.000Z',
      } as const;
      await chain.append(await chain.newest(), end);
      await own.protect('vm');
    });
    expect(folders(world).size).toBe(2);
  });
});
