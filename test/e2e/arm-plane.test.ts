import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ArmPlatform, GROUP, LOCATION, startArmPlatform } from '../support/arm-platform.ts';

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
