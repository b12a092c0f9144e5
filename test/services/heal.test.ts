import { describe, expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import { openFindings } from '../../shared/services/findings.ts';
import { newestRecord } from '../support/vault-map.ts';
import { DAY_MS, type World } from '../support/world.ts';
import { B, block, container, restoresExactly, stage, vaultOnly } from './stage.ts';

/* Damage in the vault: the next backup writes again what the disk still has, so that new points are sound; old ones say what they lack. */

const names = (world: World, kind: string): string[] =>
  [...container(world).keys()].filter((name) => name.endsWith(`.${kind}`)).sort();

function damage(world: World, name: string): void {
  const blobs = container(world);
  const body = Buffer.from(blobs.get(name)!.body);
  body[100]! ^= 1;
  blobs.set(name, { ...blobs.get(name)!, body });
}

const findings = (world: World) =>
  openFindings(world.ports, pointsPartition(world.vaults.containerNames()[0]!, newestRecord(container(world)).item));

/** Two points of a disk of six blocks in one region; the second changes one block. */
async function twoPoints() {
  const set = await stage({ layout: { thinBytes: -1 }, regionBytes: 8 * B });
  const { world, disk, backUp } = set;
  await world.disks.write(disk, 0, Buffer.from(Array.from({ length: 5 * B }, (_, i) => (i * 7 + (i >> 9)) & 0xff)));
  const first = await backUp(3);
  await world.disks.write(disk, 2 * B, block(9));
  const second = await backUp(30);
  return { ...set, first, second };
}

const only = (images: Map<PointId, Uint8Array>, point: PointId) => new Map([[point, images.get(point)!]]);

async function restoresPoint(world: World, images: Map<PointId, Uint8Array>, point: PointId): Promise<string> {
  await vaultOnly(world);
  const { job, disks } = await world.restore('vm', point);
  if (job.status !== 'Completed') return job.errors[0]!.code;
  expect(Buffer.compare(disks[0]!, only(images, point).get(point)!)).toBe(0);
  return 'exact';
}

describe('a layer that is', () => {
  for (const [what, harm] of [
    ['damaged', damage],
    ['gone', (world: World, name: string) => void container(world).delete(name)],
  ] as const) {
    it(`${what} is written again as a whole by the next backup that meets it`, async () => {
      const { world, disk, images, backUp, first, second } = await twoPoints();
      const lost = names(world, 'layer')[0]!;
      harm(world, lost);
      await world.disks.write(disk, 4 * B, block(7));
      await world.disks.clear(disk, { start: B, end: 2 * B });
      const third = await backUp(30);
      expect(await findings(world)).toMatchObject([{ row: { kind: 'layer', object: lost, points: [second] } }]);
      expect(await restoresPoint(world, images, third)).toBe('exact');
      expect(await restoresPoint(world, images, second)).not.toBe('exact');
      expect(await restoresPoint(world, images, first)).not.toBe('exact');
      // The next ones build on what has been healed, and write only what has changed.
      await world.disks.write(disk, 0, block(5));
      const fourth = await backUp(30);
      expect(await restoresPoint(world, images, fourth)).toBe('exact');
    });
  }

  it('damaged does not stop merges: its region stays as it is, and the points go', async () => {
    const { world, disk, images, backUp, second } = await twoPoints();
    damage(world, names(world, 'layer')[0]!);
    await world.disks.write(disk, 4 * B, block(7));
    const third = await backUp(30);
    world.clock.advance(4 * DAY_MS);
    await world.cleanUp();
    expect(newestRecord(container(world)).points.map(({ point }) => point)).toEqual([second, third]);
    expect(await restoresPoint(world, images, third)).toBe('exact');
  });

  it('damaged and met first by a merge is noted; the next merge leaves its region alone', async () => {
    const { world, images, second } = await twoPoints();
    damage(world, names(world, 'layer')[0]!);
    world.clock.advance(4 * DAY_MS);
    await world.cleanUp();
    expect(await findings(world)).toHaveLength(1);
    await world.cleanUp();
    expect(newestRecord(container(world)).points.map(({ point }) => point)).toEqual([second]);
    expect(await restoresPoint(world, images, second)).not.toBe('exact');
  });

  it('damaged and met first by a merge is written again once, though nobody ever reads in depth', async () => {
    const { world, images, backUp, second } = await twoPoints();
    damage(world, names(world, 'layer')[0]!);
    world.clock.advance(4 * DAY_MS);
    await world.cleanUp();
    expect(await findings(world)).toMatchObject([{ row: { newest: second, newestIsSound: false } }]);
    const written: boolean[] = [];
    for (let night = 0; night < 3; night++) {
      const point = await backUp(30);
      written.push((await world.points('vm')).at(-1)!.dataBlocks > 0);
      expect(await restoresPoint(world, images, point)).toBe('exact');
    }
    expect(written).toEqual([true, false, false]);
  });
});

it('a sound vault has no findings, and heals nothing', async () => {
  const { world, images, backUp } = await twoPoints();
  const layers = names(world, 'layer').length;
  await backUp(30);
  expect(names(world, 'layer')).toHaveLength(layers);
  expect(await findings(world)).toEqual([]);
  await restoresExactly(world, images);
});

it('a frame of a slab that does not unpack is noted for its region by the merge that meets it, and the next one goes on', async () => {
  const { world, disk, images, backUp } = await stage({ layout: { thinBytes: 8 * B }, regionBytes: 8 * B });
  await world.disks.write(disk, 0, block(1, 2));
  const first = await backUp(2);
  await world.disks.write(disk, B, block(2, 2));
  const second = await backUp(30);
  const object = names(world, 'slab').find((name) => name.includes(`/${first}/`))!;
  const blobs = container(world);
  const body = Buffer.from(blobs.get(object)!.body);
  body[16 + 12]! ^= 0xff; // within the first frame, which is compressed
  blobs.set(object, { ...blobs.get(object)!, body });
  world.clock.advance(3 * DAY_MS);
  await world.cleanUp();
  expect(await findings(world)).toMatchObject([{ row: { kind: 'blocks', object, region: 0, newest: second } }]);
  await world.cleanUp();
  expect(newestRecord(blobs).points.map(({ point }) => point)).toEqual([second]);
  expect(await restoresPoint(world, images, second)).toBe('PackCorrupt');
});

it('a slab that is gone takes all its regions with it, and one plan heals them all', async () => {
  const set = await stage({ layout: { thinBytes: 2 * B }, regionBytes: 2 * B });
  const { world, disk, images, backUp } = set;
  for (const at of [0, 2, 4]) await world.disks.write(disk, at * B, block(at + 1));
  await backUp(30);
  container(world).delete(names(world, 'slab')[0]!);
  for (const at of [1, 3, 5]) await world.disks.write(disk, at * B, block(at + 1));
  const second = await backUp(30);
  const job = await world.job((await world.points('vm')).at(-1)!.jobId);
  expect(job.attempts).toHaveLength(2);
  expect(await restoresPoint(world, images, second)).toBe('exact');
});

describe('a manifest that is', () => {
  for (const [what, harm] of [
    ['damaged', damage],
    ['gone', (world: World, name: string) => void container(world).delete(name)],
  ] as const) {
    it(`${what} lets the disk begin anew: new points restore, merged or not, and show nothing of before`, async () => {
      const { world, disk, images, backUp, first, second } = await twoPoints();
      const [lost] = [...container(world).keys()].filter((name) => name.includes(`/points/${second}.`));
      harm(world, lost!);
      await world.disks.clear(disk, { start: 0, end: 2 * B });
      const third = await backUp(5);
      expect((await world.job((await world.points('vm')).at(-1)!.jobId)).sources).toMatchObject([{ source: 'full' }]);
      await world.disks.write(disk, 4 * B, block(3));
      const fourth = await backUp(30);
      expect(await restoresPoint(world, images, third)).toBe('exact');
      expect(await restoresPoint(world, images, fourth)).toBe('exact');
      expect(await restoresPoint(world, images, first)).toBe('exact');
      expect(await restoresPoint(world, images, second)).not.toBe('exact');
      const units = await world.points('vm');
      expect(units.at(-1)!.dataBlocks).toBe(1);
    });
  }
});
