import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  type ArmPlatform,
  at,
  dailyPolicy,
  GROUP,
  LOCATION,
  makeDisk,
  makeVm,
  startArmPlatform,
} from '../support/arm-platform.ts';

/* An immutable vault, with the official clients over TLS, as a contributor. */

const VAULT = 'worm-vault';
const VM = 'worm1';

let platform: ArmPlatform;
let vmId: string;

const setTo = (state: 'Disabled' | 'Unlocked' | 'Locked') =>
  platform
    .vaults()
    .vaults.update(GROUP, VAULT, { properties: { securitySettings: { immutabilitySettings: { state } } } });
const protectWith = (policy: string) =>
  platform.backup().protectedItems.createOrUpdate(...at(VAULT, VM), {
    properties: {
      protectedItemType: 'Microsoft.Compute/virtualMachines',
      sourceResourceId: vmId,
      policyId: `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}/backupPolicies/${policy}`,
    },
  });
const setPolicy = (name: string, days: number) =>
  platform.backup().protectionPolicies.createOrUpdate(VAULT, GROUP, name, { properties: dailyPolicy(days) });
const refused = { statusCode: 409, code: 'VaultIsImmutable' };

beforeAll(async () => {
  platform = await startArmPlatform();
  const os = await makeDisk(platform, 'stratadisks1', 'worm1-os.vhd', 2 ** 20, []);
  vmId = await makeVm(platform, VM, { os: os.url });
  const { vaults } = platform.vaults();
  await vaults.createOrUpdate(GROUP, VAULT, { location: LOCATION, sku: { name: 'Standard' }, properties: {} });
  await setPolicy('nightly', 14);
  await setPolicy('short', 7);
  await protectWith('nightly');
});
afterAll(() => platform?.stop());

it('unlocked it refuses what would remove or shorten, and can be taken back', async () => {
  const { vaults } = platform.vaults();
  expect((await setTo('Unlocked')).properties?.securitySettings?.immutabilitySettings?.state).toBe('Unlocked');
  await expect(platform.backup().protectedItems.delete(...at(VAULT, VM))).rejects.toMatchObject(refused);
  await expect(setPolicy('nightly', 7)).rejects.toMatchObject(refused);
  await expect(protectWith('short')).rejects.toMatchObject(refused);
  const off = { properties: { securitySettings: { softDeleteSettings: { softDeleteState: 'Disabled' } } } };
  await expect(vaults.update(GROUP, VAULT, off)).rejects.toMatchObject(refused);
  expect((await setPolicy('nightly', 20)).properties).toMatchObject({ protectedItemsCount: 1 });

  await setTo('Disabled');
  await setPolicy('nightly', 14);
  await protectWith('short');
  await protectWith('nightly');
});

it('locked it stays so', async () => {
  await setTo('Locked');
  await setTo('Locked');
  for (const state of ['Disabled', 'Unlocked'] as const)
    await expect(setTo(state)).rejects.toMatchObject({ statusCode: 409, code: 'VaultImmutabilityLocked' });
  await expect(platform.backup().protectedItems.delete(...at(VAULT, VM))).rejects.toMatchObject({
    ...refused,
    message: expect.stringContaining('for everybody and for good'),
  });
  const { properties } = await platform.vaults().vaults.get(GROUP, VAULT);
  expect(properties?.securitySettings?.immutabilitySettings?.state).toBe('Locked');
});
