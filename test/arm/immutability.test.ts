import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { armApi } from '../../shared/arm/serve.ts';
import { readPolicy } from '../../shared/services/policies.ts';
import { bodyOf } from '../support/body-of.ts';
import { SUBSCRIPTION } from '../support/life.ts';
import { VAULT, type World, createWorld } from '../support/world.ts';

/* What an immutable vault refuses, whoever asks: a contributor, who may do everything else. */

const V = `/subscriptions/${SUBSCRIPTION}/resourceGroups/bk/providers/Microsoft.RecoveryServices/vaults/v1`;
const VM_TYPE = 'Microsoft.Compute/virtualMachines';
const ITEM =
  '/backupFabrics/Azure/protectionContainers/IaasVMContainer;iaasvmcontainerv2;app;vm/protectedItems/VM;iaasvmcontainerv2;app;vm';
const KEY = 'app;vm';
const AT = '2026-01-05T01:30:00Z';

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  readonly body: any;
}
type Ask = (method: string, path: string, body?: unknown) => Promise<Answer>;

async function ground(): Promise<{ world: World; ask: Ask }> {
  const world = await createWorld();
  await world.createVm('vm', [65_536]);
  const config = {
    subscriptionId: SUBSCRIPTION,
    tokens: { issuer: '', audiences: [], jwksUrl: '' },
    publicUrl: undefined,
  };
  const serve = armApi({ config, ports: world.ports }, async () => ({ name: 'me', roles: ['Backup Contributor'] }));
  const ask: Ask = async (method, path, body) => {
    const { status, body: answered } = await serve({
      method,
      url: `http://strata${V}${path}?api-version=2023-06-01`,
      headers: new Headers(),
      body: bodyOf(body === undefined ? '' : JSON.stringify(body)),
    });
    return { status, body: answered, code: (answered as { error?: { code: string } } | undefined)?.error?.code };
  };
  for (const [name, days] of Object.entries(POLICIES)) await ask('PUT', `/backupPolicies/${name}`, policy(days));
  await ask('PUT', ITEM, protecting('middle'));
  return { world, ask };
}

const POLICIES = { short: 7, middle: 14, long: 30 };
const policy = (days: number) => ({
  properties: {
    backupManagementType: 'AzureIaasVM',
    instantRpRetentionRangeInDays: 1,
    schedulePolicy: {
      schedulePolicyType: 'SimpleSchedulePolicy',
      scheduleRunFrequency: 'Daily',
      scheduleRunTimes: [AT],
    },
    retentionPolicy: {
      retentionPolicyType: 'LongTermRetentionPolicy',
      dailySchedule: { retentionTimes: [AT], retentionDuration: { count: days, durationType: 'Days' } },
    },
  },
});
const protecting = (name: string) => ({
  properties: {
    protectedItemType: VM_TYPE,
    sourceResourceId: `/subscriptions/${SUBSCRIPTION}/resourceGroups/app/providers/${VM_TYPE}/vm`,
    policyId: `${V}/backupPolicies/${name}`,
  },
});
const stopping = { properties: { protectedItemType: VM_TYPE, policyId: '', protectionState: 'ProtectionStopped' } };
const immutable = (state: string) => ({ properties: { securitySettings: { immutabilitySettings: { state } } } });
const softDelete = (softDeleteState?: string, softDeleteRetentionPeriodInDays?: number) => ({
  properties: { securitySettings: { softDeleteSettings: { softDeleteState, softDeleteRetentionPeriodInDays } } },
});

describe.each(['Unlocked', 'Locked'])('an immutable vault (%s)', (state) => {
  it.each<[what: string, method: string, path: string, body?: unknown]>([
    ['deletes no data', 'DELETE', ITEM],
    ['keeps points no shorter by a change of their policy', 'PUT', '/backupPolicies/middle', policy(13)],
    ['keeps points no shorter by another policy', 'PUT', ITEM, protecting('short')],
    ['does not switch soft delete off', 'PATCH', '', softDelete('Disabled')],
    ['does not switch soft delete off by PUT', 'PUT', '', { location: 'westeurope', ...softDelete('Disabled') }],
    ['does not undelete for fewer days', 'PATCH', '', softDelete(undefined, 20)],
  ])('%s', async (_what, method, path, body) => {
    const { ask } = await ground();
    expect((await ask('PATCH', '', softDelete('Enabled', 30))).status).toBe(200);
    const before = await ask('GET', path);
    expect((await ask('PATCH', '', immutable(state))).status).toBe(200);
    expect(await ask(method, path, body)).toMatchObject({ status: 409, code: 'VaultIsImmutable' });
    if (path !== '') expect((await ask('GET', path)).body).toEqual(before.body);
  });

  it('lets points be kept longer, and protection be stopped and resumed with as much', async () => {
    const { ask } = await ground();
    await ask('PATCH', '', immutable(state));
    expect((await ask('PUT', '/backupPolicies/middle', policy(20))).status).toBe(200);
    expect((await ask('PUT', ITEM, stopping)).status).toBe(202);
    expect((await ask('PUT', ITEM, stopping)).status).toBe(202);
    // 14 days would be fewer than those of the policy that it was stopped under.
    expect((await ask('PUT', '/backupPolicies/other', policy(14))).status).toBe(200);
    expect(await ask('PUT', ITEM, protecting('other'))).toMatchObject({ status: 409, code: 'VaultIsImmutable' });
    expect((await ask('PUT', ITEM, protecting('middle'))).status).toBe(202);
    expect((await ask('PUT', ITEM, protecting('long'))).status).toBe(202);
    expect((await ask('PATCH', '', { tags: { a: 'b' } })).status).toBe(200);
    expect(
      (await ask('PUT', '', { location: 'westeurope', properties: {} })).body.properties.securitySettings,
    ).toMatchObject({
      immutabilitySettings: { state },
    });
  });
});

it('Unlocked can be taken back, Locked cannot, by nobody', async () => {
  const { ask } = await ground();
  for (const state of ['Unlocked', 'Disabled', 'Unlocked', 'Locked', 'Locked'])
    expect((await ask('PATCH', '', immutable(state))).status).toBe(200);
  for (const state of ['Disabled', 'Unlocked']) {
    expect(await ask('PATCH', '', immutable(state))).toMatchObject({ status: 409, code: 'VaultImmutabilityLocked' });
    const put = await ask('PUT', '', { location: 'westeurope', ...immutable(state) });
    expect(put).toMatchObject({ status: 409, code: 'VaultImmutabilityLocked' });
  }
  expect((await ask('GET', '')).body.properties.securitySettings.immutabilitySettings.state).toBe('Locked');
});

it('soft delete that is AlwaysON stays so, in any vault', async () => {
  const { ask } = await ground();
  expect((await ask('PATCH', '', softDelete('AlwaysON'))).status).toBe(200);
  for (const state of ['Enabled', 'Disabled'])
    expect(await ask('PATCH', '', softDelete(state))).toMatchObject({ code: 'BMSUserErrorSoftDeleteStateAlwaysOn' });
  expect((await ask('PATCH', '', softDelete('AlwaysON', 30))).status).toBe(200);
});

it('whatever is asked of a locked vault, in whatever order, nothing is kept for less time than before', async () => {
  const name = fc.constantFrom('short', 'middle', 'long');
  const call = fc.oneof(
    fc.tuple(
      fc.constant('PUT'),
      name.map((own) => `/backupPolicies/${own}`),
      fc.integer({ min: 1, max: 40 }).map(policy),
    ),
    fc.tuple(
      fc.constant('DELETE'),
      name.map((own) => `/backupPolicies/${own}`),
      fc.constant(undefined),
    ),
    fc.tuple(fc.constant('PUT'), fc.constant(ITEM), name.map(protecting)),
    fc.tuple(fc.constant('PUT'), fc.constant(ITEM), fc.constant(stopping)),
    fc.tuple(
      fc.constant('PUT'),
      fc.constant(ITEM),
      fc.constant({ properties: { ...stopping.properties, isRehydrate: true } }),
    ),
    fc.tuple(fc.constant('DELETE'), fc.constant(ITEM), fc.constant(undefined)),
    fc.tuple(fc.constant('PATCH'), fc.constant(''), fc.constantFrom('Disabled', 'Unlocked').map(immutable)),
    fc.tuple(
      fc.constant('PATCH'),
      fc.constant(''),
      fc
        .tuple(fc.constantFrom('Enabled', 'Disabled', 'AlwaysON'), fc.integer({ min: 14, max: 40 }))
        .map((to) => softDelete(...to)),
    ),
    fc.tuple(fc.constant('PUT'), fc.constant(''), fc.constant({ location: 'westeurope', properties: {} })),
    fc.tuple(fc.constant('DELETE'), fc.constant(''), fc.constant(undefined)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(call, { minLength: 3, maxLength: 12 }), async (calls) => {
      const { world, ask } = await ground();
      await ask('PATCH', '', immutable('Locked'));
      let [keptDays, undeleteDays] = [0, 0];
      for (const [method, path, body] of calls) {
        expect((await ask(method, path, body)).status).toBeLessThan(500);
        const { immutabilitySettings, softDeleteSettings } = (await ask('GET', '')).body.properties.securitySettings;
        expect(immutabilitySettings.state).toBe('Locked');
        expect(softDeleteSettings?.softDeleteState).not.toBe('Disabled');
        const undeletable = softDeleteSettings?.softDeleteRetentionPeriodInDays ?? 14;
        expect(undeletable).toBeGreaterThanOrEqual(undeleteDays);
        undeleteDays = undeletable;
        const { policyName, deferredDelete } = (await world.ports.catalog.items.get(VAULT, KEY))!.row;
        expect(deferredDelete).toBeUndefined();
        if (policyName === '') continue; // stopped: nothing expires
        const { dailyRetentionDays } = (await readPolicy(world.ports, VAULT, policyName)).rules;
        expect(dailyRetentionDays).toBeGreaterThanOrEqual(keptDays);
        keptDays = dailyRetentionDays;
      }
    }),
    { numRuns: 150 },
  );
});
