import { describe, expect, it } from 'vitest';
import { startRebuild } from '../../shared/services/rebuild.ts';
import { deleteVault } from '../../shared/services/vaults.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';
import { ADDRESS, lose, threeNights } from './rebuild-stage.ts';
import { block, container, stage, start, until } from './stage.ts';

const NOT_EMPTY = { code: 'ServiceResourceNotEmptyWithBackendMessage' };

/** What tables say of the vault, row by row. */
async function rowsLeft(world: World): Promise<string[]> {
  const left: string[] = [];
  for (const [name, table] of Object.entries(world.ports.catalog))
    for await (const { key } of table.listAll()) left.push(`${name} ${key}`);
  return left;
}

/** Refused, and nothing has gone. */
async function isRefused(world: World, why: RegExp): Promise<void> {
  const before = { rows: await rowsLeft(world), blobs: [...container(world).keys()] };
  const refused = deleteVault(world.ports, ADDRESS);
  await expect(refused).rejects.toMatchObject(NOT_EMPTY);
  await expect(refused).rejects.toThrow(why);
  expect({ rows: await rowsLeft(world), blobs: [...container(world).keys()] }).toEqual(before);
}

describe('deleting a vault is refused', () => {
  it('while its catalog is being rebuilt, and when only its own row is back', async () => {
    const { world } = await threeNights();
    await lose(world);
    await startRebuild(world.ports, ADDRESS, { properties: {} }); // the vault is back, its items are to come
    await isRefused(world, /being rebuilt/);
    await lose(world, 'jobs', 'openJobs');
    await isRefused(world, /vm \(item .*\) has 2 recovery points/);
  });

  it('when the rows of its items are lost', async () => {
    const { world, disk, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 2));
    await backUp(30);
    await lose(world, 'items');
    await isRefused(world, /recovery points/);
  });

  it('when the rows of its items are lost, and their points are in snapshots alone', async () => {
    const { world, disk } = await stage();
    await world.disks.write(disk, 0, block(1, 2));
    await start(world);
    await until(world, 'plan-transfer');
    await lose(world, 'items');
    await isRefused(world, /snapshot tier/);
  });

  it('when the rows of its items are lost, and a chain cannot be read', async () => {
    const { world } = await stage();
    await lose(world, 'items');
    const [record] = [...container(world).keys()].filter((name) => name.includes('/chain/'));
    container(world).get(record!)!.body[150]! ^= 1;
    await isRefused(world, /cannot be read/);
  });

  it('by a policy that holds its container, and changes nothing', async () => {
    const world = await createWorld();
    await world.cleanUp();
    const before = await rowsLeft(world);
    const [name] = world.vaults.containerNames();
    world.vaults.locked.add(name!);
    await expect(deleteVault(world.ports, ADDRESS)).rejects.toMatchObject({ code: 'BMSUserErrorObjectLocked' });
    expect(await rowsLeft(world)).toEqual(before);
    world.vaults.locked.delete(name!);
    await deleteVault(world.ports, ADDRESS);
    expect(world.vaults.containerNames()).toEqual([]);
  });
});

it('a deleted vault leaves no rows: one made anew under its name knows nothing of it', async () => {
  const world = await createWorld();
  await world.cleanUp();
  world.clock.advance(DAY_MS);
  await world.cleanUp();
  expect(await world.ports.catalog.cleanUps.list(VAULT)[Symbol.asyncIterator]().next()).toMatchObject({ done: false });
  await deleteVault(world.ports, ADDRESS);
  expect(await rowsLeft(world)).toEqual([]);
});
