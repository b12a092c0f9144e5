import { expect, it } from 'vitest';
import type { Catalog } from '../../shared/catalog/catalog.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { itemKey } from '../../shared/services/keys.ts';
import { deleteVault } from '../../shared/services/vaults.ts';
import { ADDRESS } from '../support/life.ts';
import { VAULT, type World, createWorld } from '../support/world.ts';

/** Which tables have rows. */
async function tablesWithRows({ ports: { catalog } }: World): Promise<string[]> {
  const found: string[] = [];
  for (const name of Object.keys(catalog) as (keyof Catalog)[])
    for await (const _ of catalog[name].listAll()) if (found.at(-1) !== name) found.push(name);
  return found;
}

it('a deleted vault leaves no rows: one made anew under its name knows nothing of it', async () => {
  const world = await createWorld();
  await world.cleanUp();
  await cleanUp(world.ports); // one more has begun
  await deleteVault(world.ports, ADDRESS);
  expect(await tablesWithRows(world)).toEqual([]);
  await world.drain(); // its messages come too late
  expect(await tablesWithRows(world)).toEqual([]);
});

it('a deleted vault leaves no reports of runs over items that it had', async () => {
  const world = await createWorld();
  await world.createVm('vm', [65_536]);
  await world.setPolicy({});
  await world.protect('vm');
  await world.cleanUp();
  expect(await tablesWithRows(world)).toContain('cleanUpReports');
  await expect(deleteVault(world.ports, ADDRESS)).rejects.toMatchObject({
    code: 'ServiceResourceNotEmptyWithBackendMessage',
  });
  await world.ports.catalog.items.remove(VAULT, itemKey('app', 'vm'));
  await deleteVault(world.ports, ADDRESS);
  expect(await tablesWithRows(world)).toEqual([]);
});
