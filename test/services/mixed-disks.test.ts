import { describe, expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { fixedFooter, FOOTER_BYTES, isFooter } from '../../shared/domain/vhd-footer.ts';
import { itemKey } from '../../shared/services/keys.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { liveManifests } from '../support/vault-map.ts';
import { createWorld, VAULT, type World } from '../support/world.ts';

const GROUP_ID = '/subscriptions/sub/resourceGroups/restored';
const MANAGED = '/subscriptions/sub/resourcegroups/app/providers/microsoft.compute/disks';

/** The disk of the page blob: its end cuts a block in two, and the footer lies behind it. */
const DISK_BYTES = 9 * BLOCK_BYTES + 3 * 512;

interface Mixed {
  readonly world: World;
  /** A fixed VHD, a managed disk, and a page blob without a footer. */
  readonly places: { readonly vhd: string; readonly managed: string; readonly bare: string };
}

async function mixedVm(): Promise<Mixed> {
  const world = await createWorld({ regionBytes: 4 * BLOCK_BYTES });
  const [vhd, bare] = (await world.createVm('vm', [DISK_BYTES + FOOTER_BYTES, 5 * BLOCK_BYTES])) as [string, string];
  const managed = `${MANAGED}/data`;
  await world.disks.create(managed, 6 * BLOCK_BYTES + 512);
  await world.disks.write(vhd, 0, Buffer.alloc(BLOCK_BYTES, 1));
  await world.disks.write(vhd, 9 * BLOCK_BYTES, Buffer.alloc(3 * 512, 2));
  await world.disks.write(vhd, DISK_BYTES, fixedFooter(DISK_BYTES, 0));
  await world.disks.write(managed, BLOCK_BYTES, Buffer.alloc(2 * BLOCK_BYTES, 3));
  await world.disks.write(managed, 6 * BLOCK_BYTES, Buffer.alloc(512, 4));
  await world.disks.write(bare, BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES, 5));
  await world.protect('vm');
  const item = (await world.ports.catalog.items.get(VAULT, itemKey('app', 'vm')))!.row;
  const machine = (await world.compute.virtualMachine(item.vmResourceId))!;
  // Compute answers ids in what case it likes.
  const managedDiskId = managed.replace('resourcegroups', 'resourceGroups').replace('/app/', '/APP/');
  world.compute.put({
    ...machine,
    disks: [machine.disks[0]!, machine.disks[1]!, { lun: 2, name: 'data', vhdUrl: undefined, managedDiskId }],
  });
  return { world, places: { vhd, managed, bare } };
}

const bytesOf = ({ disks }: World, place: string): Promise<Uint8Array> =>
  disks.read(place, { start: 0, end: disks.sizeBytes(place) });

async function restored(
  world: World,
  point: PointId,
  managed?: { groupId: string; all: boolean },
): Promise<{
  config: { disks: { lun?: number; vhdUri?: string; managedDiskId?: string }[] };
  of: (lun: number) => string;
}> {
  const id = await startRestore(world.ports, VAULT, itemKey('app', 'vm'), point, { accountId: '/x/restored', managed });
  await world.drain();
  const job = await world.job(id);
  expect(job.errors).toEqual([]);
  expect(job.status).toBe('Completed');
  const config = JSON.parse(await world.disks.text(job.bag['Config Blob Uri']!)) as Awaited<
    ReturnType<typeof restored>
  >['config'];
  const of = (lun: number): string => {
    const disk = config.disks.find((each) => (each.lun ?? -1) === lun)!;
    return disk.managedDiskId ?? disk.vhdUri!;
  };
  for (const lun of [-1, 0, 2]) expect((await world.disks.metadata(of(lun)))?.['strata_incomplete']).toBeUndefined();
  return { config, of };
}

describe('a VM with disks of both kinds', () => {
  it('is one set, its changes told by comparison, its managed disks known for what they were', async () => {
    const { world, places } = await mixedVm();
    await world.backup('vm');
    await world.disks.write(places.managed, 4 * BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES, 9));
    await world.disks.clear(places.managed, { start: BLOCK_BYTES, end: 2 * BLOCK_BYTES });
    world.clock.advance(1_000);
    const job = await world.backup('vm');
    expect(job.status).toBe('Completed');
    expect(job.sources?.map(({ source }) => source)).toEqual(['diff', 'diff', 'diff']);
    const [, point] = await world.points('vm');
    expect(point?.set.disks.map(({ url, managed }) => [url, managed])).toEqual([
      [places.vhd, undefined],
      [places.bare, undefined],
      [places.managed, { sku: 'Premium_LRS', hyperVGeneration: 'V2' }],
    ]);
    const blobs = world.vaults.blobs(world.vaults.containerNames()[0]!);
    const manifest = liveManifests(blobs, point!.itemId).at(-1)!;
    expect(manifest.disks.map(({ managed }) => managed?.sku)).toEqual([undefined, undefined, 'Premium_LRS']);
    expect(point?.dataBlocks).toBe(1);
    expect(point?.clearedBlocks).toBe(1);
  });

  for (const tier of ['snapshot', 'vault'] as const) {
    it(`is restored from the ${tier} as managed disks, page blobs, and each as it was`, async () => {
      const { world, places } = await mixedVm();
      await world.backup('vm');
      const [point] = await world.points('vm');
      if (tier === 'vault') {
        for (const { url, snapshot } of point!.set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
      }
      const images = {
        vhd: await bytesOf(world, places.vhd),
        managed: await bytesOf(world, places.managed),
        bare: await bytesOf(world, places.bare),
      };

      const asManaged = await restored(world, point!.point, { groupId: GROUP_ID, all: true });
      expect(asManaged.config.disks.map((disk) => disk.managedDiskId?.startsWith(GROUP_ID))).toEqual([
        true,
        true,
        true,
      ]);
      // The footer stays behind where there was one.
      expect(Buffer.compare(await bytesOf(world, asManaged.of(-1)), images.vhd.subarray(0, DISK_BYTES))).toBe(0);
      expect(Buffer.compare(await bytesOf(world, asManaged.of(0)), images.bare)).toBe(0);
      expect(Buffer.compare(await bytesOf(world, asManaged.of(2)), images.managed)).toBe(0);

      const asBlobs = await restored(world, point!.point);
      expect(asBlobs.config.disks.every((disk) => disk.managedDiskId === undefined)).toBe(true);
      expect(Buffer.compare(await bytesOf(world, asBlobs.of(-1)), images.vhd)).toBe(0);
      expect(Buffer.compare(await bytesOf(world, asBlobs.of(0)), images.bare)).toBe(0);
      const vhd = await bytesOf(world, asBlobs.of(2));
      expect(Buffer.compare(vhd.subarray(0, -FOOTER_BYTES), images.managed)).toBe(0);
      expect(isFooter(vhd.subarray(-FOOTER_BYTES))).toBe(true);
      expect(Buffer.from(vhd.subarray(-FOOTER_BYTES)).readBigUInt64BE(48)).toBe(BigInt(images.managed.length));

      const asItWas = await restored(world, point!.point, { groupId: GROUP_ID, all: false });
      expect(asItWas.config.disks.map((disk) => disk.managedDiskId !== undefined)).toEqual([false, false, true]);
    });
  }

  it('with a disk larger than any page blob is restored to managed disks alone', async () => {
    const world = await createWorld({ regionBytes: 2 ** 30 });
    await world.createVm('vm', [BLOCK_BYTES]);
    const large = `${MANAGED}/large`;
    await world.disks.create(large, 8 * 1024 ** 4);
    await world.disks.write(large, 5 * 1024 ** 4, Buffer.alloc(BLOCK_BYTES, 3));
    await world.protect('vm');
    const item = (await world.ports.catalog.items.get(VAULT, itemKey('app', 'vm')))!.row;
    const machine = (await world.compute.virtualMachine(item.vmResourceId))!;
    const data = { lun: 7, name: 'large', vhdUrl: undefined, managedDiskId: large };
    world.compute.put({ ...machine, disks: [...machine.disks, data] });
    await world.backup('vm');
    const [point] = await world.points('vm');
    const asked = { accountId: '/x/restored' };
    const start = (more: object) =>
      startRestore(world.ports, VAULT, itemKey('app', 'vm'), point!.point, { ...asked, ...more });
    await expect(start({})).rejects.toMatchObject({
      code: 'UserErrorInvalidRestoreRequest',
      target: 'properties.targetResourceGroupId',
    });
    const ids = [await start({ luns: [] }), await start({ managed: { groupId: GROUP_ID, all: false } })];
    await world.drain();
    for (const id of ids) expect((await world.job(id)).status).toBe('Completed');
    const made = world.disks.urls().find((url) => url.startsWith(GROUP_ID))!;
    expect(world.disks.sizeBytes(made)).toBe(8 * 1024 ** 4);
    const at = { start: 5 * 1024 ** 4, end: 5 * 1024 ** 4 + BLOCK_BYTES };
    expect(Buffer.compare(await world.disks.read(made, at), Buffer.alloc(BLOCK_BYTES, 3))).toBe(0);
  });

  it('goes on by hashes when a page blob has become a managed disk, and comes back at both points', async () => {
    const { world, places } = await mixedVm();
    await world.backup('vm');
    const before = await bytesOf(world, places.vhd);
    const converted = `${MANAGED}/vm-0`;
    await world.disks.create(converted, DISK_BYTES);
    await world.disks.write(converted, 0, before.slice(0, DISK_BYTES));
    const item = (await world.ports.catalog.items.get(VAULT, itemKey('app', 'vm')))!.row;
    const machine = (await world.compute.virtualMachine(item.vmResourceId))!;
    const [os, ...data] = machine.disks;
    world.compute.put({ ...machine, disks: [{ ...os!, vhdUrl: undefined, managedDiskId: converted }, ...data] });
    world.clock.advance(1_000);
    const job = await world.backup('vm');
    expect(job.sources?.[0]).toMatchObject({
      source: 'hashes',
      reason: 'the disk was replaced since the base snapshot',
    });
    const [first, second] = await world.points('vm');
    // Nothing of the disk is stored again: its last block has changed, where the footer was.
    expect(second?.dataBlocks).toBe(1);
    for (const { url, snapshot } of [...first!.set.disks, ...second!.set.disks])
      await world.ports.snapshots.remove({ url, id: snapshot });
    const was = await restored(world, first!.point);
    expect(Buffer.compare(await bytesOf(world, was.of(-1)), before)).toBe(0);
    const is = await restored(world, second!.point, { groupId: GROUP_ID, all: false });
    expect(Buffer.compare(await bytesOf(world, is.of(-1)), before.subarray(0, DISK_BYTES))).toBe(0);
  });
});
