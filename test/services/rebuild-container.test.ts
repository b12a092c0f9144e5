import { expect, it } from 'vitest';
import { startRebuild } from '../../shared/services/rebuild.ts';
import { putVault } from '../../shared/services/vaults.ts';
import type { World } from '../support/world.ts';
import { ADDRESS, ids, lose, rebuild, threeNights } from './rebuild-stage.ts';
import { container } from './stage.ts';

/* Which of several containers a vault is rebuilt from, and what becomes of the others. */

const request = { location: 'westeurope', skuName: 'Standard', tags: {}, properties: {} };

/** The vault's tables are lost, and it was made anew under its name: with points in the old container, and a new one. */
async function madeAnew(): Promise<{ world: World; points: string[]; old: string; fresh: string }> {
  const { world } = await threeNights();
  const points = await ids(world);
  await lose(world);
  await putVault(world.ports, ADDRESS, request);
  const [old, fresh] = world.vaults.containerNames();
  return { world, points, old: old!, fresh: fresh! };
}

it('the vault uses one of two that hold something: that one is meant', async () => {
  const { world, old, fresh } = await madeAnew();
  await world.setPolicy({});
  await world.protect('vm');
  await world.backup('vm');
  expect((await rebuild(world)).job.status).toBe('Completed');
  await lose(world, 'items');
  // Its item rows are lost, but it still has a point: it does not give way.
  await expect(rebuild(world, old)).rejects.toMatchObject({ code: 'RebuildAmbiguous' });
  expect((await rebuild(world)).job.status).toBe('Completed');
  expect(world.vaults.containerNames()).toEqual([old, fresh]);
  expect(await ids(world)).toHaveLength(1);
});

it('one that gave its place and could not be dropped then goes with the next rebuild', async () => {
  const { world, points, old, fresh } = await madeAnew();
  world.vaults.locked.add(fresh);
  expect((await rebuild(world, old)).job.status).toBe('Completed');
  expect(world.vaults.containerNames()).toEqual([old, fresh]);
  world.vaults.locked.clear();
  expect((await rebuild(world)).job.status).toBe('Completed');
  expect(world.vaults.containerNames()).toEqual([old]);
  expect(await ids(world)).toEqual(points);
});

it('one that an item was ever in stays, though it holds no points', async () => {
  const { world, old, fresh } = await madeAnew();
  await world.setPolicy({});
  await world.protect('vm');
  await lose(world, 'items');
  expect((await rebuild(world, old)).job.status).toBe('Completed');
  expect(world.vaults.containerNames()).toEqual([old, fresh]);
  expect((await rebuild(world)).job.status).toBe('Completed');
});

it('a rebuild that runs does not pass for one of another container', async () => {
  const { world } = await threeNights();
  const own = world.vaults.containerNames()[0]!;
  const running = await startRebuild(world.ports, ADDRESS, { properties: {} });
  const other = startRebuild(world.ports, ADDRESS, { container: 'vault-other', properties: {} });
  await expect(other).rejects.toMatchObject({ code: 'BMSUserErrorObjectLocked', target: 'container' });
  expect(await startRebuild(world.ports, ADDRESS, { container: own, properties: {} })).toBe(running);
  await world.drain();
  expect((await world.job(running)).status).toBe('Completed');
  expect(container(world).size).toBeGreaterThan(0);
});
