import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { AttemptId, PointId } from '../../shared/domain/ids.ts';
import { encodeCheckpoint } from '../../shared/format/checkpoint.ts';
import { leftovers, liveManifests } from '../support/vault-map.ts';
import { DAY_MS, type World } from '../support/world.ts';
import { B, block, container, restoresExactly, stage } from './stage.ts';

/* How layers are laid out: thin regions in slabs, folds put off, checkpoints; seen by names in the container and bytes of restores. */

const names = (world: World, kind: string): string[] =>
  [...container(world).keys()].filter((name) => name.endsWith(`.${kind}`)).sort();

/** For each live point, of the one disk: region to the slab numbers of its layers, and how deep its checkpoint goes. */
const entries = (world: World) =>
  liveManifests(container(world)).map(({ disks }) =>
    disks[0]!.regions.map(({ region, layers, checkpoint }) => ({
      region,
      slabs: layers.map(({ slab }) => slab?.number),
      depth: checkpoint?.depth,
    })),
  );

async function expire(world: World, days: number): Promise<void> {
  world.clock.advance(days * DAY_MS);
  await world.cleanUp();
}

describe('thin regions', () => {
  const THIN = { layout: { thinBytes: B } };

  it('of one point share a slab, a thick one has files of its own', async () => {
    const { world, disk, images, backUp } = await stage({ ...THIN, regionBytes: 2 * B });
    await world.disks.write(disk, 0, block(1));
    await world.disks.write(disk, 2 * B, block(2, 2));
    await world.disks.write(disk, 5 * B, block(3));
    await backUp(30);
    expect(entries(world)[0]).toMatchObject([
      { region: 0, slabs: [0] },
      { region: 1, slabs: [undefined] },
      { region: 2, slabs: [0] },
    ]);
    expect([names(world, 'slab').length, names(world, 'layer').length, names(world, 'pack').length]).toEqual([1, 1, 1]);
    await restoresExactly(world, images);
  });

  it('in which nothing has changed after all leave no slab', async () => {
    const { world, disk, backUp } = await stage(THIN);
    await world.disks.write(disk, 0, block(1));
    await backUp(30);
    await world.disks.write(disk, 0, block(1));
    await backUp(30);
    expect(names(world, 'slab')).toHaveLength(1);
    expect(entries(world)[1]).toEqual([]);
  });

  it('of two points fold into a new slab, and the emptied ones go', async () => {
    const { world, disk, images, backUp } = await stage({ layout: { thinBytes: 3 * B }, regionBytes: 2 * B });
    for (const [i, days] of [2, 30].entries()) {
      for (const region of [0, 2]) await world.disks.write(disk, (region * 2 + i) * B, block(10 * i + region + 1));
      await backUp(days);
    }
    expect(names(world, 'slab')).toHaveLength(2);
    const before = names(world, 'slab');
    await expire(world, 3);
    expect(names(world, 'slab')).toHaveLength(1);
    expect(before).not.toContain(names(world, 'slab')[0]);
    expect(entries(world)).toMatchObject([[{ slabs: [0] }, { slabs: [0] }]]);
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('that fold above others keep what they cleared', async () => {
    const { world, disk, images, backUp } = await stage({ layout: { thinBytes: 3 * B }, regionBytes: 4 * B });
    await world.disks.write(disk, 0, block(1));
    await backUp(30);
    await world.disks.write(disk, B, block(2));
    await backUp(2);
    await world.disks.clear(disk, { start: 0, end: B });
    await backUp(30);
    await expire(world, 3);
    expect(entries(world)).toMatchObject([[{ slabs: [0] }], [{ slabs: [0] }]]);
    await restoresExactly(world, images);
  });

  it('that fold into a thick one leave their slab, which stays for the others in it', async () => {
    const { world, disk, images, backUp } = await stage({ ...THIN, regionBytes: 2 * B });
    await world.disks.write(disk, 0, block(1, 2));
    await backUp(2);
    await world.disks.write(disk, B, block(2));
    await world.disks.write(disk, 4 * B, block(3));
    await backUp(30);
    const [slab] = names(world, 'slab');
    await expire(world, 3);
    // Region 0 is a layer file now, of the old pack and a new one; region 2 is in the slab as before.
    expect(entries(world)[0]).toMatchObject([
      { region: 0, slabs: [undefined] },
      { region: 2, slabs: [0] },
    ]);
    expect(names(world, 'slab')).toEqual([slab]);
    expect(names(world, 'pack')).toHaveLength(2);
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
    // When the last one has left it, the slab goes too.
    await world.disks.write(disk, 4 * B, block(4));
    await backUp(60);
    await expire(world, 40);
    expect(names(world, 'slab')).not.toContain(slab);
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });
});

describe('a fold that is put off', () => {
  it('moves no bytes; small layers fold by themselves, and all do once it pays', async () => {
    const { world, disk, images, backUp } = await stage({
      layout: { thinBytes: -1, foldRatio: 2, checkpointDepth: 99 },
      regionBytes: 8 * B,
    });
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(1);
    await world.disks.write(disk, B, block(2));
    await backUp(4);
    await world.disks.write(disk, B, block(3));
    await backUp(8);
    await world.disks.write(disk, 2 * B, block(4, 4));
    await backUp(30);
    const lists = () => entries(world).map((regions) => regions[0]?.slabs.length);
    const files = names(world, 'layer');
    await expire(world, 2);
    expect(lists()).toEqual([2, 1, 1]);
    expect(names(world, 'layer')).toEqual(files);
    await restoresExactly(world, images);
    await expire(world, 3);
    expect(lists()).toEqual([2, 1]); // the two of one block have become one
    expect(names(world, 'layer')).toHaveLength(3);
    await restoresExactly(world, images);
    await expire(world, 4);
    expect(lists()).toEqual([1]);
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });
});

describe('a checkpoint', () => {
  const DEEP = { layout: { thinBytes: -1, checkpointDepth: 2 }, regionBytes: 8 * B };

  async function deep(points: number, options = DEEP) {
    const set = await stage(options);
    for (let n = 0; n < points; n++) {
      await set.world.disks.write(set.disk, (n % 6) * B, block(n + 1));
      if (n % 3 === 2)
        await set.world.disks.clear(set.disk, { start: ((n + 2) % 6) * B, end: (((n + 2) % 6) + 1) * B });
      await set.backUp(n < 4 ? 2 + n : 30);
    }
    return set;
  }

  it('comes with every second layer, and is named by the point that wrote it', async () => {
    const { world, images } = await deep(7);
    expect(entries(world).map((regions) => regions[0]!.depth)).toEqual([
      undefined,
      undefined,
      2,
      undefined,
      4,
      undefined,
      6,
    ]);
    expect(names(world, 'checkpoint')).toHaveLength(3);
    expect(leftovers(container(world))).toEqual([]);
    await restoresExactly(world, images);
  });

  it('spares a backup the layers that it stands for', async () => {
    const { world, disk, backUp } = await deep(7);
    const blobs = container(world);
    // The oldest layers cannot be read any more; a backup that needs to know only what is there does without them.
    const bytes = Buffer.from(names(world, 'layer')[0]!);
    const oldest = names(world, 'layer')[0]!;
    blobs.set(oldest, { ...blobs.get(oldest)!, body: bytes });
    await world.disks.write(disk, 0, block(99));
    await backUp(30);
  });

  it('that is gone, damaged, or of other layers is as none', async () => {
    const { world, images } = await deep(7);
    const blobs = container(world);
    const [first, second, third] = names(world, 'checkpoint');
    const original = blobs.get(third!)!;
    blobs.delete(first!);
    blobs.set(second!, { ...blobs.get(second!)!, body: Buffer.from('damaged') });
    await restoresExactly(world, images);
    blobs.set(third!, { ...original, body: blobs.get(second!)!.body });
    await restoresExactly(world, images);
  });

  it('whose file is of other layers than its name is asked for is as none to a backup too', async () => {
    const { world, disk, images, backUp } = await deep(7);
    const [name] = names(world, 'checkpoint').slice(-1);
    const fresh = block(77);
    const layers = Array.from({ length: 6 }, (_, n) => ({
      point: `${n}`.padStart(17, '0') as PointId,
      attempt: '0'.repeat(16) as AttemptId,
    }));
    const extents = [{ start: 5, count: 1, frame: 5, slot: 5 }];
    const body = encodeCheckpoint(name!, { layers, extents, hashes: createHash('sha256').update(fresh).digest() });
    container(world).set(name!, { ...container(world).get(name!)!, body });
    await world.disks.write(disk, 5 * B, fresh);
    await backUp(30);
    await restoresExactly(world, images);
  });

  it('stays while merges only move names, goes with the entry that a fold rewrites, and misleads nobody', async () => {
    const { world, images } = await deep(9);
    for (const days of [3, 1, 1, 1, 1]) {
      await expire(world, days);
      expect(leftovers(container(world))).toEqual([]);
      await restoresExactly(world, images);
    }
    await expire(world, 40);
    expect(names(world, 'checkpoint')).toEqual([]);
    await restoresExactly(world, images);
  });
});
