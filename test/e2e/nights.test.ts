import type { PageBlobClient } from '@azure/storage-blob';
import type { IaasVMRecoveryPoint } from '@azure/arm-recoveryservicesbackup';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  all,
  type ArmPlatform,
  at,
  containerOf,
  dailyPolicy,
  ended,
  GROUP,
  itemOf,
  jobOf,
  LOCATION,
  makeDisk,
  makeVm,
  startArmPlatform,
} from '../support/arm-platform.ts';
import { type DiskImage, filled, imageOf } from '../support/disk-image.ts';

/*
 * Nights of a VM with two disks in two accounts, at the production region size, moved along by the clock: the timer finds what is
 * due, changed blocks travel to the vault, snapshots end, the first points expire and merge, and what is left restores bit for bit.
 * Once with storage that can compare snapshots and once with storage that only says that it can.
 */

const GIB = 2 ** 30;
const BLOCK = 16_384;
const VM = 'nightly1';
const VAULT = 'nights-vault';
const NIGHTS = 6;
const RETENTION_DAYS = 3;
const DAY_MS = 86_400_000;
/** Minutes of the day: the backup is due at 1:30, the cleanup at 4:15. */
const AFTER_BACKUP = 120;
const AFTER_CLEAN_UP = 270;

/** What the VM does on day `n`: rewrites, new data over a region's end, clears, and the same bytes once more. */
async function change(os: PageBlobClient, data: PageBlobClient, n: number): Promise<void> {
  await os.uploadPages(filled(3 * BLOCK, n), 512 * n + 5 * BLOCK, 3 * BLOCK);
  await os.clearPages(64 * BLOCK + n * 4 * BLOCK, 3 * BLOCK + 1024);
  await data.uploadPages(filled(8 * BLOCK, 40 + n), GIB - 4 * BLOCK, 8 * BLOCK);
  await data.uploadPages(filled(BLOCK, 7), 2 * GIB, BLOCK);
  if (n === 2) {
    await data.resize(GIB + 512);
    await data.resize(3 * GIB);
  }
  if (n === 3) await data.resize(2 * GIB + 10 * BLOCK + 512);
}

for (const [storage, source] of [
  ['completed', 'diff'],
  ['stock', 'hashes'],
] as const) {
  describe(`on ${storage} storage`, () => {
    let platform: ArmPlatform;
    let os: PageBlobClient;
    let data: PageBlobClient;
    const images = new Map<string, DiskImage[]>();

    beforeAll(async () => {
      platform = await startArmPlatform(storage);
      os = await makeDisk(platform, 'stratadisks1', 'n-os.vhd', GIB + 512, [
        { offset: 0, bytes: filled(2 * 2 ** 20, 1) },
        { offset: GIB, bytes: filled(512, 2) },
      ]);
      data = await makeDisk(platform, 'stratadisks2', 'n-data.vhd', 3 * GIB, [
        { offset: GIB - 2 ** 20, bytes: filled(2 * 2 ** 20, 3) },
        { offset: 3 * GIB - 4096, bytes: filled(4096, 4) },
      ]);
      const vmId = await makeVm(platform, VM, { os: os.url, data: [{ lun: 4, url: data.url }] });
      await platform.vaults().vaults.createOrUpdate(GROUP, VAULT, vaultBody).pollUntilDone();
      const client = platform.backup();
      await client.protectionPolicies.createOrUpdate(VAULT, GROUP, 'nightly', {
        properties: dailyPolicy(RETENTION_DAYS),
      });
      await client.protectedItems.createOrUpdate(VAULT, GROUP, 'Azure', containerOf(VM), itemOf(VM), {
        properties: {
          protectedItemType: 'Microsoft.Compute/virtualMachines',
          sourceResourceId: vmId,
          policyId: `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}/backupPolicies/nightly`,
        },
      });
    });
    afterAll(() => platform?.stop());

    const vaultBody = { location: LOCATION, sku: { name: 'Standard' }, properties: {} };
    const points = () => all(platform.backup().recoveryPoints.list(...at(VAULT, VM)));
    const now = async () => Date.parse((await platform.call('GET', '/local/clock')).body.now as string);

    /** To the next time that it is so many minutes after midnight. */
    async function moveClockTo(minuteOfDay: number): Promise<void> {
      const from = await now();
      const today = from - (from % DAY_MS) + minuteOfDay * 60_000;
      const to = new Date(today > from ? today : today + DAY_MS);
      await platform.call('POST', '/local/clock', { now: to.toISOString() });
    }

    it(`takes a point each night, the first full, the later ones by ${source}`, async () => {
      const client = platform.backup();
      for (let night = 0; night < NIGHTS; night++) {
        if (night > 0) await change(os, data, night);
        const before = [await imageOf(os), await imageOf(data)];
        const known = new Set((await points()).map(({ name }) => name));
        await moveClockTo(AFTER_BACKUP);
        const jobs = await all(client.backupJobs.list(VAULT, GROUP, { filter: "operation eq 'Backup'" }));
        expect(jobs).toHaveLength(night + 1);
        const job = await ended(client, VAULT, jobs[0]!.name!);
        expect(job.properties.errorDetails ?? []).toEqual([]);
        expect(job.properties.status).toBe('Completed');
        const bag = job.properties.extendedInfo?.propertyBag ?? {};
        const sources = Object.entries(bag).filter(([key]) => key.startsWith('Changed Block Source'));
        expect(sources.map(([, text]) => text.split(':')[0])).toEqual(
          night === 0 ? ['full', 'full'] : [source, source],
        );
        const fresh = (await points()).map(({ name }) => name!).filter((name) => !known.has(name));
        expect(fresh).toHaveLength(1);
        images.set(fresh[0]!, before);
        // Not further: the cleanup begins no merge after the hours that it has.
        await moveClockTo(AFTER_CLEAN_UP);
      }
    });

    it('lets the first points expire and merge, and ends snapshots but the newest', async () => {
      const until = new Date(await now()).toISOString();
      const isExpired = ({ properties }: { properties?: unknown }): boolean =>
        (properties as IaasVMRecoveryPoint).recoveryPointProperties!.expiryTime! <= until;
      const tiersOf = ({ properties }: { properties?: unknown }): string =>
        (properties as IaasVMRecoveryPoint)
          .recoveryPointTierDetails!.map(({ type, status }) => `${type} ${status}`)
          .join(', ');
      // One merge follows another: it is over when no point is left whose time has come, and the oldest has lost its snapshots.
      const isOver = (left: readonly { properties?: unknown }[]): boolean =>
        !left.some(isExpired) && tiersOf(left.at(-1)!).startsWith('InstantRP Deleted');
      let left = await points();
      for (const deadline = Date.now() + 120_000; !isOver(left) && Date.now() < deadline; left = await points()) {
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
      expect(left.filter(isExpired)).toEqual([]);
      expect(left.length).toBeLessThan(NIGHTS);
      const tiers = left.map(tiersOf);
      expect(tiers[0]).toBe('InstantRP Valid, HardenedRP Valid');
      expect(tiers.at(-1)).toBe('InstantRP Deleted, HardenedRP Valid');
    });

    it('restores the newest, the oldest and one in the middle, byte for byte', async () => {
      const left = await points();
      const client = platform.backup();
      const account = `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/strata-local/providers/Microsoft.Storage/storageAccounts/stratadisks2`;
      for (const { name } of [left[0]!, left.at(-1)!, left[Math.floor(left.length / 2)]!]) {
        const jobId = await jobOf(client, VAULT, (options) =>
          client.restores.beginTrigger(
            ...at(VAULT, VM),
            name!,
            {
              properties: {
                objectType: 'IaasVMRestoreRequest',
                recoveryPointId: name!,
                recoveryType: 'RestoreDisks',
                storageAccountId: account,
                region: LOCATION,
              },
            },
            options,
          ),
        );
        const { properties } = await ended(client, VAULT, jobId);
        expect(properties.errorDetails ?? []).toEqual([]);
        expect(properties.status).toBe('Completed');
        const container = platform
          .blobs('stratadisks2')
          .getContainerClient(properties.extendedInfo!.propertyBag!['Config Blob Container Name']!);
        const restored = await Promise.all(
          [`${VM}-os.vhd`, `${VM}-d4.vhd`].map((blob) => imageOf(container.getPageBlobClient(blob))),
        );
        expect(restored).toEqual(images.get(name!));
      }
    });
  });
}
