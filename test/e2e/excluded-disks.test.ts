import { randomBytes } from 'node:crypto';
import type { AzureIaaSComputeVMProtectedItem, IaasVMRecoveryPoint } from '@azure/arm-recoveryservicesbackup';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  all,
  type ArmPlatform,
  at,
  ended,
  GROUP,
  jobOf,
  LOCATION,
  makeDisk,
  makeVm,
  startArmPlatform,
} from '../support/arm-platform.ts';

/* A VM of three disks one of which is left out, through the official clients. */

const VAULT = 'disks-vault';
const VM = 'db1';
const MIB = 2 ** 20;

let platform: ArmPlatform;
let vmId: string;

beforeAll(async () => {
  platform = await startArmPlatform();
  const disk = (name: string) =>
    makeDisk(platform, 'stratadisks1', name, 2 * MIB, [{ offset: 0, bytes: randomBytes(4096) }]);
  const [os, one, two] = [await disk('db1-os.vhd'), await disk('db1-d0.vhd'), await disk('db1-d3.vhd')];
  vmId = await makeVm(platform, VM, {
    os: os.url,
    data: [
      { lun: 0, url: one.url },
      { lun: 3, url: two.url },
    ],
  });
  const { vaults } = platform.vaults();
  await vaults.createOrUpdate(GROUP, VAULT, { location: LOCATION, sku: { name: 'Standard' }, properties: {} });
});
afterAll(() => platform?.stop());

/** PUTs the item with these extended properties, none where there are none, and waits for the job. */
async function put(extendedProperties?: AzureIaaSComputeVMProtectedItem['extendedProperties']): Promise<void> {
  const client = platform.backup();
  const { id: policyId } = await client.protectionPolicies.get(VAULT, GROUP, 'DefaultPolicy');
  const job = await jobOf(client, VAULT, (options) =>
    client.protectedItems.createOrUpdate(
      ...at(VAULT, VM),
      {
        properties: {
          protectedItemType: 'Microsoft.Compute/virtualMachines',
          sourceResourceId: vmId,
          policyId: policyId!,
          ...(extendedProperties && { extendedProperties }),
        },
      },
      options,
    ),
  );
  expect((await ended(client, VAULT, job)).properties).toMatchObject({ operation: 'ConfigureBackup' });
}

const item = async () =>
  (await platform.backup().protectedItems.get(...at(VAULT, VM))).properties as AzureIaaSComputeVMProtectedItem;

async function backUp(): Promise<{ point: IaasVMRecoveryPoint; bag: Record<string, string> | undefined }> {
  const client = platform.backup();
  const job = await jobOf(client, VAULT, (options) =>
    client.backups.trigger(...at(VAULT, VM), { properties: { objectType: 'IaasVMBackupRequest' } }, options),
  );
  const { properties } = await ended(client, VAULT, job);
  expect(properties).toMatchObject({ status: 'Completed' });
  const points = await all(client.recoveryPoints.list(...at(VAULT, VM)));
  const newest = points.toSorted((a, b) => (a.name! < b.name! ? -1 : 1)).at(-1)!;
  const { properties: point } = await client.recoveryPoints.get(...at(VAULT, VM), newest.name!);
  const { extendedInfo } = properties as { extendedInfo?: { propertyBag?: Record<string, string> } };
  return { point: point as IaasVMRecoveryPoint, bag: extendedInfo?.propertyBag };
}

it('leaves a disk out, keeps doing so, says so on each point, and takes it in again', async () => {
  const exclusion = { diskLunList: [3], isInclusionList: false };
  await put({ diskExclusionProperties: exclusion });
  expect((await item()).extendedProperties).toMatchObject({ diskExclusionProperties: exclusion });
  const { point, bag } = await backUp();
  expect(point.recoveryPointDiskConfiguration).toMatchObject({
    numberOfDisksIncludedInBackup: 2,
    numberOfDisksAttachedToVm: 3,
    includedDiskList: [
      { lun: -1, name: 'db1-os' },
      { lun: 0, name: 'db1-d0' },
    ],
    excludedDiskList: [{ lun: 3, name: 'db1-d3' }],
  });
  expect(bag).toMatchObject({ 'Backed-up disk(s)': 'db1-os; db1-d0', 'Excluded disk(s)': 'db1-d3' });

  // A client that says nothing of disks leaves the selection as it is.
  await put();
  expect((await item()).extendedProperties).toMatchObject({ diskExclusionProperties: exclusion });

  // Extended properties that name none take it back.
  await put({});
  expect((await item()).extendedProperties?.diskExclusionProperties).toBeUndefined();
  const whole = await backUp();
  expect(whole.point.recoveryPointDiskConfiguration).toMatchObject({
    numberOfDisksIncludedInBackup: 3,
    excludedDiskList: [],
  });
});
