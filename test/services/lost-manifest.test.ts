import { expect, it } from 'vitest';
import { startBackup } from '../../shared/services/backup.ts';
import { DAY_MS } from '../support/world.ts';
import { B, KEY, block, container, live, stage, vaultOnly } from './stage.ts';
import { findings, verify } from './verify-stage.ts';
import { VAULT } from '../support/world.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import { newestRecord } from '../support/vault-map.ts';

async function three() {
  const set = await stage({ layout: { thinBytes: -1 }, regionBytes: 8 * B });
  const { world, disk, backUp } = set;
  await world.disks.write(disk, 0, block(1, 5));
  const first = await backUp(30);
  await world.disks.write(disk, 5 * B, block(2, 1));
  const second = await backUp(30);
  const partition = pointsPartition(world.vaults.containerNames()[0]!, newestRecord(container(world)).item);
  return { ...set, first, second, partition };
}

it('an open finding and a lost manifest: the next backup begins anew, and does not fail for ever', async () => {
  const { world, disk, backUp, first, partition } = await three();
  const blobs = container(world);
  const pack = [...blobs.keys()].find((name) => name.endsWith('.pack') && name.includes(`/${first}/`))!;
  blobs.set(pack, { ...blobs.get(pack)!, body: Buffer.alloc(blobs.get(pack)!.body.length, 9) });
  await verify(world);
  expect(await findings({ world, partition })).toMatchObject([{ kind: 'blocks', newestIsSound: false }]);
  const third = await backUp(30); // heals it
  const manifest = [...blobs.keys()].find((name) => name.includes(`/points/${third}.`))!;
  blobs.delete(manifest);
  await world.disks.write(disk, 5 * B, block(7, 1));
  for (let night = 0; night < 3; night++) {
    const id = await startBackup(world.ports, VAULT, KEY, {
      kind: 'onDemand',
      retainUntil: world.clock.now() + 30 * DAY_MS,
    });
    await world.drain();
    expect.soft(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
    world.clock.advance(DAY_MS);
    await verify(world);
  }
});

it('points expire although the manifest of an expired one is lost, once the disks have begun anew', async () => {
  const { world, disk, backUp } = await stage({ layout: { thinBytes: -1 }, regionBytes: 8 * B });
  await world.disks.write(disk, 0, block(1, 5));
  await backUp(2);
  await world.disks.write(disk, B, block(2));
  const lost = await backUp(2);
  const blobs = container(world);
  blobs.delete([...blobs.keys()].find((name) => name.includes(`/points/${lost}.`))!);
  await world.disks.write(disk, 2 * B, block(3));
  const third = await backUp(2);
  await world.disks.write(disk, 3 * B, block(4));
  const fourth = await backUp(90);
  expect(live(world)).toHaveLength(4);
  for (let night = 0; night < 4; night++) {
    world.clock.advance(4 * DAY_MS);
    await world.cleanUp();
  }
  expect.soft(live(world)).not.toContain(third); // nothing of it has to do with the lost one
  expect(live(world)).toEqual([fourth]);
});

/* A plan leaves out the manifests of quiet nights: a restore does not. */
it.each([
  ['gone', undefined],
  ['known to be damaged', Buffer.alloc(300, 9)],
])('the manifest of a quiet night is %s: the next backup begins anew, and can be restored', async (_, damaged) => {
  const { world, disk, images, backUp } = await stage();
  await world.disks.write(disk, 0, block(1, 5));
  await backUp(30);
  const quiet = await backUp(30);
  for (let night = 0; night < 2; night++) await backUp(30);
  const blobs = container(world);
  const name = [...blobs.keys()].find((own) => own.includes(`/points/${quiet}.`))!;
  if (damaged === undefined) blobs.delete(name);
  else {
    blobs.set(name, { ...blobs.get(name)!, body: damaged });
    await verify(world);
  }
  await world.disks.write(disk, 2 * B, block(2));
  const next = await backUp(30);
  await vaultOnly(world);
  const { job, disks } = await world.restore('vm', next);
  expect(job.errors).toEqual([]);
  expect(Buffer.compare(disks[0]!, images.get(next)!)).toBe(0);
});
