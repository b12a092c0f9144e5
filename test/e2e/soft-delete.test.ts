import { randomBytes } from 'node:crypto';
import type { AzureIaaSComputeVMProtectedItem } from '@azure/arm-recoveryservicesbackup';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  all,
  type ArmPlatform,
  at,
  dailyPolicy,
  ended,
  GROUP,
  jobOf,
  LOCATION,
  makeDisk,
  makeVm,
  startArmPlatform,
} from '../support/arm-platform.ts';

/* Deleting backup data and taking it back, with the official client over TLS. */

const VAULT = 'kept-vault';
const VM = 'kept1';
const VM_TYPE = 'Microsoft.Compute/virtualMachines';

let platform: ArmPlatform;
let vmId: string;

const vaultPath = (): string =>
  `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}`;
const properties = (more: object): AzureIaaSComputeVMProtectedItem => ({
  protectedItemType: VM_TYPE,
  sourceResourceId: vmId,
  ...more,
});
const stopped = { policyId: '', protectionState: 'ProtectionStopped' };

/** Changes the item, and resolves how its job has ended and what the item shows then. */
async function changed(more: object | undefined) {
  const client = platform.backup();
  const job = await jobOf(client, VAULT, (options) =>
    more === undefined
      ? client.protectedItems.delete(...at(VAULT, VM), options)
      : client.protectedItems.createOrUpdate(...at(VAULT, VM), { properties: properties(more) }, options),
  );
  const { operation, status } = (await ended(client, VAULT, job)).properties;
  const item = await client.protectedItems.get(...at(VAULT, VM));
  return { job: `${operation} ${status}`, item: item.properties! as unknown as Record<string, unknown> };
}

beforeAll(async () => {
  platform = await startArmPlatform();
  const os = await makeDisk(platform, 'stratadisks1', 'kept1-os.vhd', 2 ** 20, [
    { offset: 0, bytes: randomBytes(65_536) },
  ]);
  vmId = await makeVm(platform, VM, { os: os.url });
  await platform
    .vaults()
    .vaults.createOrUpdate(GROUP, VAULT, { location: LOCATION, sku: { name: 'Standard' }, properties: {} });
  const client = platform.backup();
  await client.protectionPolicies.createOrUpdate(VAULT, GROUP, 'nightly', { properties: dailyPolicy(14) });
  await client.protectedItems.createOrUpdate(...at(VAULT, VM), {
    properties: properties({ policyId: `${vaultPath()}/backupPolicies/nightly` }),
  });
  const job = await jobOf(client, VAULT, (options) =>
    client.backups.trigger(...at(VAULT, VM), { properties: { objectType: 'IaasVMBackupRequest' } }, options),
  );
  expect((await ended(client, VAULT, job)).properties.status).toBe('Completed');
});
afterAll(() => platform?.stop());

it('a new vault deletes softly, and says so', async () => {
  const config = await platform.backup().backupResourceVaultConfigs.get(VAULT, GROUP);
  expect(config.properties).toMatchObject({ softDeleteFeatureState: 'Enabled', softDeleteRetentionPeriodInDays: 14 });
});

it('an operator may not delete, and what is protected is not undeleted', async () => {
  const operator = platform.backup(['Backup Operator']);
  await expect(operator.protectedItems.delete(...at(VAULT, VM))).rejects.toMatchObject({ statusCode: 403 });
  await expect(changed({ ...stopped, isRehydrate: true })).rejects.toMatchObject({
    statusCode: 409,
    code: 'ItemNotSoftDeleted',
  });
});

it('deletes, undeletes and resumes, each twice, and every point is still there', async () => {
  const client = platform.backup();
  const points = async () => (await all(client.recoveryPoints.list(...at(VAULT, VM)))).map(({ name }) => name);
  const before = await points();
  expect(before).toHaveLength(1);

  let since: unknown;
  for (let time = 0; time < 2; time++) {
    const { job, item } = await changed(undefined);
    expect(job).toBe('DeleteBackupData Completed');
    expect(item).toMatchObject({
      protectionState: 'ProtectionStopped',
      policyId: '',
      isScheduledForDeferredDelete: true,
    });
    expect(item['deferredDeleteTimeRemaining']).toMatch(/^13\.23:5\d:\d\d(\.\d{7})?$/);
    since ??= item['deferredDeleteTimeInUTC'];
    expect(item['deferredDeleteTimeInUTC']).toEqual(since);
  }
  const refused = { statusCode: 409, code: 'ItemSoftDeleted' };
  await expect(changed({ policyId: `${vaultPath()}/backupPolicies/nightly` })).rejects.toMatchObject(refused);
  await expect(changed(stopped)).rejects.toMatchObject(refused);
  await expect(
    client.backups.trigger(...at(VAULT, VM), { properties: { objectType: 'IaasVMBackupRequest' } }),
  ).rejects.toMatchObject(refused);
  await expect(platform.vaults().vaults.delete(GROUP, VAULT)).rejects.toMatchObject({
    message: expect.stringMatching(/existing resources within the vault.*soft deleted state/),
  });

  for (let time = 0; time < 2; time++) {
    const { job, item } = await changed({ ...stopped, isRehydrate: true });
    expect(job).toBe('Undelete Completed');
    expect(item).toMatchObject({ protectionState: 'ProtectionStopped', isScheduledForDeferredDelete: false });
  }
  for (let time = 0; time < 2; time++) {
    const { item } = await changed({ policyId: `${vaultPath()}/backupPolicies/nightly` });
    expect(item).toMatchObject({ protectionState: 'Protected', policyName: 'nightly' });
  }
  expect(await points()).toEqual(before);
});

it('five who delete at once, and five who undelete, agree', async () => {
  const five = (more: object | undefined) => Promise.all(Array.from({ length: 5 }, () => changed(more)));
  for (const { item } of await five(undefined)) expect(item['isScheduledForDeferredDelete']).toBe(true);
  for (const { item } of await five({ ...stopped, isRehydrate: true }))
    expect(item).toMatchObject({ isScheduledForDeferredDelete: false, protectionState: 'ProtectionStopped' });
});

it('what is not there is deleted already', async () => {
  const reply = await platform.call(
    'DELETE',
    `${vaultPath()}/backupFabrics/Azure/protectionContainers/IaasVMContainer;iaasvmcontainerv2;app-rg;none/protectedItems/VM;iaasvmcontainerv2;app-rg;none?api-version=2023-06-01`,
  );
  expect(reply.status).toBe(204);
});
