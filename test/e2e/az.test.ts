import { randomBytes } from 'node:crypto';
import type { PageBlobClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type ArmPlatform,
  ended,
  GROUP,
  LOCATION,
  makeDisk,
  makeVm,
  startArmPlatform,
  VM_GROUP,
} from '../support/arm-platform.ts';
import { type Az, openAz } from '../support/az/az.ts';

/**
 * The Azure CLI as Debian packages it, unchanged, on the local platform: a family of commands after another, each going on where the
 * last has stopped. What a command prints is what scripts read, so it is looked at field by field; and the exit status.
 */
const VAULT = 'az-vault';
const VM = 'Web1';
const MIB = 2 ** 20;

let platform: ArmPlatform;
let az: Az;
let vmId: string;
let disk: PageBlobClient;
const image = randomBytes(3 * MIB);

const inVault = ['-g', GROUP, '-v', VAULT];
const backup = (...args: string[]) => az.ok('backup', ...args, ...inVault);
const ofItem = ['-c', VM, '-i', VM, '--backup-management-type', 'AzureIaasVM', '--workload-type', 'VM'];

beforeAll(async () => {
  platform = await startArmPlatform();
  disk = await makeDisk(platform, 'stratadisks1', 'web1-os.vhd', 8 * MIB, [{ offset: MIB, bytes: image }]);
  vmId = await makeVm(platform, VM, { os: disk.url });
  az = await openAz(platform.endpoints);
});
afterAll(async () => {
  await az?.dispose();
  await platform?.stop();
});

/** Waits for a job by the API, then as a script does, and resolves the job that is printed: az sleeps half a minute between two looks. */
// oxlint-disable-next-line typescript/no-explicit-any -- as az prints it
async function waitFor(job: { name: string }): Promise<any> {
  await ended(platform.backup(), VAULT, job.name);
  const seen = await backup('job', 'wait', '-n', job.name);
  expect(seen).toMatchObject({ name: job.name, properties: { status: 'Completed' } });
  return seen;
}

describe('the cloud and the account', () => {
  it('shows the one subscription', async () => {
    expect(await az.ok('account', 'show')).toMatchObject({
      id: platform.endpoints.subscriptionId,
      environmentName: 'StrataLocal',
      isDefault: true,
    });
  });

  it('finds the VM', async () => {
    expect(await az.ok('vm', 'show', '-g', VM_GROUP, '-n', VM)).toMatchObject({ id: vmId, location: LOCATION });
  });
});

describe('az backup vault', () => {
  it('creates a vault, and shows it', async () => {
    const made = await az.ok('backup', 'vault', 'create', '-g', GROUP, '-n', VAULT, '-l', LOCATION);
    expect(made).toMatchObject({
      name: VAULT,
      resourceGroup: GROUP,
      location: LOCATION,
      type: 'Microsoft.RecoveryServices/vaults',
      sku: { name: 'Standard' },
      properties: { provisioningState: 'Succeeded' },
    });
    const shown = await az.ok('backup', 'vault', 'show', '-g', GROUP, '-n', VAULT);
    expect(shown.id).toBe(made.id);
  });

  it('ends with 3 for a vault that is not there', async () => {
    const { code, stderr } = await az.run('backup', 'vault', 'show', '-g', GROUP, '-n', 'nowhere');
    expect(code).toBe(3);
    expect(stderr).toContain('ResourceNotFound');
  });
});

describe('az backup policy', () => {
  // oxlint-disable-next-line typescript/no-explicit-any -- as az prints it
  let made: any;

  it('makes a policy of the default one', async () => {
    const policy = await backup('policy', 'get-default-for-vm');
    expect(policy).toMatchObject({ name: 'DefaultPolicy', properties: { backupManagementType: 'AzureIaasVM' } });
    policy.properties.retentionPolicy.dailySchedule.retentionDuration.count = 9;
    const args = ['-n', 'nine-days', '--backup-management-type', 'AzureIaasVM', '--policy', JSON.stringify(policy)];
    made = await backup('policy', 'create', ...args);
    expect(made.name).toBe('nine-days');
    expect(made.properties.retentionPolicy.dailySchedule.retentionDuration).toMatchObject({ count: 9 });
    const names = ((await backup('policy', 'list')) as { name: string }[]).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['DefaultPolicy', 'nine-days']));
  });

  it('says which field of a policy is wrong', async () => {
    const policy = structuredClone(made);
    policy.properties.retentionPolicy.dailySchedule.retentionDuration.count = 100_000;
    const { code, stderr } = await az.run('backup', 'policy', 'set', ...inVault, '--policy', JSON.stringify(policy));
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/BMSUserErrorInvalidPolicyInput.*retentionDuration/s);
  });
});

describe('az backup protection and recovery points', () => {
  it('protects the VM', async () => {
    expect(await az.ok('backup', 'protection', 'check-vm', '--vm', vmId)).toBeUndefined();
    const job = await backup('protection', 'enable-for-vm', '--vm', vmId, '-p', 'nine-days');
    expect(job.properties).toMatchObject({ operation: 'ConfigureBackup', entityFriendlyName: VM, status: 'Completed' });
    expect(String(await az.ok('backup', 'protection', 'check-vm', '--vm', vmId))).toMatch(
      new RegExp(`/vaults/${VAULT}$`),
    );
    const again = await az.run('backup', 'protection', 'enable-for-vm', ...inVault, '--vm', vmId, '-p', 'nine-days');
    expect(again.code).not.toBe(0);
  });

  it('does not delete a policy that is in use', async () => {
    const { code, stderr } = await az.run('backup', 'policy', 'delete', ...inVault, '-n', 'nine-days');
    expect(code).not.toBe(0);
    expect(stderr).toContain('BMSUserErrorPolicyInUse');
  });

  it('backs up now, waits for the job and lists the recovery point', async () => {
    const job = await backup('protection', 'backup-now', ...ofItem.slice(0, 6), '--retain-until', untilInAWeek());
    expect(job.properties).toMatchObject({ operation: 'Backup', entityFriendlyName: VM });
    const shown = await waitFor(job);
    expect(shown.properties.extendedInfo.tasksList.map((task: { taskId: string }) => task.taskId)).toEqual([
      'Take Snapshot',
      'Transfer data to vault',
    ]);
    const [listed] = await backup('job', 'list', '--operation', 'Backup', '--status', 'Completed');
    expect(listed.name).toBe(job.name);
    const points = await backup('recoverypoint', 'list', ...ofItem);
    expect(points).toHaveLength(1);
    expect(points[0].properties).toMatchObject({ objectType: 'IaasVMRecoveryPoint' });
    expect(points[0].tierType).toBe('SnapshotAndVaultStandard');
  });

  it('restores the disks', async () => {
    const [point] = await backup('recoverypoint', 'list', ...ofItem);
    const target = ['--storage-account', 'stratadisks2', '--rp-name', point.name];
    const job = await backup('restore', 'restore-disks', '-c', VM, '-i', VM, ...target);
    expect(job.properties.operation).toBe('Restore');
    const { properties } = await waitFor(job);
    const bag = properties.extendedInfo.propertyBag as Record<string, string>;
    const container = platform.blobs('stratadisks2').getContainerClient(bag['Config Blob Container Name']!);
    const vhds: string[] = [];
    for await (const { name } of container.listBlobsFlat()) if (name.endsWith('.vhd')) vhds.push(name);
    expect(vhds).toHaveLength(1);
    const bytes = await container.getPageBlobClient(vhds[0]!).downloadToBuffer(MIB, image.length);
    expect(bytes.equals(image)).toBe(true);
  });

  it('stops the protection, keeps the data, and resumes', async () => {
    const stopped = await backup('protection', 'disable', ...ofItem, '--yes');
    expect(stopped.properties).toMatchObject({ operation: 'DisableBackup', status: 'Completed' });
    const [item] = await backup('item', 'list');
    expect(item.properties).toMatchObject({ friendlyName: VM, protectionState: 'ProtectionStopped' });
    expect(await backup('recoverypoint', 'list', ...ofItem)).toHaveLength(1);
    const resumed = await backup('protection', 'resume', ...ofItem, '-p', 'DefaultPolicy');
    expect(resumed.properties).toMatchObject({ operation: 'ConfigureBackup', status: 'Completed' });
    expect((await backup('item', 'show', ...itemArguments())).properties).toMatchObject({
      protectionState: 'Protected',
      policyName: 'DefaultPolicy',
    });
  });
});

/** `item show` names its item by -n. */
function itemArguments(): string[] {
  return ofItem.map((word) => (word === '-i' ? '-n' : word));
}

/** As az wants a day: dd-mm-yyyy. */
function untilInAWeek(): string {
  const [year, month, day] = new Date(Date.now() + 7 * 86_400_000).toISOString().slice(0, 10).split('-');
  return `${day}-${month}-${year}`;
}
