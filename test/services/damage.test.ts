import { expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { DAMAGES } from '../support/damage.ts';
import type { StoredBlob } from '../support/memory-vault.ts';
import { DAY_MS, type World, createWorld } from '../support/world.ts';

/*
 * Every object of a small vault is damaged in every way that storage can damage it. A restore is then exact, or it fails, names the
 * object, and leaves nothing behind that looks like a disk.
 */

const SIZE = 6 * BLOCK_BYTES;

/** Three points over two regions, the first of them merged away, so that layers, folds and shared packs are all there. */
async function smallVault(): Promise<{
  world: World;
  images: Map<PointId, Uint8Array>;
  blobs: Map<string, StoredBlob>;
}> {
  const world = await createWorld();
  const [disk] = await world.createVm('vm', [SIZE]);
  await world.protect('vm');
  const images = new Map<PointId, Uint8Array>();
  const backUp = async (fill: number, at: number, blocks: number, days: number): Promise<void> => {
    const bytes = Buffer.from(Array.from({ length: blocks * BLOCK_BYTES }, (_, i) => (i * fill + (i >> 8)) & 0xff));
    await world.disks.write(disk!, at * BLOCK_BYTES, bytes);
    const image = await world.disks.read(disk!, { start: 0, end: SIZE });
    images.set((await world.backup('vm', world.clock.now() + days * DAY_MS)).point!, image);
  };
  await backUp(3, 0, 6, 2);
  await backUp(5, 1, 2, 30);
  await backUp(7, 3, 2, 30);
  world.clock.advance(3 * DAY_MS);
  await world.cleanUp();
  for (const { point, set } of await world.points('vm')) {
    for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
    if (!images.has(point)) throw new Error(`unexpected point ${point}`);
  }
  return { world, images, blobs: world.vaults.blobs(world.vaults.containerNames()[0]!) };
}

async function restoreAll(world: World, images: ReadonlyMap<PointId, Uint8Array>, damaged: string): Promise<number> {
  let failed = 0;
  for (const { point } of await world.points('vm')) {
    const urls = world.disks.urls().length;
    const outcome = await world.restore('vm', point).catch((error: unknown) => ({ refused: String(error) }));
    if ('refused' in outcome) {
      expect(outcome.refused).toContain(damaged);
      failed++;
    } else if (outcome.job.status === 'Completed') {
      expect(Buffer.compare(outcome.disks[0]!, images.get(point)!), `a restore of ${point} is wrong`).toBe(0);
    } else {
      failed++;
      expect(outcome.job.errors.map(({ message }) => message).join(' ')).toContain(damaged);
      expect(world.disks.urls().length, 'a failed restore left something').toBe(urls);
    }
  }
  return failed;
}

for (const [name, damage] of Object.entries(DAMAGES)) {
  it(`each object ${name}: restores are exact or name it`, async () => {
    const { world, images, blobs } = await smallVault();
    let failures = 0;
    for (const [object, blob] of Array.from(blobs)) {
      if (object.endsWith('/vault.json') || object.includes('/chain/')) continue;
      const body = damage(blob.body);
      if (body === undefined) blobs.delete(object);
      else blobs.set(object, { ...blob, body });
      failures += await restoreAll(world, images, object);
      blobs.set(object, blob);
    }
    expect(failures).toBeGreaterThan(3);
  });
}

it('each object swapped with a sibling of its kind: restores are exact or name it', async () => {
  const { world, images, blobs } = await smallVault();
  const kind = (object: string): string => object.slice(object.lastIndexOf('.'));
  const objects = [...blobs].filter(([object]) => /\.(pack|layer)$|\/points\//.test(object));
  let failures = 0;
  for (const [object, blob] of objects) {
    const sibling = objects.find(([other]) => other !== object && kind(other) === kind(object));
    if (sibling === undefined) continue;
    blobs.set(object, sibling[1]);
    failures += await restoreAll(world, images, object);
    blobs.set(object, blob);
  }
  expect(failures).toBeGreaterThan(3);
});
