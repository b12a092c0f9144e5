import { randomBytes } from 'node:crypto';
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

const VAULT = 'life-vault';
const VM = 'Web1';
const MIB = 2 ** 20;

let platform: ArmPlatform;
let vmId: string;
let os: PageBlobClient;
let data: PageBlobClient;

beforeAll(async () => {
  platform = await startArmPlatform();
  os = await makeDisk(platform, 'stratadisks1', 'web1-os.vhd', 8 * MIB, [
    { offset: 0, bytes: randomBytes(64 * 1024) },
    { offset: 4 * MIB, bytes: randomBytes(512) },
  ]);
  data = await makeDisk(platform, 'stratadisks2', 'web1-d0.vhd', 4 * MIB + 512, [
    { offset: MIB, bytes: randomBytes(MIB) },
    { offset: 4 * MIB, bytes: randomBytes(512) },
  ]);
  vmId = await makeVm(platform, VM, { os: os.url, data: [{ lun: 0, url: data.url }] });
});
afterAll(() => platform?.stop());

describe('a VM, from its first backup to its restore, through the official clients', () => {
  it('makes a vault that clients understand', async () => {
    const { vaults } = platform.vaults();
    const vault = await vaults
      .createOrUpdate(GROUP, VAULT, {
        location: 'West Europe',
        sku: { name: 'Standard' },
        tags: { team: 'a' },
        properties: {},
      })
      .pollUntilDone?.();
    const made = vault ?? (await vaults.get(GROUP, VAULT));
    expect(made).toMatchObject({ name: VAULT, location: LOCATION, tags: { team: 'a' } });
    expect(made.properties).toMatchObject({
      provisioningState: 'Succeeded',
      publicNetworkAccess: 'Enabled',
      securitySettings: { softDeleteSettings: {} },
      redundancySettings: {},
      monitoringSettings: {},
    });
    const patched = await vaults.update(GROUP, VAULT, { tags: { team: 'b' } });
    expect(patched.tags).toEqual({ team: 'b' });
    expect((await all(vaults.listByResourceGroup(GROUP))).map(({ name }) => name)).toEqual([VAULT]);
    expect((await all(vaults.listBySubscriptionId())).map(({ name }) => name)).toEqual([VAULT]);
  });

  it('has a default policy and keeps others as they were sent', async () => {
    const client = platform.backup();
    const sent = dailyPolicy(14);
    const policy = await client.protectionPolicies.createOrUpdate(VAULT, GROUP, 'nightly', { properties: sent });
    expect(policy.properties).toMatchObject({ ...sent, protectedItemsCount: 0 });
    const names = (
      await all(client.backupPolicies.list(VAULT, GROUP, { filter: "backupManagementType eq 'AzureIaasVM'" }))
    ).map(({ name }) => name);
    expect(names).toEqual(['DefaultPolicy', 'nightly']);
  });

  it('finds the VM, protects it, and then no longer offers it', async () => {
    const client = platform.backup(['Backup Operator']);
    const filter = "backupManagementType eq 'AzureIaasVM'";
    const offered = await all(client.backupProtectableItems.list(VAULT, GROUP, { filter }));
    expect(offered.map(({ properties }) => properties?.friendlyName)).toEqual([VM]);
    expect(await client.backupStatus.get(LOCATION, { resourceType: 'VM', resourceId: vmId })).toMatchObject({
      protectionStatus: 'NotProtected',
    });
    const { id: policyId } = await client.protectionPolicies.get(VAULT, GROUP, 'nightly');
    const job = await jobOf(client, VAULT, (options) =>
      client.protectedItems.createOrUpdate(
        ...at(VAULT, VM.toLowerCase()),
        {
          properties: {
            protectedItemType: 'Microsoft.Compute/virtualMachines',
            sourceResourceId: vmId,
            policyId: policyId!,
          },
        },
        options,
      ),
    );
    expect((await ended(client, VAULT, job)).properties).toMatchObject({
      operation: 'ConfigureBackup',
      status: 'Completed',
    });
    expect(await all(client.backupProtectableItems.list(VAULT, GROUP, { filter }))).toEqual([]);
    expect(await client.backupStatus.get(LOCATION, { resourceType: 'VM', resourceId: vmId })).toMatchObject({
      protectionStatus: 'Protected',
      policyName: 'nightly',
      vaultId: expect.stringMatching(/\/vaults\/life-vault$/),
    });
    const items = await all(
      client.backupProtectedItems.list(VAULT, GROUP, {
        filter: `${filter} and itemType eq 'VM' and policyName eq 'nightly'`,
      }),
    );
    expect(items.map(({ properties }) => properties)).toMatchObject([
      {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        friendlyName: VM,
        protectionState: 'IRPending',
        policyName: 'nightly',
      },
    ]);
    expect((await client.protectionPolicies.get(VAULT, GROUP, 'nightly')).properties?.protectedItemsCount).toBe(1);
    const containers = await all(
      client.backupProtectionContainers.list(VAULT, GROUP, { filter: `${filter} and status eq 'Registered'` }),
    );
    expect(containers.map(({ name }) => name)).toEqual([containerOf(VM.toLowerCase())]);
  });

  it('answers 202 with links that lead to the job and to the item', async () => {
    const path = `${itemPath()}?api-version=2023-06-01`.replaceAll(';', '%3B').replace('/vaults/', '//VAULTS/');
    const body = {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        sourceResourceId: vmId,
        policyId: `${vaultPath()}/backupPolicies/DefaultPolicy`,
      },
    };
    const { status, headers, body: empty } = await platform.call('PUT', path, body);
    expect([status, empty]).toEqual([202, undefined]);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    const follow = (link: string | null) => platform.call('GET', link!.slice(platform.endpoints.https.length));
    const operation = await follow(headers.get('azure-asyncoperation'));
    expect(operation.body).toMatchObject({
      status: 'Succeeded',
      properties: { objectType: 'OperationStatusJobExtendedInfo' },
    });
    const result = await follow(headers.get('location'));
    expect([result.status, result.body.properties.policyName]).toEqual([200, 'DefaultPolicy']);
    const atVault = await platform.call(
      'GET',
      `${vaultPath()}/backupOperations/${operation.body.name}?api-version=2022-09-01-preview`,
    );
    expect(atVault.body).toEqual(operation.body);
    const elsewhere = headers.get('azure-asyncoperation')!.replaceAll(`;${VM.toLowerCase()}`, ';other');
    expect((await follow(elsewhere)).status).toBe(404);
    await platform.call('PUT', path, {
      properties: { ...body.properties, policyId: `${vaultPath()}/backupPolicies/nightly` },
    });
  });

  it('refreshes containers as clients wait for it', async () => {
    const client = platform.backup(['Backup Operator']);
    let location: string | undefined;
    await client.protectionContainers.refresh(VAULT, GROUP, 'Azure', {
      onResponse: ({ status, headers }) => {
        expect(status).toBe(202);
        location = headers.get('location');
      },
    });
    const operation = new URL(location!).pathname.split('/').at(-1)!;
    let ended: number | undefined;
    await client.protectionContainerRefreshOperationResults.get(VAULT, GROUP, 'Azure', operation, {
      onResponse: ({ status }) => (ended = status),
    });
    expect(ended).toBe(204);
  });

  const expiry = new Date('2041-06-12T00:00:00Z');
  let pointName: string;
  const wanted: Buffer[] = [];

  it('backs up on demand and shows the point', async () => {
    const client = platform.backup(['Backup Operator']);
    wanted.push(await os.downloadToBuffer(), await data.downloadToBuffer());
    const jobId = await jobOf(client, VAULT, (options) =>
      client.backups.trigger(
        ...at(VAULT, VM),
        { properties: { objectType: 'IaasVMBackupRequest', recoveryPointExpiryTimeInUTC: expiry } },
        options,
      ),
    );
    const { properties: job } = await ended(client, VAULT, jobId);
    expect(job).toMatchObject({ operation: 'Backup', status: 'Completed', entityFriendlyName: VM, errorDetails: [] });
    expect(job.extendedInfo?.tasksList?.map(({ taskId, status }) => [taskId, status])).toEqual([
      ['Take Snapshot', 'Completed'],
      ['Transfer data to vault', 'Completed'],
    ]);
    expect(job.extendedInfo?.propertyBag).toMatchObject({
      'VM Name': VM,
      'Backup Size': '2 MB',
      'Recovery Point Expiry Time in UTC': '6/12/2041 12:00:00 AM',
      'Changed Block Source (OS disk)': expect.any(String),
      'Changed Block Source (LUN 0)': expect.any(String),
    });

    const points = await all(client.recoveryPoints.list(...at(VAULT, VM)));
    expect(points).toHaveLength(1);
    pointName = points[0]!.name!;
    const { properties } = await client.recoveryPoints.get(...at(VAULT, VM), pointName);
    expect(properties as IaasVMRecoveryPoint).toMatchObject({
      objectType: 'IaasVMRecoveryPoint',
      recoveryPointType: 'CrashConsistent',
      osType: 'Linux',
      recoveryPointTierDetails: [
        { type: 'InstantRP', status: 'Valid' },
        { type: 'HardenedRP', status: 'Valid' },
      ],
      recoveryPointDiskConfiguration: {
        numberOfDisksIncludedInBackup: 2,
        includedDiskList: [
          { lun: -1, name: `${VM}-os` },
          { lun: 0, name: `${VM}-d0` },
        ],
      },
      recoveryPointProperties: { expiryTime: expiry.toISOString(), ruleName: 'OnDemand' },
    });
    const raw = await platform.call('GET', `${itemPath()}/recoveryPoints/${pointName}?api-version=2023-06-01`);
    expect(raw.body.properties.strata).toMatchObject({
      label: 'Snapshot and vault',
      kind: 'full',
      sizeBytes: 12 * MIB + 512,
      storedBytes: expect.any(Number),
    });
    const item = await client.protectedItems.get(...at(VAULT, VM));
    expect(item.properties).toMatchObject({
      protectionState: 'Protected',
      lastBackupStatus: 'Completed',
      extendedInfo: { recoveryPointCount: 1 },
    });
  });

  it('makes an incremental point of what has changed, that cites its policy rule no less', async () => {
    const client = platform.backup();
    await os.uploadPages(randomBytes(16_384), 2 * MIB, 16_384);
    await os.clearPages(0, 16_384);
    const jobId = await jobOf(client, VAULT, (options) =>
      client.backups.trigger(...at(VAULT, VM), { properties: { objectType: 'IaasVMBackupRequest' } }, options),
    );
    expect((await ended(client, VAULT, jobId)).properties.status).toBe('Completed');
    const { body } = await platform.call('GET', `${itemPath()}/recoveryPoints?api-version=2023-06-01&$top=1`);
    expect(body.value).toMatchObject([
      { properties: { strata: { kind: 'incremental', dataBlocks: 1, clearedBlocks: 1 } } },
    ]);
    const next = await platform.call('GET', body.nextLink.slice(platform.endpoints.https.length));
    expect(next.body).toMatchObject({ value: [{ name: pointName }], nextLink: null });
  });

  it('restores the first point bit for bit into a container of choice', async () => {
    const client = platform.backup(['Backup Operator']);
    const poller = await client.restores.beginTrigger(...at(VAULT, VM), pointName, {
      properties: {
        objectType: 'IaasVMRestoreRequest',
        recoveryPointId: pointName,
        recoveryType: 'RestoreDisks',
        sourceResourceId: vmId,
        storageAccountId: accountId('stratadisks2'),
        region: LOCATION,
        createNewCloudService: false,
        originalStorageAccountOption: false,
      },
    });
    await poller.pollUntilDone();
    const [newest] = await all(client.backupJobs.list(VAULT, GROUP, { filter: "operation eq 'Restore'" }));
    const { properties } = await ended(client, VAULT, newest!.name!);
    expect(properties).toMatchObject({ operation: 'Restore', status: 'Completed' });
    const bag = properties.extendedInfo?.propertyBag ?? {};
    expect(bag).toMatchObject({ 'Job Type': 'Recover disks', 'Target Storage Account Name': 'stratadisks2' });
    const container = platform.blobs('stratadisks2').getContainerClient(bag['Config Blob Container Name']!);
    const config = JSON.parse(
      (await container.getBlobClient(bag['Config Blob Name']!).downloadToBuffer()).toString(),
    ) as {
      disks: { role: string; vhdUri: string }[];
    };
    for (const [i, { vhdUri }] of config.disks.entries()) {
      const blob = container.getBlobClient(vhdUri.split('/').at(-1)!);
      expect((await blob.downloadToBuffer()).equals(wanted[i]!)).toBe(true);
    }
  });

  it('lists jobs newest first, by filters, a page at a time', async () => {
    const client = platform.backup(['Backup Reader']);
    const operations = (await all(client.backupJobs.list(VAULT, GROUP))).map(
      ({ properties }) => (properties as { operation?: string }).operation,
    );
    expect(operations).toEqual([
      'Restore',
      'Backup',
      'Backup',
      'ConfigureBackup',
      'ConfigureBackup',
      'ConfigureBackup',
    ]);
    const filter =
      "backupManagementType eq 'AzureIaasVM' and endTime eq '2199-01-01 12:00:00 AM' and operation eq 'Backup' and startTime eq '2020-01-01 00:00:00 AM' and status eq 'Completed'";
    expect(await all(client.backupJobs.list(VAULT, GROUP, { filter }))).toHaveLength(2);
    let path = `${vaultPath()}/backupJobs?api-version=2023-06-01&%24top=3`;
    const seen: string[] = [];
    for (; path !== '';) {
      const { body } = await platform.call('GET', path);
      seen.push(...body.value.map(({ name }: { name: string }) => name));
      path = body.nextLink?.slice(platform.endpoints.https.length) ?? '';
    }
    expect(seen).toHaveLength(6);
    expect(new Set(seen).size).toBe(6);
  });

  it('cancels a backup that has just begun', async () => {
    const client = platform.backup(['Backup Operator']);
    const jobId = await jobOf(client, VAULT, (options) =>
      client.backups.trigger(...at(VAULT, VM), { properties: { objectType: 'IaasVMBackupRequest' } }, options),
    );
    await client.jobCancellations.trigger(VAULT, GROUP, jobId);
    expect((await ended(client, VAULT, jobId)).properties).toMatchObject({
      status: 'Cancelled',
      errorDetails: [{ errorCode: 400158, errorTitle: 'UserErrorJobSuccessfullyCancelled' }],
    });
  });

  it('stops protection and keeps the data, for a contributor', async () => {
    const stop = {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines' as const,
        sourceResourceId: vmId,
        policyId: '',
        protectionState: 'ProtectionStopped',
      },
    };
    const operator = platform.backup(['Backup Operator']);
    await expect(operator.protectedItems.createOrUpdate(...at(VAULT, VM), stop)).rejects.toMatchObject({
      statusCode: 403,
      code: 'AuthorizationFailed',
      message: expect.stringContaining('Backup Contributor'),
    });
    const client = platform.backup();
    const job = await jobOf(client, VAULT, (options) =>
      client.protectedItems.createOrUpdate(...at(VAULT, VM), stop, options),
    );
    expect((await ended(client, VAULT, job)).properties.operation).toBe('DisableBackup');
    const { properties } = await client.protectedItems.get(...at(VAULT, VM));
    expect(properties).toMatchObject({ protectionState: 'ProtectionStopped', policyId: '', policyName: '' });
    await expect(
      client.backups.trigger(...at(VAULT, VM), { properties: { objectType: 'IaasVMBackupRequest' } }),
    ).rejects.toMatchObject({
      statusCode: 409,
      code: 'UserErrorProtectionStopped',
    });
    await expect(platform.vaults().vaults.delete(GROUP, VAULT)).rejects.toMatchObject({
      message: expect.stringContaining('existing resources within the vault'),
    });
  });

  it('resumes with a policy', async () => {
    const client = platform.backup(['Backup Operator']);
    await client.protectedItems.createOrUpdate(...at(VAULT, VM), {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        sourceResourceId: vmId,
        policyId: `${vaultPath()}/backupPolicies/nightly`,
      },
    });
    const { properties } = await client.protectedItems.get(...at(VAULT, VM));
    expect(properties).toMatchObject({
      protectionState: 'Protected',
      policyName: 'nightly',
      // The backup that was cancelled may have come as far as its snapshots, which are a point.
      extendedInfo: { recoveryPointCount: (await all(client.recoveryPoints.list(...at(VAULT, VM)))).length },
    });
  });
});

const vaultPath = (): string =>
  `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}`;
const itemPath = (): string =>
  `${vaultPath()}/backupFabrics/Azure/protectionContainers/${containerOf(VM)}/protectedItems/${itemOf(VM)}`;
const accountId = (name: string): string =>
  `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/strata-local/providers/Microsoft.Storage/storageAccounts/${name}`;
