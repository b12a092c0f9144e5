import { beforeEach, describe, expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import { project } from '../../shared/services/projection.ts';
import { leftovers, liveManifests, newestRecord } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';

/* What becomes of an expired point's layers, seen from outside: by the names in the container and the bytes of restores. */

const B = BLOCK_BYTES;
const block = (fill: number, blocks = 1): Buffer => Buffer.alloc(blocks * B, fill);

let world: World;
let disk: string;
let images: Map<PointId, Uint8Array[]>;

beforeEach(async () => {
  world = await createWorld({ layout: { thinBytes: -1 } });
  disk = (await world.createVm('vm', [12 * B]))[0]!;
  await world.protect('vm');
  images = new Map();
});

async function vm() {
  for await (const { row } of world.ports.catalog.items.list(VAULT))
    return (await world.compute.virtualMachine(row.vmResourceId))!;
  throw new Error('no VM is protected');
}

async function backUp(days: number): Promise<PointId> {
  const bytes = (url: string): Promise<Uint8Array> =>
    world.disks.read(url, { start: 0, end: world.disks.sizeBytes(url) });
  const now = await Promise.all((await vm()).disks.map(({ vhdUrl }) => bytes(vhdUrl!)));
  const job = await world.backup('vm', world.clock.now() + days * DAY_MS);
  expect(job).toMatchObject({ status: 'Completed', errors: [] });
  images.set(job.point!, now);
  world.clock.advance(60_000);
  return job.point!;
}

async function expire(days: number): Promise<void> {
  world.clock.advance(days * DAY_MS);
  await world.cleanUp();
}

const blobs = () => world.vaults.blobs(world.vaults.containerNames()[0]!);
const names = (kind: string): string[] => [...blobs().keys()].filter((name) => name.endsWith(kind)).sort();

/** Region to the points that wrote its layers, for the first disk of each live point. */
const layersOf = (): Record<number, string[]>[] =>
  liveManifests(blobs()).map(({ disks }) =>
    Object.fromEntries(disks[0]!.regions.map(({ region, layers }) => [region, layers.map(({ point }) => point)])),
  );

async function everythingRestores(): Promise<void> {
  for (const { point, set, instant } of await world.points('vm')) {
    if (instant === 'Valid')
      for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
    const { job, disks } = await world.restore('vm', point);
    expect(job.errors).toEqual([]);
    expect(disks.map((bytes, i) => Buffer.compare(bytes, images.get(point)![i]!))).toEqual(
      images.get(point)!.map(() => 0),
    );
  }
}

describe('a merge', () => {
  it('takes over by name what the successor did not change, and moves no bytes', async () => {
    await world.disks.write(disk, 0, block(1, 12));
    const first = await backUp(1);
    await world.disks.write(disk, 5 * B, block(2));
    const second = await backUp(30);
    const packs = names('.pack');
    await expire(2);
    expect(layersOf()).toEqual([{ 0: [first], 1: [second], 2: [first] }]);
    expect(names('.pack')).toEqual(packs);
    expect(leftovers(blobs())).toEqual([]);
    await everythingRestores();
  });

  it('of a layer of cleared blocks onto nothing leaves no layer at all', async () => {
    await world.disks.write(disk, 4 * B, block(1));
    await backUp(1);
    await world.disks.clear(disk, { start: 4 * B, end: 5 * B });
    await backUp(30);
    await expire(2);
    expect(layersOf()).toEqual([{}]);
    expect([...names('.layer'), ...names('.pack')]).toEqual([]);
    await everythingRestores();
  });

  it('keeps that a block was cleared where an older point still shows it', async () => {
    await world.disks.write(disk, 4 * B, block(1, 2));
    await backUp(30);
    await world.disks.clear(disk, { start: 4 * B, end: 5 * B });
    await backUp(1);
    await world.disks.write(disk, 5 * B, block(3));
    await backUp(30);
    await expire(2);
    expect(liveManifests(blobs())[1]!.disks[0]!.regions).toMatchObject([
      { region: 1, layers: [{ dataBlocks: 1, clearedBlocks: 1 }] },
    ]);
    await everythingRestores();
  });

  it('goes past points that do not have the disk', async () => {
    const own = await vm();
    const other = 'https://disks1.example/vhds/other.vhd';
    await world.disks.create(other, 4 * B);
    await world.disks.write(other, 0, block(9));
    await world.disks.write(disk, 0, block(1, 12));
    const first = await backUp(1);
    world.compute.put({ ...own, disks: [{ lun: 7, name: 'other', vhdUrl: other, managedDiskId: undefined }] });
    await backUp(30);
    world.compute.put(own);
    await world.disks.write(disk, 0, block(2));
    const third = await backUp(30);
    await expire(2);
    expect(liveManifests(blobs()).map(({ disks }) => disks.map(({ lun }) => lun))).toEqual([[7], [-1]]);
    expect(layersOf()[1]).toEqual({ 0: [third], 1: [first], 2: [first] });
    await everythingRestores();
  });

  it('deletes what belongs to a disk that no later point has', async () => {
    const own = await vm();
    const other = 'https://disks1.example/vhds/other.vhd';
    await world.disks.create(other, 4 * B);
    await world.disks.write(other, 0, block(9));
    world.compute.put({
      ...own,
      disks: [...own.disks, { lun: 7, name: 'other', vhdUrl: other, managedDiskId: undefined }],
    });
    await world.disks.write(disk, 0, block(1));
    await backUp(1);
    world.compute.put(own);
    await backUp(30);
    expect(names('.pack')).toHaveLength(2);
    await expire(2);
    expect(names('.pack')).toHaveLength(1);
    expect(leftovers(blobs())).toEqual([]);
    await everythingRestores();
  });

  it('deletes what nobody can see any more only after the grace', async () => {
    await world.disks.write(disk, 0, block(1, 4));
    await backUp(1);
    await world.disks.write(disk, 0, block(2, 4));
    await backUp(30);
    world.clock.advance(2 * DAY_MS);
    const deleted: number[] = [];
    const graceful = world.clock.now();
    await world.cleanUp();
    deleted.push(names('.pack').length);
    expect(world.clock.now() - graceful).toBeGreaterThanOrEqual(60_000);
    expect(deleted).toEqual([1]);
  });

  it('one after another folds an item down to its newest point', async () => {
    for (const n of [1, 2, 3, 4, 5]) {
      await world.disks.write(disk, n * B, block(n, 3));
      await backUp(n);
    }
    await expire(30);
    expect(newestRecord(blobs()).points).toHaveLength(1);
    expect(leftovers(blobs())).toEqual([]);
    await everythingRestores();
  });
});

it('rows that were brought up to a record do not go back to an older one', async () => {
  await world.disks.write(disk, 0, block(1, 12));
  await backUp(1);
  await world.disks.write(disk, 0, block(2));
  await backUp(30);
  const chain = await world.chain('vm');
  const before = await chain.newest();
  const late = new Map(
    await Promise.all(before.points.map(async (entry) => [entry.manifest, await chain.manifest(entry)] as const)),
  );
  await expire(2);
  const rows = await world.points('vm');
  // A projection that slept since before the merge: it has the old record, and the manifests that it had read.
  const asleep = Object.create(chain, {
    manifest: { value: async ({ manifest }: { manifest: string }) => late.get(manifest) },
  }) as typeof chain;
  await project(world.ports, pointsPartition(world.vaults.containerNames()[0]!, before.item), asleep, before);
  expect(await world.points('vm')).toEqual(rows);
});
