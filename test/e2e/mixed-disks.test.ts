import type { IaasVMRecoveryPoint } from '@azure/arm-recoveryservicesbackup';
import type { PageBlobClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { fixedFooter, FOOTER_BYTES, isFooter } from '../../shared/domain/vhd-footer.ts';
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
import { CliVault } from '../support/cli-vault.ts';
import { type DiskImage, filled, imageOf } from '../support/disk-image.ts';

/*
 * A VM whose OS disk is managed and whose data disks are a fixed VHD and a managed disk: nights of it, by comparison where the storage
 * can and by hashes where it cannot, and its points restored as managed disks, as page blobs, and each as it was.
 */

const GIB = 2 ** 30;
const BLOCK = 16_384;
const VM = 'mixed1';
const VAULT = 'mixed-vault';

/** What a disk holds, without the footer behind it. */
const inside = (image: DiskImage, diskBytes: number): DiskImage =>
  new Map([...image].filter(([block]) => block < diskBytes / BLOCK));

for (const [storage, source] of [
  ['completed', 'diff'],
  ['stock', 'hashes'],
] as const) {
  describe(`a VM of mixed disks on ${storage} storage`, () => {
    let platform: ArmPlatform;
    let os: PageBlobClient;
    let vhd: PageBlobClient;
    let data: PageBlobClient;
    /** The images of OS disk, VHD and managed data disk at each point, oldest first. */
    const images: { point: string; disks: readonly [DiskImage, DiskImage, DiskImage] }[] = [];
    const groupId = () => `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/restored-rg`;

    beforeAll(async () => {
      platform = await startArmPlatform(storage);
      const osDisk = await makeManagedDisk(platform, 'mixed-os', 2);
      const dataDisk = await makeManagedDisk(platform, 'mixed-data', 1);
      os = osDisk.blob;
      data = dataDisk.blob;
      vhd = await makeDisk(platform, 'stratadisks2', 'mixed.vhd', GIB + FOOTER_BYTES, [
        { offset: 3 * BLOCK, bytes: filled(2 ** 20, 1) },
        { offset: GIB, bytes: fixedFooter(GIB, 0) },
      ]);
      await os.uploadPages(filled(2 ** 20, 2), GIB - 2 ** 19, 2 ** 20);
      await os.uploadPages(filled(BLOCK, 3), 2 * GIB - BLOCK, BLOCK);
      await data.uploadPages(filled(64 * BLOCK, 4), 100 * BLOCK, 64 * BLOCK);
      const vmId = await makeVm(platform, VM, {
        os: osDisk.id,
        data: [
          { lun: 0, url: vhd.url },
          { lun: 3, url: dataDisk.id },
        ],
      });
      const { subscriptionId } = platform.endpoints;
      const vaultBody = { location: LOCATION, sku: { name: 'Standard' }, properties: {} };
      await platform.vaults().vaults.createOrUpdate(GROUP, VAULT, vaultBody).pollUntilDone();
      const client = platform.backup();
      await client.protectionPolicies.createOrUpdate(VAULT, GROUP, 'nightly', { properties: dailyPolicy(5) });
      await client.protectedItems.createOrUpdate(VAULT, GROUP, 'Azure', containerOf(VM), itemOf(VM), {
        properties: {
          protectedItemType: 'Microsoft.Compute/virtualMachines',
          sourceResourceId: vmId,
          policyId: `/subscriptions/${subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}/backupPolicies/nightly`,
        },
      });
    });
    afterAll(() => platform?.stop());

    const points = () => all(platform.backup().recoveryPoints.list(...at(VAULT, VM)));
    const snapshots = () => all(platform.compute.snapshots.listByResourceGroup('strata-snapshots'));

    it(`is backed up as one set: in full, and then by ${source}`, async () => {
      const client = platform.backup();
      for (let night = 0; night < 3; night++) {
        if (night > 0) {
          await os.uploadPages(filled(2 * BLOCK, 10 + night), GIB - BLOCK, 2 * BLOCK);
          await vhd.uploadPages(filled(512, 20 + night), 7 * BLOCK + 512, 512);
          await data.uploadPages(filled(3 * BLOCK, 30 + night), 110 * BLOCK * night, 3 * BLOCK);
          await data.clearPages(120 * BLOCK, 8 * BLOCK);
        }
        const disks = [await imageOf(os), await imageOf(vhd), await imageOf(data)] as const;
        const known = new Set((await points()).map(({ name }) => name));
        await platform.call('POST', '/local/clock', { advance: 'P1D' });
        const jobs = await all(client.backupJobs.list(VAULT, GROUP, { filter: "operation eq 'Backup'" }));
        expect(jobs).toHaveLength(night + 1);
        const job = await ended(client, VAULT, jobs[0]!.name!);
        expect(job.properties.errorDetails ?? []).toEqual([]);
        expect(job.properties.status).toBe('Completed');
        const bag = job.properties.extendedInfo?.propertyBag ?? {};
        const sources = Object.entries(bag).filter(([key]) => key.startsWith('Changed Block Source'));
        expect(sources.map(([, text]) => text.split(':')[0])).toEqual(
          Array.from({ length: 3 }, () => (night === 0 ? 'full' : source)),
        );
        const fresh = (await points()).find(({ name }) => !known.has(name))!;
        images.push({ point: fresh.name!, disks });
      }
      const { properties } = await client.recoveryPoints.get(...at(VAULT, VM), images.at(-1)!.point);
      expect(properties as IaasVMRecoveryPoint).toMatchObject({
        isManagedVirtualMachine: true,
        sourceVMStorageType: 'PremiumVMOnPartialPremiumStorage',
      });
      // Incremental snapshots in their group, tagged as Strata's, and nobody reads them any more.
      const taken = await snapshots();
      expect(taken.every(({ incremental, tags }) => incremental === true && tags?.['strata_item'] !== undefined)).toBe(
        true,
      );
      expect(taken.length).toBeGreaterThanOrEqual(4);
      await vi.waitFor(
        async () => expect((await snapshots()).filter(({ diskState }) => diskState === 'ActiveSAS')).toEqual([]),
        60_000,
      );
    });

    async function restored(
      point: string,
      more: object,
    ): Promise<{ lun?: number; vhdUri?: string; managedDiskId?: string }[]> {
      const client = platform.backup();
      const account = `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/strata-local/providers/Microsoft.Storage/storageAccounts/stratadisks2`;
      const jobId = await jobOf(client, VAULT, (options) =>
        client.restores.beginTrigger(
          ...at(VAULT, VM),
          point,
          {
            properties: {
              objectType: 'IaasVMRestoreRequest',
              recoveryPointId: point,
              recoveryType: 'RestoreDisks',
              storageAccountId: account,
              region: LOCATION,
              ...more,
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
      return (JSON.parse((await config.downloadToBuffer()).toString()) as { disks: [] }).disks;
    }

    async function bytesOf(disk: { vhdUri?: string; managedDiskId?: string } | undefined): Promise<PageBlobClient> {
      if (disk?.vhdUri !== undefined) {
        const [, account, container, name] = new URL(disk.vhdUri).pathname.split('/');
        return platform.blobs(account!).getContainerClient(container!).getPageBlobClient(name!);
      }
      const parts = disk!.managedDiskId!.split('/');
      const found = await platform.compute.disks.get(parts[4]!, parts[8]!);
      expect(found).toMatchObject({ diskState: 'Unattached', location: LOCATION });
      expect(found.tags ?? {}).toEqual({});
      return blobOfManaged(platform, found.uniqueId!);
    }
    const footerOf = async (blob: PageBlobClient, diskBytes: number): Promise<Buffer> => {
      expect((await blob.getProperties()).contentLength).toBe(diskBytes + FOOTER_BYTES);
      return blob.downloadToBuffer(diskBytes, FOOTER_BYTES);
    };

    it('comes back as managed disks, from the oldest point and the newest', async () => {
      for (const { point, disks } of [images[0]!, images.at(-1)!]) {
        const made = await restored(point, { targetResourceGroupId: groupId(), restoreWithManagedDisks: true });
        for (const [lun, size, image] of [
          [undefined, 2 * GIB, disks[0]],
          [0, GIB, disks[1]],
          [3, GIB, disks[2]],
        ] as const) {
          const disk = made.find((each) => each.lun === lun);
          expect(disk?.managedDiskId?.startsWith(`${groupId()}/providers/Microsoft.Compute/disks/`)).toBe(true);
          const blob = await bytesOf(disk);
          expect(inside(await imageOf(blob), size)).toEqual(inside(image, size));
          expect(isFooter(await footerOf(blob, size))).toBe(true);
        }
        const osDisk = made.find(({ lun }) => lun === undefined)!.managedDiskId!.split('/');
        expect(await platform.compute.disks.get(osDisk[4]!, osDisk[8]!)).toMatchObject({
          osType: 'Linux',
          hyperVGeneration: 'V2',
          sku: { name: 'Premium_LRS' },
        });
      }
    });

    it('comes back as page blobs, each a fixed VHD', async () => {
      const { point, disks } = images[1]!;
      const made = await restored(point, {});
      for (const [lun, size, image] of [
        [undefined, 2 * GIB, disks[0]],
        [3, GIB, disks[2]],
      ] as const) {
        const blob = await bytesOf(made.find((each) => each.lun === lun));
        expect(inside(await imageOf(blob), size)).toEqual(inside(image, size));
        const footer = await footerOf(blob, size);
        expect(isFooter(footer)).toBe(true);
        expect(footer.readBigUInt64BE(48)).toBe(BigInt(size));
      }
      expect(await imageOf(await bytesOf(made.find(({ lun }) => lun === 0)))).toEqual(disks[1]);
    });

    it('comes back each as it was when a group is named, and starts as a VM', async () => {
      const made = await restored(images[1]!.point, { targetResourceGroupId: groupId(), restoreDiskLunList: [0, 3] });
      expect(made.map(({ managedDiskId }) => managedDiskId !== undefined)).toEqual([true, false, true]);
      const place = (lun: number | undefined): string => {
        const disk = made.find((each) => each.lun === lun)!;
        return disk.managedDiskId ?? disk.vhdUri!;
      };
      await makeVm(platform, 'restored1', {
        os: place(undefined),
        data: [0, 3].map((lun) => ({ lun, url: place(lun) })),
      });
    });

    it('is sound: all of it read, compared with its snapshots, and a restore of the newest point tried', async () => {
      const own = new CliVault(platform, VAULT, VM);
      const asked = ['vault', 'verify', ...own.options, '--deep', 'all', '--drill', 'latest', '--wait'];
      const { exit, out, err } = await own.strata(...asked);
      expect(exit, out + err).toBe(0);
    });

    it('refuses a restore to managed disks that says not where', async () => {
      await expect(restored(images[0]!.point, { restoreWithManagedDisks: true })).rejects.toMatchObject({
        code: 'UserErrorInvalidRestoreRequest',
      });
      await expect(restored(images[0]!.point, { targetResourceGroupId: 'restored-rg' })).rejects.toMatchObject({
        code: 'UserErrorInvalidRestoreRequest',
      });
    });
  });
}
