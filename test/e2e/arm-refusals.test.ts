import { randomBytes } from 'node:crypto';
import { decodeJwt, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
  VM_GROUP,
} from '../support/arm-platform.ts';
import { ITEM_REFUSALS } from './item-refusals.ts';
import { API, expiring, RefusalGround, VAULT, vaultBody, VM } from './refusal-ground.ts';
import { VAULT_REFUSALS } from './vault-refusals.ts';

const MIB = 2 ** 20;
const REFUSALS = [...VAULT_REFUSALS, ...ITEM_REFUSALS];

let platform: ArmPlatform;
let on: RefusalGround;

async function protect(vm: string, id: string): Promise<void> {
  const answer = await platform.call('PUT', `${on.itemPath(vm)}?${API}`, on.protection(id));
  expect(answer.status).toBe(202);
}

function backUp(vm: string): Promise<string> {
  const client = platform.backup();
  return jobOf(client, VAULT, (options) =>
    client.backups.trigger(...at(VAULT, vm), { properties: { objectType: 'IaasVMBackupRequest' } }, options),
  );
}

beforeAll(async () => {
  platform = await startArmPlatform();
  on = new RefusalGround(platform);
  const { vaults } = platform.vaults();
  await vaults.createOrUpdate(GROUP, VAULT, { location: LOCATION, sku: { name: 'Standard' }, properties: {} });
  await platform.backup().protectionPolicies.createOrUpdate(VAULT, GROUP, 'nightly', { properties: dailyPolicy(1) });
  const disk = await makeDisk(platform, 'stratadisks1', 'db1-os.vhd', MIB, [{ offset: 0, bytes: randomBytes(MIB) }]);
  on.vmId = await makeVm(platform, VM, { os: disk.url });
  await protect(VM, on.vmId);
  const client = platform.backup();
  on.endedJob = await backUp(VM);
  expect((await ended(client, VAULT, on.endedJob)).properties.status).toBe('Completed');
  on.point = (await all(client.recoveryPoints.list(...at(VAULT, VM))))[0]!.name!;
});
afterAll(() => platform?.stop());

describe('what cannot be done is refused with its reason', () => {
  it.each(REFUSALS)('%s', async (_what, ask, status, code, says) => {
    const { status: found, headers, body } = await platform.call(...ask(on));
    expect([found, body.error.code, body.error.message]).toEqual([status, code, expect.stringMatching(says)]);
    expect(headers.get('x-ms-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(headers.get('x-ms-correlation-request-id')).not.toBeNull();
  });

  it('takes a vault name of the greatest length', async () => {
    const longest = `v${'-x'.repeat(24)}9`;
    const { status } = await platform.call('PUT', `${on.vaultPath(longest)}?${API}`, vaultBody());
    expect(status).toBe(201);
    expect((await platform.call('PUT', `${on.vaultPath(longest)}?${API}`, vaultBody())).status).toBe(200);
    expect((await platform.call('DELETE', `${on.vaultPath(longest)}?${API}`)).status).toBe(204);
    expect((await platform.call('DELETE', `${on.vaultPath(longest)}?api-version=2022-10-01`)).status).toBe(200);
    expect((await platform.call('GET', `${on.vaultPath(longest)}?${API}`)).status).toBe(404);
  });
});

describe('who may not', () => {
  const refused = async (
    authorization: string,
    code: string,
    status: number,
    method = 'GET',
    path = on.vaultPath(),
  ) => {
    const answer = await platform.call(method, `${path}?${API}`, method === 'GET' ? undefined : vaultBody(), {
      authorization,
    });
    expect([answer.status, answer.body.error.code]).toEqual([status, code]);
    return answer;
  };

  it('nobody without a token, or with one that is none', async () => {
    const bare = await fetch(`${platform.endpoints.https}${on.vaultPath()}?${API}`);
    expect(bare.status).toBe(401);
    expect(await bare.json()).toMatchObject({ error: { code: 'AuthenticationFailed' } });
    expect((await refused('Bearer nonsense', 'InvalidAuthenticationToken', 401)).headers.get('www-authenticate')).toBe(
      'Bearer',
    );
  });

  it('nobody with a token of somebody else, though it says the right things', async () => {
    const claims = decodeJwt(await platform.token(['Backup Contributor']));
    const { privateKey } = await generateKeyPair('RS256');
    const forged = await new SignJWT(claims).setProtectedHeader({ alg: 'RS256' }).sign(privateKey);
    await refused(`Bearer ${forged}`, 'InvalidAuthenticationToken', 401);
  });

  it('a reader reads and nothing else, an operator makes no vault, and both are told what is missing', async () => {
    const reader = `Bearer ${await platform.token(['Backup Reader'])}`;
    const operator = `Bearer ${await platform.token(['Backup Operator'])}`;
    expect((await platform.call('GET', `${on.vaultPath()}?${API}`, undefined, { authorization: reader })).status).toBe(
      200,
    );
    for (const authorization of [reader, operator]) {
      const { body } = await refused(authorization, 'AuthorizationFailed', 403, 'PUT', on.vaultPath('new-vault'));
      expect(body.error.message).toContain('"Backup Contributor"');
    }
    const { body } = await refused(reader, 'AuthorizationFailed', 403, 'POST', `${on.itemPath()}/backup`);
    expect(body.error.message).toContain('"Backup Operator"');
    await refused(`Bearer ${await platform.token([])}`, 'AuthorizationFailed', 403);
  });
});

describe('what fails later fails its job, with a reason', () => {
  it('a second backup while one runs', async () => {
    const first = await platform.call('POST', `${on.itemPath()}/backup?${API}`, expiring(undefined));
    const second = await platform.call('POST', `${on.itemPath()}/backup?${API}`, expiring(undefined));
    expect(first.status).toBe(202);
    expect([second.status, second.body.error.code]).toEqual([409, 'BMSUserErrorObjectLocked']);
    const [newest] = await all(platform.backup().backupJobs.list(VAULT, GROUP, { filter: "operation eq 'Backup'" }));
    expect((await ended(platform.backup(), VAULT, newest!.name!)).properties.status).toBe('Completed');
  });

  it('a restore to a blob that exists, which it leaves alone', async () => {
    const container = platform.blobs('stratadisks2').getContainerClient('taken');
    await container.createIfNotExists();
    const there = container.getBlockBlobClient(`${VM}-os.vhd`);
    await there.upload('mine', 4);
    const answer = await platform.call(
      'POST',
      `${on.itemPath()}/recoveryPoints/${on.point}/restore?${API}`,
      on.restoring({ targetContainerName: 'taken' }),
    );
    expect(answer.status).toBe(202);
    const client = platform.backup();
    const [newest] = await all(client.backupJobs.list(VAULT, GROUP, { filter: "operation eq 'Restore'" }));
    const { properties } = await ended(client, VAULT, newest!.name!);
    expect(properties).toMatchObject({
      status: 'Failed',
      errorDetails: [
        { errorTitle: 'UserErrorRestoreTargetExists', recommendations: [expect.stringContaining('another container')] },
      ],
    });
    expect((await there.downloadToBuffer()).toString()).toBe('mine');
  });

  it('a disk that is no page blob any more', async () => {
    const disk = await makeDisk(platform, 'stratadisks1', 'odd-os.vhd', MIB, []);
    await protect('odd', await makeVm(platform, 'odd', { os: disk.url }));
    await disk.delete();
    await platform.blobs('stratadisks1').getContainerClient('vhds').getBlockBlobClient('odd-os.vhd').upload('text', 4);
    const { properties } = await ended(platform.backup(), VAULT, await backUp('odd'));
    expect(properties).toMatchObject({ status: 'Failed', errorDetails: [{ errorTitle: 'UserErrorUnsupportedDisk' }] });
    const { properties: item } = await platform.backup().protectedItems.get(...at(VAULT, 'odd'));
    expect(item).toMatchObject({ lastBackupStatus: 'Failed', healthStatus: 'ActionRequired' });
  });

  it('a VM that was deleted after it was protected', async () => {
    const disk = await makeDisk(platform, 'stratadisks1', 'gone-os.vhd', MIB, []);
    await protect('gone', await makeVm(platform, 'gone', { os: disk.url }));
    await platform.compute.virtualMachines.delete(VM_GROUP, 'gone').pollUntilDone();
    const { properties } = await ended(platform.backup(), VAULT, await backUp('gone'));
    expect(properties).toMatchObject({ status: 'Failed', errorDetails: [{ errorTitle: 'VMNotFoundV2' }] });
  });
});

describe('many at once', () => {
  it('five backups of one VM: one starts, the others are told that it runs', async () => {
    const ask = () => platform.call('POST', `${on.itemPath()}/backup?${API}`, expiring(undefined));
    const answers = await Promise.all([ask(), ask(), ask(), ask(), ask()]);
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 409, 409, 409, 409]);
    const [newest, ...others] = await all(
      platform.backup().backupJobs.list(VAULT, GROUP, { filter: "status eq 'InProgress'" }),
    );
    expect(others).toEqual([]);
    expect((await ended(platform.backup(), VAULT, newest!.name!)).properties.status).toBe('Completed');
  });

  it('five that protect one VM: all are served and there is one item', async () => {
    const disk = await makeDisk(platform, 'stratadisks1', 'new-os.vhd', MIB, []);
    const id = await makeVm(platform, 'new', { os: disk.url });
    await Promise.all([1, 2, 3, 4, 5].map(() => protect('new', id)));
    const client = platform.backup();
    const items = await all(client.backupProtectedItems.list(VAULT, GROUP, { filter: "friendlyName eq 'NEW'" }));
    expect(items).toHaveLength(1);
    expect((await ended(client, VAULT, await backUp('new'))).properties.status).toBe('Completed');
  });

  it('five that make one vault: one makes it, and it works', async () => {
    const make = () => platform.call('PUT', `${on.vaultPath('race')}?${API}`, vaultBody());
    const statuses = (await Promise.all([make(), make(), make(), make(), make()])).map(({ status }) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 200, 200, 200, 201]);
    expect((await platform.call('GET', `${on.vaultPath('race')}/backupPolicies/DefaultPolicy?${API}`)).status).toBe(
      200,
    );
  });
});

describe('the plain trigger and health', () => {
  const trigger = (body: unknown, key = platform.endpoints.functionKey) =>
    fetch(`${platform.endpoints.https}/api/backup-now?code=${key}`, { method: 'POST', body: JSON.stringify(body) });

  it('starts a backup for who has the key, and says where to look', async () => {
    const answer = await trigger({
      vaultId: on.vaultPath().toUpperCase(),
      vmId: on.vmId,
      expiry: '2041-01-01T00:00:00Z',
    });
    expect(answer.status).toBe(202);
    const { jobId, statusUrl } = (await answer.json()) as { jobId: string; statusUrl: string };
    const { body } = await platform.call('GET', statusUrl.slice(platform.endpoints.https.length));
    expect(body.properties).toMatchObject({ operation: 'Backup', isUserTriggered: true });
    expect((await ended(platform.backup(), VAULT, jobId)).properties.extendedInfo?.propertyBag).toMatchObject({
      'Recovery Point Expiry Time in UTC': '1/1/2041 12:00:00 AM',
    });
  });

  it.each<[string, () => unknown, number, string]>([
    ['no vault', () => ({ vmId: on.vmId }), 400, 'InvalidRequest'],
    ['an unknown field', () => ({ vaultId: on.vaultPath(), vmId: on.vmId, until: 'x' }), 400, 'InvalidRequest'],
    ['a vault id of another form', () => ({ vaultId: VAULT, vmId: on.vmId }), 400, 'InvalidRequest'],
    ['a vault that is not there', () => ({ vaultId: on.vaultPath('other'), vmId: on.vmId }), 404, 'ResourceNotFound'],
    [
      'a VM that is not protected',
      () => ({ vaultId: on.vaultPath(), vmId: on.vmId.replace(VM, 'ghost') }),
      404,
      'ResourceNotFound',
    ],
    [
      'an expiry in the past',
      () => ({ vaultId: on.vaultPath(), vmId: on.vmId, expiry: '2020-01-01T00:00:00Z' }),
      400,
      'UserErrorInvalidRecoveryPointExpiry',
    ],
  ])('refuses %s', async (_what, body, status, code) => {
    const answer = await trigger(body());
    expect([answer.status, ((await answer.json()) as { error: { code: string } }).error.code]).toEqual([status, code]);
  });

  it('asks for the key, and tells its health to everybody', async () => {
    expect((await trigger({}, 'wrong')).status).toBe(401);
    const health = await fetch(`${platform.endpoints.https}/api/health`);
    expect(await health.json()).toEqual({ status: 'ok' });
  });
});

describe('every answer has ids', () => {
  const own = '11111111-2222-4333-8444-555555555555';

  it.each<[what: string, path: () => string, options: RequestInit, status: number]>([
    ['health', () => '/api/health', {}, 200],
    ['a trigger without its key', () => '/api/backup-now', { method: 'POST', body: '{}' }, 401],
    ['a call without a token', () => `${on.vaultPath()}?${API}`, {}, 401],
    ['a neighbour', () => '/metadata/endpoints?api-version=2022-09-01', {}, 200],
    ['a body without end', () => `${on.vaultPath()}?${API}`, { method: 'PUT', body: 'x'.repeat(300_000) }, 413],
  ])('%s', async (_what, path, options, status) => {
    const auth = status === 413 ? { authorization: `Bearer ${await platform.token(['Backup Contributor'])}` } : {};
    const headers = { 'x-ms-correlation-request-id': own, 'content-type': 'application/json', ...auth };
    const answer = await fetch(`${platform.endpoints.https}${path()}`, { ...options, headers });
    expect(answer.status).toBe(status);
    expect(answer.headers.get('x-ms-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer.headers.get('x-ms-correlation-request-id')).toBe(own);
  });

  it('a job tells the correlation of the request that started it', async () => {
    const answer = await platform.call('PUT', `${on.itemPath()}?${API}`, on.protection(on.vmId), {
      'x-ms-correlation-request-id': own,
    });
    const operation = /operationsStatus\/([^?]+)/.exec(answer.headers.get('azure-asyncoperation') ?? '')?.[1];
    const status = await platform.call('GET', `${on.vaultPath()}/backupOperations/${operation}?${API}`);
    const job = await platform.call('GET', `${on.vaultPath()}/backupJobs/${status.body.properties.jobId}?${API}`);
    expect(job.body.properties.activityId).toBe(own);
  });
});

describe('what clients of the service know and this version has not', () => {
  it.each<[method: string, path: string, status: number, code: string, allow: string | null]>([
    ['PUT', '/certificates/c1', 405, 'MethodNotAllowed', ''],
    ['GET', '/extendedInformation/vaultExtendedInfo', 404, 'ResourceNotFound', null],
    ['PUT', '/privateEndpointConnections/e1', 405, 'MethodNotAllowed', 'DELETE'],
    ['POST', '/backupstorageconfig/vaultstorageconfig/prepareDataMove', 400, 'OperationNotSupported', null],
    ['GET', '/backupTieringCost/default/operationResults/o1', 404, 'OperationNotFound', null],
  ])('%s V%s', async (method, path, status, code, allow) => {
    const answer = await platform.call(method, `${on.vaultPath()}${path}?${API}`);
    expect([answer.status, answer.body.error.code, answer.headers.get('allow')]).toEqual([status, code, allow]);
  });

  it('deleting a private endpoint connection, of which there are none, succeeds', async () => {
    expect((await platform.call('DELETE', `${on.vaultPath()}/privateEndpointConnections/e1?${API}`)).status).toBe(204);
  });
});
