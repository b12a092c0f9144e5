import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  all,
  type ArmPlatform,
  at,
  containerOf,
  GROUP,
  itemOf,
  LOCATION,
  makeDisk,
  makeVm,
  startArmPlatform,
} from '../support/arm-platform.ts';

/* What clients ask of vaults besides backups, through the official clients and over TLS. */

const VAULT = 'plane-vault';

let platform: ArmPlatform;

beforeAll(async () => {
  platform = await startArmPlatform();
  await platform.vaults().vaults.createOrUpdate(GROUP, VAULT, {
    location: LOCATION,
    sku: { name: 'Standard' },
    properties: {},
  });
});
afterAll(() => platform?.stop());

/** What an SDK call was refused with. */
async function refusal(call: PromiseLike<unknown>): Promise<[status: unknown, code: unknown]> {
  try {
    await call;
  } catch (error) {
    const { statusCode, code } = error as { statusCode?: number; code?: string };
    return [statusCode, code];
  }
  throw new Error('it was not refused');
}

describe('settings of a vault', () => {
  it('soft delete is set by the client of the backup plane, and the vault shows it', async () => {
    const { backupResourceVaultConfigs: configs } = platform.backup();
    expect((await configs.get(VAULT, GROUP)).properties).toMatchObject({ softDeleteFeatureState: 'Enabled' });
    const properties = { softDeleteFeatureState: 'Disabled', enhancedSecurityState: 'Disabled' };
    expect((await configs.update(VAULT, GROUP, { properties })).properties).toMatchObject(properties);
    const put = await configs.put(VAULT, GROUP, { properties: { softDeleteRetentionPeriodInDays: 20 } });
    expect(put.properties).toMatchObject({ ...properties, softDeleteRetentionPeriodInDays: 20 });
    const vault = await platform.vaults().vaults.get(GROUP, VAULT);
    expect(vault.properties?.securitySettings?.softDeleteSettings).toMatchObject({
      softDeleteState: 'Disabled',
      softDeleteRetentionPeriodInDays: 20,
    });
    const wrong = configs.update(VAULT, GROUP, { properties: { softDeleteRetentionPeriodInDays: 3 } });
    expect(await refusal(wrong)).toEqual([400, 'InvalidRequest']);
    const operator = platform.backup(['Backup Operator']).backupResourceVaultConfigs;
    expect(await refusal(operator.update(VAULT, GROUP, { properties }))).toEqual([403, 'AuthorizationFailed']);
  });

  it('redundancy is set by either client, and both show it', async () => {
    const { backupResourceStorageConfigsNonCRR: configs } = platform.backup(['Backup Operator']);
    const set = await configs.update(VAULT, GROUP, { properties: { storageModelType: 'GeoRedundant' } });
    expect(set.properties).toMatchObject({ storageType: 'GeoRedundant', storageTypeState: 'Unlocked' });
    await platform.vaults().vaults.update(GROUP, VAULT, {
      properties: { redundancySettings: { standardTierStorageRedundancy: 'ZoneRedundant' } },
    });
    expect((await configs.get(VAULT, GROUP)).properties).toMatchObject({ storageType: 'ZoneRedundant' });
    await configs.patch(VAULT, GROUP, { properties: { storageModelType: 'LocallyRedundant' } });
    expect((await configs.get(VAULT, GROUP)).properties).toMatchObject({ storageModelType: 'LocallyRedundant' });
    const wrong = configs.update(VAULT, GROUP, { properties: { crossRegionRestoreFlag: true } });
    expect(await refusal(wrong)).toEqual([400, 'InvalidRequest']);
    expect(await refusal(configs.get('no-vault', GROUP))).toEqual([404, 'ResourceNotFound']);
  });

  it('a vault is made with immutability and without public access, as newer clients ask for it', async () => {
    const { vaults } = platform.vaults();
    const properties = {
      publicNetworkAccess: 'Disabled',
      securitySettings: { immutabilitySettings: { state: 'Unlocked' } },
    };
    await vaults.createOrUpdate(GROUP, 'closed-vault', { location: LOCATION, sku: { name: 'Standard' }, properties });
    expect((await vaults.get(GROUP, 'closed-vault')).properties).toMatchObject(properties);
    await vaults.delete(GROUP, 'closed-vault');
    expect(await refusal(vaults.get(GROUP, 'closed-vault'))).toEqual([404, 'ResourceNotFound']);
  });
});

describe('features', () => {
  const API = 'api-version=2021-07-01';
  const FEATURE = 'Microsoft.RecoveryServices/features/InstantBackupandRecovery';
  const at = (path: string) =>
    `/subscriptions/${platform.endpoints.subscriptionId}/providers/Microsoft.Features/${path}?${API}`;

  it('the upgrade of the stack is found, registered, listed, and not taken back', async () => {
    const ask = async (method: string, path: string) => {
      const { status, body } = await platform.call(method, at(path));
      return [status, body?.properties?.state ?? body?.error?.code ?? body?.value.length];
    };
    expect(await ask('GET', `providers/${FEATURE}`)).toEqual([200, 'NotRegistered']);
    expect(await ask('GET', 'subscriptionFeatureRegistrations')).toEqual([200, 0]);
    expect(await ask('POST', `providers/${FEATURE}/register`)).toEqual([200, 'Registered']);
    expect(await ask('POST', `providers/${FEATURE.toLowerCase()}/register`)).toEqual([200, 'Registered']);
    expect(await ask('GET', 'features')).toEqual([200, 1]);
    const registrations = 'featureProviders/Microsoft.RecoveryServices/subscriptionFeatureRegistrations';
    expect(await ask('GET', registrations)).toEqual([200, 1]);
    expect(await ask('PUT', `${registrations}/InstantBackupandRecovery`)).toEqual([200, 'Registered']);
    expect(await ask('POST', `providers/${FEATURE}/unregister`)).toEqual([409, 'FeatureRegistrationOneWay']);
    expect(await ask('DELETE', `${registrations}/InstantBackupandRecovery`)).toEqual([
      409,
      'FeatureRegistrationOneWay',
    ]);
    expect(await ask('POST', 'providers/Microsoft.RecoveryServices/features/Other/register')).toEqual([
      404,
      'FeatureNotFound',
    ]);
  });
});

describe('discovery', () => {
  const VM = 'plane1';
  let vmId: string;
  let operation: string;
  const vaultId = () =>
    `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}`;
  const place = [VAULT, GROUP, 'Azure', containerOf(VM)] as const;
  const container = { properties: { containerType: 'Microsoft.Compute/virtualMachines' as const } };

  beforeAll(async () => {
    const disk = await makeDisk(platform, 'stratadisks1', 'plane1-os.vhd', 2 ** 20, []);
    vmId = await makeVm(platform, VM, { os: disk.url });
  });

  it('before protection: names, regions, features, and whether a VM could be protected', async () => {
    const { recoveryServices, operations, deletedVaults } = platform.vaults(['Backup Reader']);
    const type = 'Microsoft.RecoveryServices/Vaults';
    const check = (name: string) => recoveryServices.checkNameAvailability(GROUP, LOCATION, { type, name });
    expect(await check('free-vault')).toMatchObject({ nameAvailable: true });
    expect(await check(VAULT)).toMatchObject({ nameAvailable: false, reason: 'AlreadyExists' });
    expect(
      await refusal(recoveryServices.checkNameAvailability(GROUP, LOCATION, { type: 'Other', name: 'a' })),
    ).toEqual([400, 'InvalidRequest']);
    expect((await recoveryServices.capabilities(LOCATION, { type })).properties?.dnsZones).toEqual([]);
    expect(await all(deletedVaults.listBySubscriptionId(LOCATION))).toEqual([]);
    expect(await refusal(deletedVaults.get(LOCATION, 'gone'))).toEqual([404, 'ResourceNotFound']);
    expect((await all(operations.list())).length).toBeGreaterThan(40);

    const client = platform.backup(['Backup Operator']);
    expect((await all(client.operations.list())).length).toBeGreaterThan(40);
    const vm = { featureType: 'AzureVMResourceBackup' as const, vmSize: 'Standard_D2s_v3' };
    expect(await client.featureSupport.validate(LOCATION, vm)).toMatchObject({ supportStatus: 'Supported' });
    const validate = (resourceId: string) =>
      client.protectionIntentOperations.validate(LOCATION, { resourceType: 'VM', resourceId, vaultId: vaultId() });
    expect(await validate(vmId)).toMatchObject({ status: 'Succeeded', protectedItemName: itemOf(VM) });
    expect(await validate(vmId.replace(VM, 'ghost'))).toMatchObject({ status: 'Failed', errorCode: 'VMNotFoundV2' });
    const reader = platform.backup(['Backup Reader']).protectionIntentOperations;
    expect(
      await refusal(reader.validate(LOCATION, { resourceType: 'VM', resourceId: vmId, vaultId: vaultId() })),
    ).toEqual([403, 'AuthorizationFailed']);
    expect(await refusal(client.protectionContainers.beginRegisterAndWait(...place, container))).toEqual([
      400,
      'OperationNotSupported',
    ]);
  });

  it('containers, their operations, and lists of what there is not', async () => {
    const client = platform.backup();
    const policyId = `${vaultId()}/backupPolicies/DefaultPolicy`;
    let link: string | undefined;
    await client.protectedItems.createOrUpdate(
      ...at(VAULT, VM),
      { properties: { protectedItemType: 'Microsoft.Compute/virtualMachines', sourceResourceId: vmId, policyId } },
      { onResponse: ({ headers }) => (link ??= headers.get('azure-asyncoperation')) },
    );
    operation = /\/([^/?]+)\?/.exec(link!.slice(link!.lastIndexOf('/')))![1]!;
    const registered = await client.protectionContainers.beginRegisterAndWait(...place, container);
    expect(registered).toMatchObject({ name: containerOf(VM), properties: { registrationStatus: 'Registered' } });
    expect(await refusal(client.protectionContainers.unregister(...place))).toEqual([409, 'ContainerHasProtectedItem']);
    await client.protectionContainers.unregister(VAULT, GROUP, 'Azure', containerOf('ghost'));
    await client.protectionContainers.inquire(...place);
    expect(await all(client.backupWorkloadItems.list(...place))).toEqual([]);
    expect(await all(client.protectableContainers.list(VAULT, GROUP, 'Azure'))).toEqual([]);
    expect(await all(client.backupProtectionIntent.list(VAULT, GROUP))).toEqual([]);
    expect(await all(client.backupEngines.list(VAULT, GROUP))).toEqual([]);
    expect(await all(client.deletedProtectionContainers.list(GROUP, VAULT))).toEqual([]);
    await client.protectionIntentOperations.delete(VAULT, GROUP, 'Azure', 'any');
    expect(await refusal(client.protectionIntentOperations.get(VAULT, GROUP, 'Azure', 'any'))).toEqual([
      404,
      'ResourceNotFound',
    ]);
  });

  it('operations, at the item, the vault, the policy and the container', async () => {
    const client = platform.backup(['Backup Reader']);
    const { protectedItemOperationStatuses, protectedItemOperationResults } = client;
    expect((await protectedItemOperationStatuses.get(...at(VAULT, VM), operation)).status).toBe('Succeeded');
    expect((await protectedItemOperationResults.get(...at(VAULT, VM), operation)).name).toBe(itemOf(VM));
    await client.backupOperationResults.get(VAULT, GROUP, operation);
    const vaults = platform.vaults(['Backup Reader']);
    expect((await vaults.getOperationStatus(GROUP, VAULT, operation)).status).toBe('Succeeded');
    expect((await vaults.getOperationResult(GROUP, VAULT, operation))?.name).toBe(VAULT);
    const unknown = [404, 'OperationNotFound'];
    expect(await refusal(protectedItemOperationStatuses.get(...at(VAULT, 'ghost'), operation))).toEqual(unknown);
    expect(await refusal(client.backupOperationStatuses.get(VAULT, GROUP, 'nobodys'))).toEqual(unknown);
    expect(await refusal(vaults.getOperationStatus(GROUP, VAULT, 'nobodys'))).toEqual(unknown);
    const policy = [VAULT, GROUP, 'DefaultPolicy', operation] as const;
    expect(await refusal(client.protectionPolicyOperationStatuses.get(...policy))).toEqual(unknown);
    expect(await refusal(client.protectionPolicyOperationResults.get(...policy))).toEqual(unknown);
    expect(await refusal(client.protectionContainerOperationResults.get(...place, operation))).toEqual(unknown);
  });

  it('usages', async () => {
    const vaults = platform.vaults(['Backup Reader']);
    const usages = await all(vaults.usages.listByVaults(GROUP, VAULT));
    expect(usages.map(({ name, currentValue }) => [name?.value, currentValue])).toContainEqual([
      'ProtectedItemCount',
      1,
    ]);
    expect(await all(vaults.replicationUsages.list(GROUP, VAULT))).toEqual([]);
    expect(await all(vaults.privateLinkResources.list(GROUP, VAULT))).toEqual([]);
    expect(await refusal(all(vaults.usages.listByVaults(GROUP, 'no-vault')))).toEqual([404, 'ResourceNotFound']);
    const { backupUsageSummaries } = platform.backup(['Backup Reader']);
    const filter = "type eq 'BackupProtectedItemCountSummary'";
    expect((await all(backupUsageSummaries.list(VAULT, GROUP, { filter })))[0]?.currentValue).toBe(1);
    expect(await refusal(all(backupUsageSummaries.list(VAULT, GROUP)))).toEqual([400, 'InvalidRequest']);
  });

  it('restores are validated, at once or as an operation', async () => {
    const client = platform.backup(['Backup Operator']);
    const properties = {
      objectType: 'ValidateIaasVMRestoreOperationRequest' as const,
      restoreRequest: {
        objectType: 'IaasVMRestoreRequest' as const,
        recoveryPointId: '1',
        recoveryType: 'AlternateLocation',
        sourceResourceId: vmId,
        storageAccountId: 'nowhere',
      },
    };
    const request = { id: vmId, properties };
    const { validateOperationResponse } = await client.operation.validate(VAULT, GROUP, request);
    expect(validateOperationResponse?.validationResults?.map(({ code }) => code)).toEqual([
      'ResourceNotFound',
      'UserErrorInvalidRestoreRequest',
      'UserErrorInvalidRestoreRequest',
    ]);
    let link: string | undefined;
    const onResponse = (raw: { headers: { get(name: string): string | undefined } }) =>
      (link ??= raw.headers.get('azure-asyncoperation'));
    await client.validateOperation.beginTriggerAndWait(VAULT, GROUP, request, { onResponse });
    const id = /Statuses\/([^?]+)/.exec(link!)![1]!;
    const result = await client.validateOperationResults.get(VAULT, GROUP, id);
    expect(result.validateOperationResponse).toEqual(validateOperationResponse);
    expect((await client.validateOperationStatuses.get(VAULT, GROUP, id)).properties).toMatchObject({
      objectType: 'OperationStatusValidateOperationExtendedInfo',
    });
    expect(await refusal(client.validateOperationResults.get(VAULT, GROUP, 'nobodys'))).toEqual([
      404,
      'OperationNotFound',
    ]);
    const reader = platform.backup(['Backup Reader']).operation;
    expect(await refusal(reader.validate(VAULT, GROUP, request))).toEqual([403, 'AuthorizationFailed']);
  });
});
