import { expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import { newestRecord } from '../support/vault-map.ts';
import { B, type Stage, block, container, restoresExactly, stage, vaultOnly } from './stage.ts';
import { findings, verify } from './verify-stage.ts';

/* Where a manifest is lost the disk's chain begins anew with the next backup: what was before is nothing to the points from then on. */

interface Anew extends Stage {
  readonly points: { first: PointId; second: PointId; third: PointId };
  readonly partition: string;
  /** Puts the lost manifest of the second point back. */
  readonly putBack: () => void;
}

/** Three points; the manifest of the second is lost before the third, for which two blocks were discarded. */
async function begunAnew(): Promise<Anew> {
  const set = await stage({ layout: { thinBytes: -1 }, regionBytes: 8 * B });
  const { world, disk, backUp } = set;
  await world.disks.write(disk, 0, block(1, 5));
  const first = await backUp(30);
  await world.disks.write(disk, 5 * B, block(2));
  const second = await backUp(30);
  const blobs = container(world);
  const name = [...blobs.keys()].find((each) => each.includes(`/points/${second}.`))!;
  const manifest = blobs.get(name)!;
  blobs.delete(name);
  await world.disks.clear(disk, { start: 0, end: 2 * B });
  const third = await backUp(30);
  const partition = pointsPartition(world.vaults.containerNames()[0]!, newestRecord(blobs).item);
  return { ...set, points: { first, second, third }, partition, putBack: () => void blobs.set(name, manifest) };
}

const packOf = ({ world }: Stage, point: PointId): string =>
  [...container(world).keys()].find((name) => name.endsWith('.pack') && name.includes(`/${point}/`))!;

function spoil({ world }: Stage, name: string): void {
  const blobs = container(world);
  blobs.set(name, { ...blobs.get(name)!, body: Buffer.alloc(blobs.get(name)!.body.length, 9) });
}

it('a lost manifest touches no point from the new beginning on', async () => {
  const set = await begunAnew();
  const { world, images, points } = set;
  await verify(world);
  expect(await findings(set)).toMatchObject([{ kind: 'document', points: [points.second], newestIsSound: true }]);
  await vaultOnly(world);
  const { disks } = await world.restore('vm', points.third);
  expect(Buffer.compare(disks[0]!, images.get(points.third)!)).toBe(0);
});

it('damage from before is not said to touch the points from then on', async () => {
  const set = await begunAnew();
  const object = packOf(set, set.points.first);
  spoil(set, object);
  await verify(set.world);
  const blocks = (await findings(set)).filter(({ kind }) => kind === 'blocks');
  expect(blocks).toMatchObject([{ object, points: [set.points.first], newestIsSound: true }]);
});

it('a layer from before that is gone is not said to touch the points from then on', async () => {
  const set = await begunAnew();
  const object = [...container(set.world).keys()].find(
    (name) => name.endsWith('.layer') && name.includes(`/${set.points.first}/`),
  )!;
  container(set.world).delete(object);
  await verify(set.world, { deepBytes: 0 });
  const layers = (await findings(set)).filter(({ kind }) => kind === 'layer');
  expect(layers).toMatchObject([{ object, points: [set.points.first], newestIsSound: true }]);
});

it('damage from then on is said to touch these points alone', async () => {
  const set = await begunAnew();
  const object = packOf(set, set.points.third);
  spoil(set, object);
  await verify(set.world);
  const blocks = (await findings(set)).filter(({ kind }) => kind === 'blocks');
  expect(blocks).toMatchObject([{ object, points: [set.points.third], newestIsSound: false }]);
});

it('the newest point is compared with its snapshot from the new beginning on, whether the manifest comes back or not', async () => {
  const set = await begunAnew();
  const { world, images, points } = set;
  const without = await verify(world);
  expect(without.bag).toMatchObject({ 'Compared Recovery Point': points.third });
  expect((await findings(set)).map(({ kind }) => kind)).toEqual(['document']);
  set.putBack();
  const again = await verify(world);
  expect(again).toMatchObject({ status: 'Completed', errors: [], bag: { 'Compared Recovery Point': points.third } });
  await restoresExactly(world, images);
});

it('what is known of regions that only a lost manifest names has not healed with it', async () => {
  const set = await stage({ layout: { thinBytes: -1 } });
  const { world, disk, backUp } = set;
  await world.disks.write(disk, 0, block(1));
  await backUp(30);
  await world.disks.write(disk, 4 * B, block(2));
  const second = await backUp(30);
  const blobs = container(world);
  const partition = pointsPartition(world.vaults.containerNames()[0]!, newestRecord(blobs).item);
  spoil(set, packOf(set, second));
  await verify(world);
  await vaultOnly(world);
  blobs.delete([...blobs.keys()].find((each) => each.includes(`/points/${second}.`))!);
  await verify(world);
  const found = (await findings({ world, partition })).map(({ kind }) => kind);
  expect(found.toSorted()).toEqual(['blocks', 'document']);
});
