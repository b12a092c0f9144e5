import type { PageBlobClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import {
  all,
  type ArmPlatform,
  at,
  blobOfManaged,
  containerOf,
  dailyPolicy,
  ended,
  GROUP,
  itemOf,
  jobOf,
  LOCATION,
  makeDisk,
  makeManagedDisk,
  makeVm,
  startArmPlatform,
} from '../support/arm-platform.ts';
import { type DiskImage, filled, imageOf } from '../support/disk-image.ts';

/*
 * The ends of what a disk and a VM may be: 4 TiB with little in them, far apart, beside 1 MiB, as page blobs and as a managed disk; and 64
 * data disks. In full, then what a night has changed and cleared, and back from the snapshots and from the vault: every byte, and holes
 * where holes were. What costs time is the number of places that hold data, not the size: some 340 regions of 4,096 where the storage compares snapshots.
 */

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const TIB = 2 ** 40;
const BLOCK = BLOCK_BYTES;
const VAULT = 'sizes-vault';
const SPARSE = 'sparse1';
const WIDE = 'wide1';

interface Write {
  readonly offset: number;
  readonly bytes: Buffer;
}

/** All over 4 TiB: thin regions, regions of some MiB, both ends of the disk, and both sides of borders between regions. */
function firstWrites(thinRegions: number): Write[] {
  const thin = Array.from({ length: thinRegions }, (_, i) => ({
    offset: i * (4_096 / thinRegions) * GIB + 5 * GIB + ((i * 37) % 60_000) * BLOCK,
    bytes: filled(((i % 4) + 1) * BLOCK, i),
  }));
  const thick = [3, 1_024, 2_049, 4_090].map((region) => ({
    offset: region * GIB + 100 * MIB,
    bytes: filled(3 * MIB, region),
  }));
  const borders = [1, 7, 64, 1_023, 1_024, 2_048, 3_333].map((region) => ({
    offset: region * GIB - 2 * BLOCK,
    bytes: filled(4 * BLOCK, region + 1),
  }));
  const ends = [
    { offset: 0, bytes: filled(BLOCK, 301) },
    { offset: 4 * TIB - 512, bytes: filled(512, 302) },
  ];
  return [...thin, ...thick, ...borders, ...ends];
}

async function write(blob: PageBlobClient, writes: readonly Write[]): Promise<void> {
  await Promise.all(writes.map(({ offset, bytes }) => blob.uploadPages(bytes, offset, bytes.byteLength)));
}

/** Data over data, data in regions that had none, the ends anew, and cleared pages: a whole thin region, half a block, half a thick one. */
async function night(blob: PageBlobClient, thinRegions: number): Promise<void> {
  const [first, second] = firstWrites(thinRegions);
  await write(blob, [
    { offset: first!.offset, bytes: filled(512, 400) },
    { offset: 4 * TIB - BLOCK, bytes: filled(BLOCK, 401) },
    ...Array.from({ length: thinRegions / 4 }, (_, i) => ({
      offset: i * (16_384 / thinRegions) * GIB + 9 * GIB,
      bytes: filled(2 * BLOCK, 500 + i),
    })),
  ]);
  await blob.clearPages(0, BLOCK / 2);
  await blob.clearPages(second!.offset, second!.bytes.length);
  await blob.clearPages(2_049 * GIB + 101 * MIB, MIB + BLOCK / 2);
  await blob.clearPages(64 * GIB - BLOCK, 2 * BLOCK);
}

/** What a disk holds, and the blocks of which it has any page. */
interface Contents {
  readonly image: DiskImage;
  readonly allocated: ReadonlySet<number>;
}

async function contentsOf(blob: PageBlobClient, sizeBytes: number): Promise<Contents> {
  const allocated = new Set<number>();
  for await (const page of blob.listPageRanges(0, sizeBytes).byPage()) {
    for (const { start, end } of page.pageRange ?? [])
      for (let block = Math.floor(start / BLOCK); block * BLOCK <= end; block++) allocated.add(block);
  }
  const image = await imageOf(blob);
  return { image: new Map([...image].filter(([block]) => block * BLOCK < sizeBytes)), allocated };
}

// Azurite as published takes a multiple of the time for each range of a disk that it looks for.
for (const [storage, source, thinRegions] of [
  ['completed', 'diff', 256],
  ['stock', 'hashes', 64],
] as const) {
  describe(`disks of all sizes on ${storage} storage`, () => {
    let platform: ArmPlatform;
    let disks: { sizeBytes: number; blob: PageBlobClient }[];
    /** Of each point, oldest first, what its disks held: 1 MiB, 4 TiB, 4 TiB managed. */
    const points: { point: string; contents: Contents[] }[] = [];

    beforeAll(async () => {
      platform = await startArmPlatform(storage);
      const small = await makeDisk(platform, 'stratadisks1', 'small.vhd', MIB, [
        { offset: 0, bytes: filled(BLOCK, 1) },
        { offset: MIB - 512, bytes: filled(512, 2) },
      ]);
      const sparse = await makeDisk(platform, 'stratadisks2', 'sparse.vhd', 4 * TIB, []);
      await write(sparse, firstWrites(thinRegions));
      const managed = await makeManagedDisk(platform, 'sparse-managed', 4_096);
      await write(managed.blob, firstWrites(thinRegions).slice(-13 - 16));
      disks = [
        { sizeBytes: MIB, blob: small },
        { sizeBytes: 4 * TIB, blob: sparse },
        { sizeBytes: 4 * TIB, blob: managed.blob },
      ];
      const vmId = await makeVm(platform, SPARSE, {
        os: small.url,
        data: [
          { lun: 0, url: sparse.url },
          { lun: 1, url: managed.id },
        ],
      });
      await platform
        .vaults()
        .vaults.createOrUpdate(GROUP, VAULT, { location: LOCATION, sku: { name: 'Standard' }, properties: {} })
        .pollUntilDone();
      await platform
        .backup()
        .protectionPolicies.createOrUpdate(VAULT, GROUP, 'nightly', { properties: dailyPolicy(5) });
      await protect(SPARSE, vmId);
    });
    afterAll(() => platform?.stop());

    async function protect(vm: string, sourceResourceId: string): Promise<void> {
      const { subscriptionId } = platform.endpoints;
      const vault = `/subscriptions/${subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}`;
      await platform.backup().protectedItems.createOrUpdate(VAULT, GROUP, 'Azure', containerOf(vm), itemOf(vm), {
        properties: {
          protectedItemType: 'Microsoft.Compute/virtualMachines',
          sourceResourceId,
          policyId: `${vault}/backupPolicies/nightly`,
        },
      });
    }

    const pointsOf = (vm: string) => all(platform.backup().recoveryPoints.list(...at(VAULT, vm)));

    async function backUp(vm: string): Promise<{ point: string; sources: string[] }> {
      const client = platform.backup();
      const known = new Set((await pointsOf(vm)).map(({ name }) => name));
      const jobId = await jobOf(client, VAULT, (options) =>
        client.backups.trigger(
          ...at(VAULT, vm),
          {
            properties: {
              objectType: 'IaasVMBackupRequest',
              recoveryPointExpiryTimeInUTC: new Date(Date.now() + 864e6),
            },
          },
          options,
        ),
      );
      const { properties } = await ended(client, VAULT, jobId);
      expect(properties.errorDetails ?? []).toEqual([]);
      expect(properties.status).toBe('Completed');
      const bag = Object.entries(properties.extendedInfo?.propertyBag ?? {});
      const sources = bag.filter(([key]) => key.startsWith('Changed Block Source')).map(([, text]) => text);
      const fresh = (await pointsOf(vm)).find(({ name }) => !known.has(name))!;
      return { point: fresh.name!, sources: sources.map((text) => text.split(':')[0]!) };
    }

    /** Restores all disks of a point as what they were; answers their blobs by LUN, the OS disk first. */
    async function restore(vm: string, point: string, tier: 'snapshot' | 'vault'): Promise<PageBlobClient[]> {
      const client = platform.backup();
      const { subscriptionId } = platform.endpoints;
      const jobId = await jobOf(client, VAULT, (options) =>
        client.restores.beginTrigger(
          ...at(VAULT, vm),
          point,
          {
            properties: {
              objectType: 'IaasVMRestoreRequest',
              recoveryPointId: point,
              recoveryType: 'RestoreDisks',
              storageAccountId: `/subscriptions/${subscriptionId}/resourceGroups/strata-local/providers/Microsoft.Storage/storageAccounts/stratadisks2`,
              targetResourceGroupId: `/subscriptions/${subscriptionId}/resourceGroups/restored-rg`,
              region: LOCATION,
            },
          },
          options,
        ),
      );
      const { properties } = await ended(client, VAULT, jobId);
      expect(properties.errorDetails ?? []).toEqual([]);
      expect(properties.status).toBe('Completed');
      const bag = properties.extendedInfo!.propertyBag!;
      const config = platform
        .blobs('stratadisks2')
        .getContainerClient(bag['Config Blob Container Name']!)
        .getBlobClient(bag['Config Blob Name']!);
      const { disks: made } = JSON.parse((await config.downloadToBuffer()).toString()) as {
        disks: { lun?: number; vhdUri?: string; managedDiskId?: string; restoredFrom: string }[];
      };
      expect([...new Set(made.map(({ restoredFrom }) => restoredFrom))]).toEqual([tier]);
      const inOrder = made.toSorted((a, b) => (a.lun ?? -1) - (b.lun ?? -1));
      return Promise.all(
        inOrder.map(async ({ vhdUri, managedDiskId }) => {
          if (vhdUri !== undefined) {
            const [, account, container, name] = new URL(vhdUri).pathname.split('/');
            return platform.blobs(account!).getContainerClient(container!).getPageBlobClient(name!);
          }
          const parts = managedDiskId!.split('/');
          return blobOfManaged(platform, (await platform.compute.disks.get(parts[4]!, parts[8]!)).uniqueId!);
        }),
      );
    }

    async function expectSame(restored: readonly PageBlobClient[], contents: readonly Contents[]): Promise<void> {
      expect(restored).toHaveLength(contents.length);
      for (const [i, { image, allocated }] of contents.entries()) {
        const found = await contentsOf(restored[i]!, disks[i]!.sizeBytes);
        expect(found.image).toEqual(image);
        expect([...found.allocated].filter((block) => !allocated.has(block))).toEqual([]);
      }
    }

    async function deleteSnapshots(): Promise<void> {
      for (const account of ['stratadisks1', 'stratadisks2']) {
        const container = platform.blobs(account).getContainerClient('vhds');
        for await (const { name, snapshot } of container.listBlobsFlat({ includeSnapshots: true }))
          if (snapshot !== undefined && snapshot !== '')
            await container.getBlobClient(name).withSnapshot(snapshot).delete();
      }
      for await (const { name } of platform.compute.snapshots.listByResourceGroup('strata-snapshots')) {
        await platform.compute.snapshots.beginRevokeAccessAndWait('strata-snapshots', name!);
        await platform.compute.snapshots.beginDeleteAndWait('strata-snapshots', name!);
      }
    }

    it(`are backed up in full, and then by ${source}`, async () => {
      for (const expected of ['full', source]) {
        if (expected !== 'full') {
          await night(disks[1]!.blob, thinRegions);
          await write(disks[2]!.blob, [{ offset: 64 * GIB, bytes: filled(BLOCK, 600) }]);
          await disks[2]!.blob.clearPages(4 * TIB - 512, 512);
          await disks[0]!.blob.uploadPages(filled(512, 7), MIB - 512, 512);
        }
        const contents = await Promise.all(disks.map(({ blob, sizeBytes }) => contentsOf(blob, sizeBytes)));
        const { point, sources } = await backUp(SPARSE);
        expect(sources).toEqual([expected, expected, expected]);
        points.push({ point, contents });
      }
    });

    it('come back from their snapshots, holes as holes', async () => {
      const { point, contents } = points[1]!;
      await expectSame(await restore(SPARSE, point, 'snapshot'), contents);
    });

    it('come back from the vault, holes as holes', async () => {
      await deleteSnapshots();
      for (const { point, contents } of storage === 'stock' ? points.slice(1) : points)
        await expectSame(await restore(SPARSE, point, 'vault'), contents);
    });

    if (storage === 'stock') return;

    it('a VM with 64 data disks comes back from its snapshots and from the vault', async () => {
      const written = await Promise.all(
        Array.from({ length: 65 }, (_, i) =>
          makeDisk(platform, `stratadisks${(i % 2) + 1}`, `wide-${i}.vhd`, MIB, [
            { offset: (i % 64) * BLOCK, bytes: filled(BLOCK, i) },
          ]),
        ),
      );
      const vmId = await makeVm(platform, WIDE, {
        os: written[0]!.url,
        data: written.slice(1).map(({ url }, lun) => ({ lun, url })),
      });
      await protect(WIDE, vmId);
      const images = await Promise.all(written.map(imageOf));
      const { point, sources } = await backUp(WIDE);
      expect(sources).toHaveLength(65);
      expect(await Promise.all((await restore(WIDE, point, 'snapshot')).map(imageOf))).toEqual(images);
      await deleteSnapshots();
      expect(await Promise.all((await restore(WIDE, point, 'vault')).map(imageOf))).toEqual(images);
    });
  });
}
