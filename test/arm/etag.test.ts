import { beforeEach, describe, expect, it } from 'vitest';
import { armApi } from '../../shared/arm/serve.ts';
import { bodyOf } from '../support/body-of.ts';
import { SUBSCRIPTION } from '../support/life.ts';
import { type World, createWorld } from '../support/world.ts';

/* If-Match and If-None-Match on all that has an ETag, and what a PUT of a vault leaves alone. */

const V = `/subscriptions/${SUBSCRIPTION}/resourceGroups/bk/providers/Microsoft.RecoveryServices/vaults/v1`;
const I = (group: string) =>
  `/backupFabrics/Azure/protectionContainers/IaasVMContainer;iaasvmcontainerv2;${group};vm/protectedItems/VM;iaasvmcontainerv2;${group};vm`;

let world: World;
let item: string;

interface Answer {
  readonly status: number;
  readonly etag: string | undefined;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  readonly body: any;
}

async function ask(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const tokens = { issuer: '', audiences: [], jwksUrl: '' };
  const config = { subscriptionId: SUBSCRIPTION, tokens, publicUrl: undefined };
  const serve = armApi({ config, ports: world.ports }, async () => ({ name: 'me', roles: ['Backup Contributor'] }));
  const answer = await serve({
    method,
    url: `http://strata${V}${path}?api-version=2023-06-01`,
    headers: new Headers(headers),
    body: bodyOf(body === undefined ? '' : JSON.stringify(body)),
  });
  return { status: answer.status, etag: answer.headers?.['etag'], body: answer.body };
}

beforeEach(async () => {
  world = await createWorld();
  await world.createVm('vm', [65_536]);
  await world.protect('vm');
  for await (const { row } of world.ports.catalog.items.listAll()) item = I(row.resourceGroup);
});

const AT = '2026-01-05T01:30:00Z';
const policy = {
  properties: {
    backupManagementType: 'AzureIaasVM',
    schedulePolicy: {
      schedulePolicyType: 'SimpleSchedulePolicy',
      scheduleRunFrequency: 'Daily',
      scheduleRunTimes: [AT],
    },
    retentionPolicy: {
      retentionPolicyType: 'LongTermRetentionPolicy',
      dailySchedule: { retentionTimes: [AT], retentionDuration: { count: 14, durationType: 'Days' } },
    },
  },
};
const vault = { location: 'westeurope', properties: {} };
const stop = () => ({
  properties: {
    protectedItemType: 'Microsoft.Compute/virtualMachines',
    protectionState: 'ProtectionStopped',
    policyId: '',
  },
});

describe.each<[what: string, path: () => string, write: [method: string, body: unknown]]>([
  ['a vault, by PUT', () => '', ['PUT', vault]],
  ['a vault, by PATCH', () => '', ['PATCH', { tags: { a: 'b' } }]],
  ['a policy', () => '/backupPolicies/nightly', ['PUT', policy]],
  ['an item', () => item, ['PUT', stop()]],
])('the ETag of %s', (_what, path, [method, body]) => {
  it('stands in header and body, and in lists', async () => {
    const { etag, body: shown } = await ask('GET', path());
    expect(etag).toMatch(/^"[0-9a-f]{32}"$/);
    expect(shown.eTag ?? shown.etag).toBe(etag);
    expect((await ask('GET', path())).etag).toBe(etag);
  });

  it('must be the one that If-Match names, and is another afterwards', async () => {
    const { etag } = await ask('GET', path());
    const wrong = await ask(method, path(), body, { 'if-match': '"0123"' });
    expect([wrong.status, wrong.body.error.code]).toEqual([412, 'PreconditionFailed']);
    expect(wrong.body.error.message).toContain(etag);
    expect((await ask('GET', path())).etag).toBe(etag);
    expect((await ask(method, path(), body, { 'if-match': `"other", ${etag}` })).status).toBeLessThan(300);
    expect((await ask('GET', path())).etag).not.toBe(etag);
    expect((await ask(method, path(), body, { 'if-match': etag! })).status).toBe(412);
  });

  it('is any for *, and If-None-Match: * wants none', async () => {
    const refused = await ask(method, path(), body, { 'if-none-match': '*' });
    expect([refused.status, refused.body.error.target]).toEqual([412, 'If-None-Match']);
    expect((await ask(method, path(), body, { 'if-match': '*' })).status).toBeLessThan(300);
  });

  it('lets one of two pass who name it at once', async () => {
    const { etag } = await ask('GET', path());
    const both = await Promise.all([1, 2].map(() => ask(method, path(), body, { 'if-match': etag! })));
    expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([expect.any(Number), 412]);
    expect(Math.min(...both.map(({ status }) => status))).toBeLessThan(300);
  });
});

describe('what is not there', () => {
  it('is made with If-None-Match: *, once, and never with If-Match', async () => {
    const path = '/backupPolicies/fresh';
    expect((await ask('PUT', path, policy, { 'if-match': '*' })).status).toBe(412);
    expect((await ask('PUT', path, policy, { 'if-none-match': '*' })).status).toBe(200);
    expect((await ask('PUT', path, policy, { 'if-none-match': '*' })).status).toBe(412);
  });

  it('is what a DELETE leaves, of the version that it names alone', async () => {
    const { etag } = await ask('PUT', '/backupPolicies/fresh', policy);
    expect((await ask('DELETE', '/backupPolicies/fresh', undefined, { 'if-match': '"1"' })).status).toBe(412);
    expect((await ask('DELETE', '/backupPolicies/fresh', undefined, { 'if-match': etag! })).status).toBe(200);
    expect((await ask('DELETE', '', undefined, { 'if-match': '"1"' })).status).toBe(412);
  });
});

describe('settings of a vault', () => {
  const security = { softDeleteSettings: { softDeleteState: 'Enabled', softDeleteRetentionPeriodInDays: 30 } };
  const alerts = { azureMonitorAlertSettings: { alertsForAllJobFailures: 'Enabled' } };
  const set = {
    location: 'westeurope',
    tags: { team: 'a' },
    properties: {
      securitySettings: security,
      monitoringSettings: alerts,
      redundancySettings: { standardTierStorageRedundancy: 'GeoRedundant' },
    },
  };

  it.each([
    ['no properties', { location: 'westeurope' }],
    ['empty properties', vault],
    ['empty settings', { location: 'westeurope', properties: { securitySettings: {}, redundancySettings: null } }],
  ])('stay as they are where a PUT has %s', async (_what, body) => {
    expect((await ask('PUT', '', set)).status).toBe(200);
    const { body: after } = await ask('PUT', '', body);
    expect(after).toMatchObject({ tags: set.tags, properties: set.properties });
  });

  it('change where a PUT speaks of them, and only there', async () => {
    await ask('PUT', '', set);
    const change = { securitySettings: { softDeleteSettings: { softDeleteRetentionPeriodInDays: 14 } } };
    const { body } = await ask('PUT', '', { location: 'westeurope', tags: {}, properties: change });
    expect(body.tags).toEqual({});
    expect(body.properties.securitySettings.softDeleteSettings).toEqual({
      softDeleteState: 'Enabled',
      softDeleteRetentionPeriodInDays: 14,
    });
    expect(body.properties.monitoringSettings).toMatchObject(alerts);
  });

  it('show the version of the vault in their other view', async () => {
    const { etag } = await ask('GET', '');
    expect(await ask('GET', '/backupconfig/vaultconfig')).toMatchObject({ etag, body: { eTag: etag } });
  });
});
