import { describe, expect, it } from 'vitest';
import { BackupError } from '../../shared/domain/errors.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { startVerify } from '../../shared/services/verify.ts';
import { leftovers, newestRecord } from '../support/vault-map.ts';
import { DAY_MS, VAULT } from '../support/world.ts';
import { B, KEY, block, container, restoresExactly, stage, vaultOnly } from './stage.ts';

/** The storage's policy forbids every delete, as the time-based retention of a container does. */
const immutable = (ports: Ports): Ports => ({
  ...ports,
  vaults: {
    ...ports.vaults,
    async open(name) {
      const real = await ports.vaults.open(name);
      return {
        ...real,
        async delete(blob) {
          if ((await real.stat(blob)) !== undefined)
            throw new BackupError('BMSUserErrorObjectLocked', `an immutability policy holds ${blob}`, { target: blob });
        },
      };
    },
  },
});

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

describe('under a policy that forbids every delete', () => {
  it('a verification ends, and holds its item no more', async () => {
    const { world, disk, backUp } = await stage({ wrap: immutable });
    await world.disks.write(disk, 0, block(1, 2));
    await backUp(30);
    const id = await startVerify(world.ports, VAULT, KEY, {}, true);
    await world.drain();
    expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
    expect((await world.ports.catalog.items.get(VAULT, KEY))!.row.verifyJob).toBeUndefined();
  });

  it('a first backup with units that found nothing leaves its item protected', async () => {
    const { world, disk, backUp } = await stage({ wrap: immutable, layout: { thinBytes: -1 }, regionBytes: 2 * B });
    await world.disks.write(disk, 0, block(0, 2)); // allocated, but zeros
    await world.disks.write(disk, 2 * B, block(1, 2));
    await backUp(30);
    expect((await world.ports.catalog.items.get(VAULT, KEY))!.row.protectionState).toBe('Protected');
  });

  it('restores, merges and their reclaims come to their ends', async () => {
    const { world, disk, images, backUp } = await stage({ wrap: immutable });
    await world.disks.write(disk, 0, block(1, 2));
    await backUp(2);
    await world.disks.write(disk, B, block(2, 2));
    const second = await backUp(30);
    world.clock.advance(3 * DAY_MS);
    await world.cleanUp();
    expect((await world.points('vm')).map(({ point }) => point)).toEqual([second]);
    await vaultOnly(world);
    const id = await startRestore(world.ports, VAULT, KEY, second, { accountId: '/x/restored' });
    await world.drain();
    expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
    expect(world.queue.waiting()).toEqual([]);
    await restoresExactly(world, new Map([[second, images.get(second)!]]));
  });
});
