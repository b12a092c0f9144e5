import { beforeEach, describe, expect, it } from 'vitest';
import { changeItem } from '../../shared/services/items.ts';
import { type Answer, askWorld, GROUP_PATH, SUBSCRIPTION_PATH, VAULT_PATH } from '../support/ask-world.ts';
import { VAULT, type World, createWorld } from '../support/world.ts';

/* What clients ask of a region, of what could be protected and of what is. */

const LOCATION = `${SUBSCRIPTION_PATH}/providers/Microsoft.RecoveryServices/locations/westeurope`;
const FABRIC = `${VAULT_PATH}/backupFabrics/Azure`;

let world: World;
let vmId: string;
let group: string;
let key: string;
const ask = (method: string, path: string, body?: unknown): Promise<Answer> => askWorld(world, method, path, body);
const containerOf = (vm: string) => `${FABRIC}/protectionContainers/IaasVMContainer;iaasvmcontainerv2;${group};${vm}`;
const itemOf = (vm: string) => `${containerOf(vm)}/protectedItems/VM;iaasvmcontainerv2;${group};${vm}`;
const refused = async (...call: Parameters<typeof ask>) => {
  const { status, body } = await ask(...call);
  return [status, body?.error?.code, body?.error?.message];
};
const names = async (path: string): Promise<string[]> =>
  (await ask('GET', path)).body.value.map(({ properties }: Answer['body']) => properties.friendlyName);

async function deleteSoftly(): Promise<void> {
  const at = world.clock.now();
  const deferredDelete = { at, until: at + 1000, retentionDays: 14, by: 'me' };
  await changeItem(world.ports, VAULT, key, (row) => ({ ...row, deferredDelete }));
}

beforeEach(async () => {
  world = await createWorld();
  await world.createVm('vm', [65_536]);
  await world.protect('vm');
  for await (const { key: own, row } of world.ports.catalog.items.listAll())
    [key, vmId, group] = [own, row.vmResourceId, row.resourceGroup.toLowerCase()];
  await world.createVm('other', [65_536]);
});

describe('the container of a VM', () => {
  const body = {
    properties: { containerType: 'Microsoft.Compute/virtualMachines', backupManagementType: 'AzureIaasVM' },
  };

  it('is registered while the VM is protected, and registering it changes nothing', async () => {
    const { status, body: shown } = await ask('PUT', containerOf('VM'), body);
    expect([status, shown.properties.registrationStatus]).toEqual([200, 'Registered']);
    expect(shown).toEqual((await ask('GET', containerOf('vm'))).body);
  });

  it('is not registered for a VM that nobody protects, and gone already', async () => {
    expect(await refused('PUT', containerOf('other'), body)).toEqual([
      400,
      'OperationNotSupported',
      expect.stringMatching(/by protecting it/),
    ]);
    expect((await ask('DELETE', containerOf('other'))).status).toBe(204);
    expect((await refused('POST', `${containerOf('other')}/inquire`))[0]).toBe(404);
    expect((await refused('GET', `${containerOf('other')}/items`))[0]).toBe(404);
  });

  it('stays as long as its item, softly deleted or not', async () => {
    const inUse = [409, 'ContainerHasProtectedItem', expect.stringMatching(/item vm/)];
    expect(await refused('DELETE', containerOf('vm'))).toEqual(inUse);
    await deleteSoftly();
    expect(await refused('DELETE', containerOf('vm'))).toEqual(inUse);
  });

  it('has nothing else in it, as an inquiry finds', async () => {
    const { status, headers } = await ask('POST', `${containerOf('vm')}/inquire`);
    expect(status).toBe(202);
    const result = headers['Location']!.replace('http://strata', '');
    expect(result).toContain(`${containerOf('vm').split('/').at(-1)}/operationResults/`);
    expect((await ask('GET', result)).status).toBe(204);
    expect((await ask('GET', `${containerOf('vm')}/items`)).body.value).toEqual([]);
  });

  it('is listed with those of deleted items once its item is deleted softly', async () => {
    const [live, deleted] = ['backupProtectionContainers', 'backupDeletedProtectionContainers'];
    const filter = (status: string) => `${VAULT_PATH}/${live}?$filter=status eq '${status}'`;
    expect([await names(`${VAULT_PATH}/${live}`), await names(`${VAULT_PATH}/${deleted}`)]).toEqual([['vm'], []]);
    expect(await names(filter('registered'))).toEqual(['vm']);
    await deleteSoftly();
    expect(await names(filter('Registered'))).toEqual([]);
    expect(await names(filter('SoftDeleted'))).toEqual(['vm']);
    expect(await names(`${VAULT_PATH}/${deleted}`)).toEqual(['vm']);
    expect((await ask('GET', containerOf('vm'))).body.properties.registrationStatus).toBe('SoftDeleted');
  });
});

describe('what this version does not have', () => {
  it.each([
    `${FABRIC}/protectableContainers`,
    `${VAULT_PATH}/backupProtectionIntents`,
    `${VAULT_PATH}/backupEngines`,
    `${VAULT_PATH}/privateLinkResources`,
    `${VAULT_PATH}/replicationUsages`,
  ])('is an empty list at %s, of a vault that is there', async (path) => {
    expect(await ask('GET', path)).toMatchObject({ status: 200, body: { value: [] } });
    expect((await refused('GET', path.replace('/v1', '/v2')))[1]).toBe('ResourceNotFound');
  });

  it('deleted vaults and intents, which can be deleted', async () => {
    expect((await ask('GET', `${LOCATION}/deletedVaults`)).body.value).toEqual([]);
    expect((await ask('DELETE', `${FABRIC}/backupProtectionIntent/any`)).status).toBe(204);
  });
});

describe('usages', () => {
  const count = async (path: string) =>
    Object.fromEntries(
      (await ask('GET', `${VAULT_PATH}/${path}`)).body.value.map((usage: Answer['body']) => [
        usage.name.value,
        usage.currentValue,
      ]),
    );
  const summary = (type: string) => `backupUsageSummaries?$filter=type eq '${type}'`;

  it('count what is there, and what it takes', async () => {
    expect(await count('usages')).toEqual({
      ProtectedItemCount: 1,
      RecoveryPointCount: 0,
      BackupPolicyCount: expect.any(Number),
      VaultStorage: 0,
    });
    await world.backup('vm');
    await world.settle();
    const partition = (await world.ports.catalog.points.listAll()[Symbol.asyncIterator]().next()).value!.partition;
    let bytes = 0;
    for await (const { row } of world.ports.catalog.points.list(partition)) bytes += row.storedBytes;
    expect(await count('usages')).toMatchObject({ RecoveryPointCount: 1, VaultStorage: bytes });
  });

  it('are summed up by item and by container', async () => {
    for (const type of ['BackupProtectedItemCountSummary', 'backupprotectioncontainercountsummary'])
      expect(await count(summary(type))).toEqual({ AzureIaasVM: 1 });
    await deleteSoftly();
    expect(await count(summary('BackupProtectedItemCountSummary'))).toEqual({ AzureIaasVM: 0 });
    for (const path of ['backupUsageSummaries', summary('Everything')])
      expect(await refused('GET', `${VAULT_PATH}/${path}`)).toEqual([
        400,
        'InvalidRequest',
        expect.stringMatching(/expected BackupProtectedItemCountSummary, BackupProtectionContainerCountSummary/),
      ]);
  });
});

describe('the operations of a provider', () => {
  const operations = async (namespace: string): Promise<string[]> =>
    (await ask('GET', `/providers/${namespace}/operations`)).body.value.map(({ name }: { name: string }) => name);

  it('are those that are served, each once', async () => {
    const vaults = await operations('Microsoft.RecoveryServices');
    expect(vaults).toContain('Microsoft.RecoveryServices/vaults/backupJobs/cancel/action');
    expect(vaults).toContain('Microsoft.RecoveryServices/vaults/write');
    expect(vaults).not.toContain('Microsoft.RecoveryServices/vaults/certificates/write');
    expect(vaults).toEqual([...new Set(vaults)].toSorted());
    expect(await operations('Microsoft.Features')).toContain('Microsoft.Features/providers/features/register/action');
  });
});

describe('before there is a vault', () => {
  const check = async (name: string) =>
    (
      await ask(
        'POST',
        `${GROUP_PATH}/providers/Microsoft.RecoveryServices/locations/westeurope/checkNameAvailability`,
        { type: 'Microsoft.RecoveryServices/Vaults', name },
      )
    ).body;

  it('a name is free, taken, or none', async () => {
    expect(await check('fresh')).toMatchObject({ nameAvailable: true });
    expect(await check('V1')).toMatchObject({ nameAvailable: false, reason: 'AlreadyExists' });
    expect(await check('my_vault')).toMatchObject({
      nameAvailable: false,
      reason: 'Invalid',
      message: expect.stringMatching(/2 to 50 letters/),
    });
  });

  it('what a region can', async () => {
    const vm = { featureType: 'AzureVMResourceBackup', vmSize: 'Standard_D2s_v3', vmSku: 'Premium' };
    expect((await ask('POST', `${LOCATION}/backupValidateFeatures`, vm)).body).toEqual({ supportStatus: 'Supported' });
    const goals = { featureType: 'AzureBackupGoals' };
    expect((await ask('POST', `${LOCATION}/backupValidateFeatures`, goals)).body.supportStatus).toBe('NotSupported');
    expect((await refused('POST', `${LOCATION}/backupValidateFeatures`, { featureType: 'Magic' }))[2]).toMatch(
      /featureType: is "Magic": expected AzureVMResourceBackup/,
    );
    const type = 'Microsoft.RecoveryServices/Vaults';
    expect((await ask('POST', `${LOCATION}/capabilities`, { type })).body).toEqual({
      type,
      properties: { dnsZones: [] },
    });
  });
});

describe('whether a VM could be protected', () => {
  const validate = async (resourceId: string, vault = VAULT_PATH) =>
    (await ask('POST', `${LOCATION}/backupPreValidateProtection`, { resourceType: 'VM', resourceId, vaultId: vault }))
      .body;
  const protect = async (resourceId: string, vm: string) =>
    ask('PUT', itemOf(vm), {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        sourceResourceId: resourceId,
        policyId: `${VAULT_PATH}/backupPolicies/DefaultPolicy`,
      },
    });

  it('is told with the names that it would have, and nothing is done', async () => {
    const other = vmId.replace(/vm$/, 'other');
    const before = (await names(`${VAULT_PATH}/backupProtectedItems`)).length;
    expect(await validate(other)).toMatchObject({
      status: 'Succeeded',
      containerName: containerOf('other').split('/').at(-1),
      protectedItemName: itemOf('other').split('/').at(-1),
    });
    expect((await names(`${VAULT_PATH}/backupProtectedItems`)).length).toBe(before);
    expect((await protect(other, 'other')).status).toBe(202);
    expect(await validate(other)).toMatchObject({ status: 'Succeeded' });
  });

  it.each([
    ['a VM that is not there', () => vmId.replace(/vm$/, 'ghost'), 'ghost'],
    ['an id that is none', () => '/subscriptions/x/vm', 'vm'],
    ['a VM of another subscription', () => vmId.replace(/subscriptions\/[^/]+/, 'subscriptions/other'), 'vm'],
  ])('%s is refused with what protecting it says', async (_what, id, vm) => {
    const found = await validate(id());
    const { body } = await protect(id(), vm);
    expect([found.status, found.errorCode, found.errorMessage]).toEqual([
      'Failed',
      body.error.code,
      body.error.message,
    ]);
  });

  it('one that another vault protects, or that is deleted softly, or in no vault is refused', async () => {
    const v2 = VAULT_PATH.replace('/v1', '/v2');
    expect(await validate(vmId, v2)).toMatchObject({ status: 'Failed', errorCode: 'ResourceNotFound' });
    await ask('PUT', v2, { location: 'westeurope', properties: {} });
    expect(await validate(vmId, v2)).toMatchObject({
      status: 'Failed',
      errorCode: 'BMSUserErrorInvalidConfigureProtectionRequest',
      errorMessage: expect.stringMatching(/protected by vault v1/),
    });
    expect(await validate(vmId, 'v1')).toMatchObject({ status: 'Failed', errorCode: 'InvalidRequest' });
    await deleteSoftly();
    expect(await validate(vmId)).toMatchObject({ status: 'Failed', errorCode: 'ItemSoftDeleted' });
  });

  it('tells no fault of ours as one of the VM', async () => {
    const broken = {
      ...world.ports,
      compute: {
        ...world.ports.compute,
        virtualMachine: async () => {
          throw new TypeError('a fault');
        },
      },
    };
    const { status } = await askWorld({ ports: broken }, 'POST', `${LOCATION}/backupPreValidateProtection`, {
      resourceType: 'VM',
      resourceId: vmId.replace(/vm$/, 'other'),
      vaultId: VAULT_PATH,
    });
    expect(status).toBe(500);
  });
});

describe('backupStatus', () => {
  const status = async () =>
    (await ask('POST', `${LOCATION}/backupStatus`, { resourceType: 'VM', resourceId: vmId })).body;

  it('tells the vault, and that an item in it is deleted softly', async () => {
    expect(await status()).toMatchObject({
      protectionStatus: 'Protected',
      protectedItemsCount: 1,
      vaultId: VAULT_PATH,
    });
    await deleteSoftly();
    expect(await status()).toMatchObject({
      protectionStatus: 'NotProtected',
      registrationStatus: 'SoftDeleted',
      protectedItemsCount: 0,
      vaultId: VAULT_PATH,
    });
  });
});
