import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LOCATION, startRig, SUBSCRIPTION, TENANT, type Rig } from './local-compute.rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

const S = `/subscriptions/${SUBSCRIPTION}`;
const V = 'api-version=2022-12-01';
const account = `${S}/resourceGroups/strata-local/providers/Microsoft.Storage/storageAccounts/stratadisks1`;

describe('the look-ups around compute', () => {
  it('answers subscriptions, tenants, locations and the cloud', async () => {
    const subscriptions = await rig.fetch(`/subscriptions?${V}`);
    expect(subscriptions.body.value).toMatchObject([
      { id: S, subscriptionId: SUBSCRIPTION, state: 'Enabled', tenantId: TENANT, displayName: expect.any(String) },
    ]);
    expect((await rig.fetch(`${S}?${V}`)).body.subscriptionId).toBe(SUBSCRIPTION);
    expect((await rig.fetch(`/tenants?${V}`)).body.value[0].tenantId).toBe(TENANT);
    expect((await rig.fetch(`${S}/locations?${V}`)).body.value[0].name).toBe(LOCATION);
    const cloud = await rig.fetch('/metadata/endpoints?api-version=2022-09-01', { authorization: null });
    expect(cloud.body).toMatchObject({
      name: expect.any(String),
      authentication: { loginEndpoint: expect.stringMatching(/\/adfs$/), audiences: [rig.identity.audience] },
      suffixes: {},
    });
  });

  it('finds a storage account in any group, with doubled slashes and any case', async () => {
    for (const path of [
      `${S}/resourceGroups/strata-local/providers/Microsoft.Storage/storageAccounts/stratadisks1`,
      `${S}/resourcegroups/ANY/providers/microsoft.storage/storageaccounts//StrataDisks1`,
      `/${S}/resourceGroups/x/providers/Microsoft.Storage/storageAccounts/stratadisks1/`,
    ]) {
      const { status, body } = await rig.fetch(`${path}?api-version=2016-01-01`);
      expect({ status, id: body.id }).toEqual({ status: 200, id: account });
    }
    const { body } = await rig.fetch(`${S}/providers/Microsoft.Storage/storageAccounts?${V}`);
    expect(body.value.map((one: { name: string; sku: object }) => [one.name, one.sku])).toEqual(
      rig.storage.map(({ account, kind }) => [
        account,
        kind === 'premium' ? { name: 'Premium_LRS', tier: 'Premium' } : { name: 'Standard_LRS', tier: 'Standard' },
      ]),
    );
    expect(body.value[0].properties.primaryEndpoints.blob).toBe(`${rig.storage[0]?.blob}/`);
    const classic = `${S}/resourceGroups/x/providers/Microsoft.ClassicStorage/storageAccounts//stratadisks1`;
    expect(await rig.fetch(`${classic}?api-version=2015-12-01`)).toMatchObject({
      status: 404,
      body: { error: { code: 'ResourceNotFound' } },
    });
  });

  it('has groups without case: made by PUT, or by the first resource in them', async () => {
    expect(await rig.fetch(`${S}/resourcegroups/Made?${V}`)).toMatchObject({
      status: 404,
      body: { error: { code: 'ResourceGroupNotFound' } },
    });
    const put = { method: 'PUT', body: { location: LOCATION, tags: { a: 'b' } } };
    expect(await rig.fetch(`${S}/resourcegroups/Made?${V}`, put)).toMatchObject({
      status: 201,
      body: {
        id: `${S}/resourceGroups/Made`,
        name: 'Made',
        location: LOCATION,
        properties: { provisioningState: 'Succeeded' },
      },
    });
    expect((await rig.fetch(`${S}/resourceGroups/MADE?${V}`)).body.name).toBe('Made');
    expect((await rig.fetch(`${S}/resourceGroups/made?${V}`, { method: 'HEAD' })).status).toBe(204);
    await rig.client.disks.createOrUpdate('Implicit', 'd', {
      location: LOCATION,
      diskSizeGB: 1,
      creationData: { createOption: 'Empty' },
    });
    rig.restart();
    const { body } = await rig.fetch(`${S}/resourceGroups?${V}`);
    expect(body.value.map(({ name }: { name: string }) => name)).toEqual(['strata-local', 'Made', 'Implicit']);
    expect(await rig.fetch(`${S}/resourceGroups/ends.?${V}`, put)).toMatchObject({ status: 400 });
    expect(await rig.fetch(`${S}/resourceGroups/x?${V}`, { method: 'PUT', body: '{' })).toMatchObject({
      status: 400,
      body: { error: { code: 'InvalidRequestContent' } },
    });
  });

  it('knows the providers, registered already', async () => {
    const { body } = await rig.fetch(`${S}/providers/microsoft.recoveryservices?${V}`);
    expect(body).toMatchObject({ namespace: 'Microsoft.RecoveryServices', registrationState: 'Registered' });
    const register = await rig.fetch(`${S}/providers/Microsoft.Compute/register?${V}`, { method: 'POST' });
    expect(register).toMatchObject({ status: 200, body: { registrationState: 'Registered' } });
    expect((await rig.fetch(`${S}/providers/Microsoft.Nothing?${V}`)).body.error.code).toBe('InvalidResourceNamespace');
  });

  it('leaves to others what is theirs and answers 404 for what nobody has', async () => {
    const vault = `${S}/resourceGroups/x/providers/Microsoft.RecoveryServices/vaults/v`;
    // 503 is the front's answer for a request that no handler took.
    for (const path of [
      vault,
      `${S}/providers/Microsoft.Features/providers/a/features/b/register`,
      '/api/backup-now',
      '/',
    ]) {
      expect((await rig.fetch(`${path}?${V}`)).status, path).toBe(503);
    }
    const network = `${S}/resourcegroups/x/providers/Microsoft.Network/virtualNetworks//n`;
    expect(await rig.fetch(`${network}?${V}`)).toMatchObject({
      status: 404,
      body: { error: { code: 'ResourceNotFound' } },
    });
    expect((await rig.fetch(`${S}/nothing?${V}`)).status).toBe(404);
    const images = `${S}/resourceGroups/x/providers/Microsoft.Compute/images/i`;
    expect((await rig.fetch(`${images}?${V}`)).body.error.code).toBe('InvalidResourceType');
    const other = '/subscriptions/6a2c1e5e-0000-4000-8000-0000000000ff/providers/Microsoft.Compute/disks';
    expect((await rig.fetch(`${other}?${V}`)).body.error.code).toBe('SubscriptionNotFound');
  });

  it("asks for an api-version and for a token, in ARM's words", async () => {
    const path = `${S}/providers/Microsoft.Compute/virtualMachines`;
    expect((await rig.fetch(path)).body.error.code).toBe('MissingApiVersionParameter');
    expect((await rig.fetch(`${path}?api-version=new`)).body.error.code).toBe('InvalidApiVersionParameter');
    expect((await rig.fetch(`${path}?API-Version=2026-04-01-preview`)).status).toBe(200);
    for (const where of [path, '/subscriptions', '/tenants', `${S}/resourceGroups`]) {
      const answer = await rig.fetch(`${where}?${V}`, { authorization: null });
      expect(answer, where).toMatchObject({ status: 401, body: { error: { code: 'AuthenticationFailed' } } });
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
    }
    const forged = await rig.fetch(`${path}?${V}`, { authorization: 'Bearer eyJhbGciOiJub25lIn0.e30.' });
    expect(forged).toMatchObject({ status: 401, body: { error: { code: 'InvalidAuthenticationToken' } } });
    expect((await rig.fetch(`${path}?${V}`, { method: 'DELETE' })).status).toBe(405);
  });
});
