import { expect, it } from 'vitest';
import { pointsPartition } from '../../shared/services/keys.ts';
import { leftovers, newestRecord } from '../support/vault-map.ts';
import { DAY_MS } from '../support/world.ts';
import { block, container, restoresExactly, stage } from './stage.ts';

it('what a policy of the storage holds is owed and listed, and goes once the policy lets it', async () => {
  const { world, disk, images, backUp } = await stage({ layout: { thinBytes: -1 } });
  await world.disks.write(disk, 0, block(1, 2));
  await backUp(2);
  const old = [...container(world).keys()].filter((name) => /\.(layer|pack)$/.test(name));
  for (const name of old) world.vaults.locked.add(name);
  await world.disks.write(disk, 0, block(2, 2));
  await backUp(30);
  world.clock.advance(3 * DAY_MS);
  await world.cleanUp();
  expect(leftovers(container(world)).sort()).toEqual(old.sort());

  const owed = async (): Promise<string[]> => {
    const names: string[] = [];
    const partition = pointsPartition(world.vaults.containerNames()[0]!, newestRecord(container(world)).item);
    for await (const { row } of world.ports.catalog.marks.list(partition)) if (row.owed === true) names.push(row.name);
    return names.sort();
  };
  await world.sweep();
  expect(await owed()).toEqual(old.sort());
  await restoresExactly(world, images);

  world.vaults.locked.clear();
  await world.sweep();
  expect(leftovers(container(world))).toEqual([]);
  expect(await owed()).toEqual([]);
});
