import { randomBytes } from 'node:crypto';
import { decodeJwt, generateKeyPair, SignJWT } from 'jose';
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
  VM_GROUP,
} from '../support/arm-platform.ts';

const VAULT = 'strict-vault';
const VM = 'db1';
const MIB = 2 ** 20;
const API = 'api-version=2023-06-01';
const MISSING_POINT = '00000000000000001';

let platform: ArmPlatform;
let vmId: string;
let point: string;

const vaultPath = (vault = VAULT): string =>
  `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${vault}`;
const itemPath = (vm = VM, vault = VAULT): string =>
  `${vaultPath(vault)}/backupFabrics/Azure/protectionContainers/${containerOf(vm)}/protectedItems/${itemOf(vm)}`;
const policyId = (name: string): string => `${vaultPath()}/backupPolicies/${name}`;
const accountId = (name: string): string =>
  `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/strata-local/providers/Microsoft.Storage/storageAccounts/${name}`;
const protection = (sourceResourceId: string, policy = 'nightly', more: object = {}): object => ({
  properties: {
    protectedItemType: 'Microsoft.Compute/virtualMachines',
    sourceResourceId,
    policyId: policyId(policy),
    ...more,
  },
});
const restoring = (more: object = {}): object => ({
  properties: {
    objectType: 'IaasVMRestoreRequest',
    recoveryPointId: point,
    recoveryType: 'RestoreDisks',
    storageAccountId: accountId('stratadisks2'),
    ...more,
  },
});
const expiring = (time: unknown): object => ({
  properties: { objectType: 'IaasVMBackupRequest', recoveryPointExpiryTimeInUTC: time },
});

async function protect(vm: string, id: string): Promise<void> {
  const answer = await platform.call('PUT', `${itemPath(vm)}?${API}`, protection(id));
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
  const { vaults } = platform.vaults();
  await vaults.createOrUpdate(GROUP, VAULT, { location: LOCATION, sku: { name: 'Standard' }, properties: {} });
  await platform.backup().protectionPolicies.createOrUpdate(VAULT, GROUP, 'nightly', { properties: dailyPolicy(1) });
  const disk = await makeDisk(platform, 'stratadisks1', 'db1-os.vhd', MIB, [{ offset: 0, bytes: randomBytes(MIB) }]);
  vmId = await makeVm(platform, VM, { os: disk.url });
  await protect(VM, vmId);
  const client = platform.backup();
  expect((await ended(client, VAULT, await backUp(VM))).properties.status).toBe('Completed');
  point = (await all(client.recoveryPoints.list(...at(VAULT, VM))))[0]!.name!;
});
afterAll(() => platform?.stop());

type Case = [
  what: string,
  ask: () => [method: string, path: string, body?: unknown],
  status: number,
  code: string,
  says: RegExp,
];

const vaultBody = (more: object = {}): object => ({
  location: LOCATION,
  sku: { name: 'Standard' },
  properties: {},
  ...more,
});

describe('what cannot be done is refused with its reason', () => {
  it.each<Case>([
    [
      'a vault that is not there',
      () => ['GET', `${vaultPath('other')}?${API}`],
      404,
      'ResourceNotFound',
      /vaults\/other' under resource group 'backup-rg' was not found/,
    ],
    [
      'items of a vault that is not there',
      () => ['GET', `${vaultPath('other')}/backupProtectedItems?${API}`],
      404,
      'ResourceNotFound',
      /other/,
    ],
    ['a policy that is not there', () => ['GET', `${policyId('weekly')}?${API}`], 404, 'ResourceNotFound', /weekly/],
    ['an item that is not there', () => ['GET', `${itemPath('ghost')}?${API}`], 404, 'ResourceNotFound', /ghost/],
    [
      'a backup of an item that is not there',
      () => ['POST', `${itemPath('ghost')}/backup?${API}`, expiring(undefined)],
      404,
      'ResourceNotFound',
      /ghost/,
    ],
    [
      'a point that is not there',
      () => ['GET', `${itemPath()}/recoveryPoints/${MISSING_POINT}?${API}`],
      404,
      'ResourceNotFound',
      /00000000000000001/,
    ],
    [
      'a point whose name is none',
      () => ['GET', `${itemPath()}/recoveryPoints/newest?${API}`],
      404,
      'ResourceNotFound',
      /newest/,
    ],
    [
      'a restore of a point that is not there',
      () => ['POST', `${itemPath()}/recoveryPoints/${MISSING_POINT}/restore?${API}`, restoring()],
      404,
      'ResourceNotFound',
      /00000000000000001/,
    ],
    [
      'a job that is not there',
      () => ['GET', `${vaultPath()}/backupJobs/no-such-job?${API}`],
      404,
      'ResourceNotFound',
      /no-such-job/,
    ],
    [
      'an operation that is not there',
      () => ['GET', `${vaultPath()}/backupOperations/no-such-operation?${API}`],
      404,
      'OperationNotFound',
      /no-such-operation/,
    ],
    [
      'an unknown subscription',
      () => ['GET', `${vaultPath()}?${API}`.replace(/\/subscriptions\/[^/]+/, '/subscriptions/nobody')],
      404,
      'SubscriptionNotFound',
      /nobody/,
    ],
    ['an unknown path', () => ['GET', `${vaultPath()}/backupEngines?${API}`], 404, 'ResourceNotFound', /backupEngines/],
    [
      'a method that a path lacks',
      () => ['PUT', `${vaultPath()}/backupJobs?${API}`, {}],
      405,
      'MethodNotAllowed',
      /allowed are GET/,
    ],
    [
      'a method that no path has',
      () => ['OPTIONS', `${vaultPath()}?${API}`],
      405,
      'MethodNotAllowed',
      /allowed are GET/,
    ],

    ['no api-version', () => ['GET', vaultPath()], 400, 'MissingApiVersionParameter', /api-version/],
    [
      'an api-version that is none',
      () => ['GET', `${vaultPath()}?api-version=newest`],
      400,
      'InvalidApiVersionParameter',
      /newest/,
    ],
    [
      'a vault name with an underscore',
      () => ['PUT', `${vaultPath('my_vault')}?${API}`, vaultBody()],
      400,
      'InvalidResourceName',
      /my_vault.*2 to 50 letters, digits and hyphens/,
    ],
    [
      'a vault name of one letter',
      () => ['PUT', `${vaultPath('v')}?${API}`, vaultBody()],
      400,
      'InvalidResourceName',
      /2 to 50/,
    ],
    [
      'a policy name with a blank',
      () => ['GET', `${policyId('a%20policy')}?${API}`],
      400,
      'InvalidResourceName',
      /a policy/,
    ],
    [
      'a job name with a slash',
      () => ['GET', `${vaultPath()}/backupJobs/a%2Fb?${API}`],
      400,
      'InvalidResourceName',
      /a\/b/,
    ],
    [
      'a job name with a control character',
      () => ['GET', `${vaultPath()}/backupJobs/a%07b?${API}`],
      400,
      'InvalidResourceName',
      /job/,
    ],
    [
      'an item name of another form',
      () => ['GET', `${itemPath().replace(itemOf(VM), 'db1')}?${API}`],
      400,
      'InvalidResourceName',
      /expected VM;iaasvmcontainerv2/,
    ],
    [
      'an item in another VM’s container',
      () => ['GET', `${itemPath().replace(itemOf(VM), itemOf('other'))}?${API}`],
      400,
      'InvalidResourceName',
      /different machines/,
    ],

    [
      'a body that is no JSON',
      () => ['PUT', `${vaultPath('fine')}?${API}`, '{"location":'],
      400,
      'InvalidRequestContent',
      /not JSON/,
    ],
    ['no body', () => ['PUT', `${vaultPath('fine')}?${API}`], 400, 'InvalidRequest', /body: .*expected object/],
    [
      'a vault without a location',
      () => ['PUT', `${vaultPath('fine')}?${API}`, { sku: { name: 'RS0' } }],
      400,
      'InvalidRequest',
      /location: .*expected string/,
    ],
    [
      'a vault with an unknown sku',
      () => ['PUT', `${vaultPath('fine')}?${API}`, vaultBody({ sku: { name: 'Gold' } })],
      400,
      'InvalidRequest',
      /sku\.name: is "Gold": expected Standard, RS0/,
    ],
    [
      'tags that are no texts',
      () => ['PATCH', `${vaultPath()}?${API}`, { tags: { a: 1 } }],
      400,
      'InvalidRequest',
      /tags\.a: .*expected string/,
    ],
    [
      'a vault that moves',
      () => ['PUT', `${vaultPath()}?${API}`, vaultBody({ location: 'eastus' })],
      400,
      'InvalidRequest',
      /cannot be moved/,
    ],
    [
      'an immutable vault',
      () => [
        'PATCH',
        `${vaultPath()}?${API}`,
        { properties: { securitySettings: { immutabilitySettings: { state: 'Locked' } } } },
      ],
      400,
      'InvalidRequest',
      /Locked, which this version does not support/,
    ],
    [
      'a weekly policy',
      () => ['PUT', `${policyId('weekly')}?${API}`, weekly()],
      400,
      'BMSUserErrorInvalidPolicyInput',
      /scheduleRunFrequency: is "Weekly", this version does not support it: expected Daily/,
    ],
    [
      'a policy without properties',
      () => ['PUT', `${policyId('empty')}?${API}`, {}],
      400,
      'BMSUserErrorInvalidPolicyInput',
      /properties/,
    ],
    [
      'deleting a policy in use',
      () => ['DELETE', `${policyId('nightly')}?${API}`],
      409,
      'BMSUserErrorPolicyInUse',
      /db1/,
    ],
    [
      'deleting a vault in use',
      () => ['DELETE', `${vaultPath()}?${API}`],
      409,
      'ServiceResourceNotEmptyWithBackendMessage',
      /existing resources within the vault/,
    ],

    [
      'protecting a VM that is not there',
      () => ['PUT', `${itemPath('ghost')}?${API}`, protection(vmId.replace(VM, 'ghost'))],
      404,
      'VMNotFoundV2',
      /ghost does not exist/,
    ],
    [
      'protecting by a policy that is not there',
      () => ['PUT', `${itemPath()}?${API}`, protection(vmId, 'weekly')],
      404,
      'ResourceNotFound',
      /weekly/,
    ],
    [
      'protecting by another vault’s policy',
      () => [
        'PUT',
        `${itemPath()}?${API}`,
        protection(vmId, 'nightly', { policyId: policyId('nightly').replace(VAULT, 'other') }),
      ],
      400,
      'BMSUserErrorInvalidConfigureProtectionRequest',
      /expected a policy of this vault/,
    ],
    [
      'protecting another VM than the path says',
      () => ['PUT', `${itemPath()}?${API}`, protection(vmId.replace(VM, 'ghost'))],
      400,
      'BMSUserErrorInvalidConfigureProtectionRequest',
      /app-rg;ghost, but the path names app-rg;db1/,
    ],
    [
      'protecting what is no VM',
      () => ['PUT', `${itemPath()}?${API}`, protection('db1')],
      400,
      'BMSUserErrorInvalidConfigureProtectionRequest',
      /virtualMachines/,
    ],
    [
      'protecting with a number for an id',
      () => ['PUT', `${itemPath()}?${API}`, protection(vmId, 'nightly', { policyId: 7 })],
      400,
      'BMSUserErrorInvalidConfigureProtectionRequest',
      /properties\.policyId: .*expected string/,
    ],
    [
      'leaving out the OS disk',
      () => [
        'PUT',
        `${itemPath()}?${API}`,
        protection(vmId, 'nightly', {
          extendedProperties: { diskExclusionProperties: { diskLunList: [-1, 0], isInclusionList: false } },
        }),
      ],
      400,
      'BMSUserErrorInvalidConfigureProtectionRequest',
      /diskLunList: .*OS disk.*always backed up/,
    ],
    [
      'leaving out disks by name',
      () => [
        'PUT',
        `${itemPath()}?${API}`,
        protection(vmId, 'nightly', { extendedProperties: { diskExclusionProperties: { diskLunList: ['data'] } } }),
      ],
      400,
      'BMSUserErrorInvalidConfigureProtectionRequest',
      /diskLunList\.0: .*expected LUNs of data disks/,
    ],
    [
      'deleting backup data',
      () => ['DELETE', `${itemPath()}?${API}`],
      405,
      'MethodNotAllowed',
      /does not delete backup data/,
    ],

    [
      'an expiry in the past',
      () => ['POST', `${itemPath()}/backup?${API}`, expiring('2020-01-01T00:00:00Z')],
      400,
      'UserErrorInvalidRecoveryPointExpiry',
      /2020-01-01.*not in the future/,
    ],
    [
      'an expiry a thousand years ahead',
      () => ['POST', `${itemPath()}/backup?${API}`, expiring('3026-01-01T00:00:00Z')],
      400,
      'UserErrorInvalidRecoveryPointExpiry',
      /99 years/,
    ],
    [
      'an expiry that is no time',
      () => ['POST', `${itemPath()}/backup?${API}`, expiring('tomorrow')],
      400,
      'InvalidRequest',
      /recoveryPointExpiryTimeInUTC: expected a time in ISO 8601/,
    ],
    [
      'a backup of another kind',
      () => ['POST', `${itemPath()}/backup?${API}`, { properties: { objectType: 'AzureWorkloadBackupRequest' } }],
      400,
      'InvalidRequest',
      /AzureWorkloadBackupRequest.*expected IaasVMBackupRequest/,
    ],

    [
      'a new VM from a point',
      () => [
        'POST',
        `${itemPath()}/recoveryPoints/${point}/restore?${API}`,
        restoring({ recoveryType: 'AlternateLocation' }),
      ],
      400,
      'UserErrorInvalidRestoreRequest',
      /AlternateLocation, which this version does not support: expected RestoreDisks/,
    ],
    [
      'an unknown kind of restore',
      () => ['POST', `${itemPath()}/recoveryPoints/${point}/restore?${API}`, restoring({ recoveryType: 'Elsewhere' })],
      400,
      'InvalidRequest',
      /"Elsewhere": expected RestoreDisks, AlternateLocation/,
    ],
    [
      'managed disks without a resource group for them',
      () => [
        'POST',
        `${itemPath()}/recoveryPoints/${point}/restore?${API}`,
        restoring({ restoreWithManagedDisks: true }),
      ],
      400,
      'UserErrorInvalidRestoreRequest',
      /targetResourceGroupId is missing: restoreWithManagedDisks/,
    ],
    [
      'managed disks in a group by its name alone',
      () => [
        'POST',
        `${itemPath()}/recoveryPoints/${point}/restore?${API}`,
        restoring({ targetResourceGroupId: 'restored-rg' }),
      ],
      400,
      'UserErrorInvalidRestoreRequest',
      /targetResourceGroupId is "restored-rg": expected \/subscriptions/,
    ],
    [
      'another point than the path says',
      () => [
        'POST',
        `${itemPath()}/recoveryPoints/${point}/restore?${API}`,
        restoring({ recoveryPointId: MISSING_POINT }),
      ],
      400,
      'UserErrorInvalidRestoreRequest',
      /the path names/,
    ],
    [
      'an account that is not there',
      () => [
        'POST',
        `${itemPath()}/recoveryPoints/${point}/restore?${API}`,
        restoring({ storageAccountId: accountId('nowhere') }),
      ],
      400,
      'UserErrorInvalidRestoreRequest',
      /no storage account nowhere/,
    ],
    [
      'an account that is none',
      () => [
        'POST',
        `${itemPath()}/recoveryPoints/${point}/restore?${API}`,
        restoring({ storageAccountId: 'stratadisks2' }),
      ],
      400,
      'UserErrorInvalidRestoreRequest',
      /storageAccounts\/<name>/,
    ],
    [
      'a LUN that the point lacks',
      () => ['POST', `${itemPath()}/recoveryPoints/${point}/restore?${API}`, restoring({ restoreDiskLunList: [5] })],
      400,
      'UserErrorInvalidRestoreRequest',
      /no disk with LUN 5/,
    ],
    [
      'LUNs that are texts',
      () => ['POST', `${itemPath()}/recoveryPoints/${point}/restore?${API}`, restoring({ restoreDiskLunList: ['0'] })],
      400,
      'InvalidRequest',
      /restoreDiskLunList\.0: expected LUNs/,
    ],
    [
      'a container that cannot be called so',
      () => [
        'POST',
        `${itemPath()}/recoveryPoints/${point}/restore?${API}`,
        restoring({ targetContainerName: 'My_Container' }),
      ],
      400,
      'InvalidRequest',
      /targetContainerName: expected the name of a blob container/,
    ],

    [
      'a filter with another operator',
      () => ['GET', `${vaultPath()}/backupJobs?${API}&$filter=status%20ne%20'Failed'`],
      400,
      'InvalidRequest',
      /only operator is eq/,
    ],
    [
      'a filter with an unknown status',
      () => ['GET', `${vaultPath()}/backupJobs?${API}&%24filter=status+eq+'Done'`],
      400,
      'InvalidRequest',
      /"Done": expected InProgress/,
    ],
    [
      'a page token of somebody else',
      () => ['GET', `${vaultPath()}/backupJobs?${API}&$skipToken=!!!`],
      400,
      'InvalidRequest',
      /skipToken/,
    ],
    [
      'cancelling a job that has ended',
      () => ['POST', `${vaultPath()}/backupJobs/${endedJob}/cancel?${API}`],
      409,
      'UserErrorJobNotCancellable',
      /Completed/,
    ],
  ])('%s', async (_what, ask, status, code, says) => {
    endedJob ??= (await all(platform.backup().backupJobs.list(VAULT, GROUP)))[0]!.name!;
    const { status: found, headers, body } = await platform.call(...ask());
    expect([found, body.error.code, body.error.message]).toEqual([status, code, expect.stringMatching(says)]);
    expect(headers.get('x-ms-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(headers.get('x-ms-correlation-request-id')).not.toBeNull();
  });

  it('takes a vault name of the greatest length', async () => {
    const longest = `v${'-x'.repeat(24)}9`;
    const { status } = await platform.call('PUT', `${vaultPath(longest)}?${API}`, vaultBody());
    expect(status).toBe(201);
    expect((await platform.call('PUT', `${vaultPath(longest)}?${API}`, vaultBody())).status).toBe(200);
    expect((await platform.call('DELETE', `${vaultPath(longest)}?${API}`)).status).toBe(204);
    expect((await platform.call('DELETE', `${vaultPath(longest)}?api-version=2022-10-01`)).status).toBe(200);
    expect((await platform.call('GET', `${vaultPath(longest)}?${API}`)).status).toBe(404);
  });
});

let endedJob: string | undefined;

function weekly(): object {
  const { retentionPolicy, ...policy } = dailyPolicy(7);
  const schedulePolicy = {
    schedulePolicyType: 'SimpleSchedulePolicy',
    scheduleRunFrequency: 'Weekly',
    scheduleRunDays: ['Sunday'],
  };
  return { properties: { ...policy, schedulePolicy, retentionPolicy } };
}

describe('who may not', () => {
  const refused = async (authorization: string, code: string, status: number, method = 'GET', path = vaultPath()) => {
    const answer = await platform.call(method, `${path}?${API}`, method === 'GET' ? undefined : vaultBody(), {
      authorization,
    });
    expect([answer.status, answer.body.error.code]).toEqual([status, code]);
    return answer;
  };

  it('nobody without a token, or with one that is none', async () => {
    const bare = await fetch(`${platform.endpoints.https}${vaultPath()}?${API}`);
    expect(bare.status).toBe(401);
    expect(await bare.json()).toMatchObject({ error: { code: 'AuthenticationFailed' } });
    expect((await refused('Bearer nonsense', 'AuthenticationFailed', 401)).headers.get('www-authenticate')).toBe(
      'Bearer',
    );
  });

  it('nobody with a token of somebody else, though it says the right things', async () => {
    const claims = decodeJwt(await platform.token(['Backup Contributor']));
    const { privateKey } = await generateKeyPair('RS256');
    const forged = await new SignJWT(claims).setProtectedHeader({ alg: 'RS256' }).sign(privateKey);
    await refused(`Bearer ${forged}`, 'AuthenticationFailed', 401);
  });

  it('a reader reads and nothing else, an operator makes no vault, and both are told what is missing', async () => {
    const reader = `Bearer ${await platform.token(['Backup Reader'])}`;
    const operator = `Bearer ${await platform.token(['Backup Operator'])}`;
    expect((await platform.call('GET', `${vaultPath()}?${API}`, undefined, { authorization: reader })).status).toBe(
      200,
    );
    for (const authorization of [reader, operator]) {
      const { body } = await refused(authorization, 'AuthorizationFailed', 403, 'PUT', vaultPath('new-vault'));
      expect(body.error.message).toContain('"Backup Contributor"');
    }
    const { body } = await refused(reader, 'AuthorizationFailed', 403, 'POST', `${itemPath()}/backup`);
    expect(body.error.message).toContain('"Backup Operator"');
    await refused(`Bearer ${await platform.token([])}`, 'AuthorizationFailed', 403);
  });
});

describe('what fails later fails its job, with a reason', () => {
  it('a second backup while one runs', async () => {
    const first = await platform.call('POST', `${itemPath()}/backup?${API}`, expiring(undefined));
    const second = await platform.call('POST', `${itemPath()}/backup?${API}`, expiring(undefined));
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
      `${itemPath()}/recoveryPoints/${point}/restore?${API}`,
      restoring({ targetContainerName: 'taken' }),
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
    const ask = () => platform.call('POST', `${itemPath()}/backup?${API}`, expiring(undefined));
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
    const make = () => platform.call('PUT', `${vaultPath('race')}?${API}`, vaultBody());
    const statuses = (await Promise.all([make(), make(), make(), make(), make()])).map(({ status }) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 200, 200, 200, 201]);
    expect((await platform.call('GET', `${vaultPath('race')}/backupPolicies/DefaultPolicy?${API}`)).status).toBe(200);
  });
});

describe('the plain trigger and health', () => {
  const trigger = (body: unknown, key = platform.endpoints.functionKey) =>
    fetch(`${platform.endpoints.https}/api/backup-now?code=${key}`, { method: 'POST', body: JSON.stringify(body) });

  it('starts a backup for who has the key, and says where to look', async () => {
    const answer = await trigger({ vaultId: vaultPath().toUpperCase(), vmId, expiry: '2041-01-01T00:00:00Z' });
    expect(answer.status).toBe(202);
    const { jobId, statusUrl } = (await answer.json()) as { jobId: string; statusUrl: string };
    const { body } = await platform.call('GET', statusUrl.slice(platform.endpoints.https.length));
    expect(body.properties).toMatchObject({ operation: 'Backup', isUserTriggered: true });
    expect((await ended(platform.backup(), VAULT, jobId)).properties.extendedInfo?.propertyBag).toMatchObject({
      'Recovery Point Expiry Time in UTC': '1/1/2041 12:00:00 AM',
    });
  });

  it.each<[string, () => unknown, number, string]>([
    ['no vault', () => ({ vmId }), 400, 'InvalidRequest'],
    ['an unknown field', () => ({ vaultId: vaultPath(), vmId, until: 'x' }), 400, 'InvalidRequest'],
    ['a vault id of another form', () => ({ vaultId: VAULT, vmId }), 400, 'InvalidRequest'],
    ['a vault that is not there', () => ({ vaultId: vaultPath('other'), vmId }), 404, 'ResourceNotFound'],
    [
      'a VM that is not protected',
      () => ({ vaultId: vaultPath(), vmId: vmId.replace(VM, 'ghost') }),
      404,
      'ResourceNotFound',
    ],
    [
      'an expiry in the past',
      () => ({ vaultId: vaultPath(), vmId, expiry: '2020-01-01T00:00:00Z' }),
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
    ['a call without a token', () => `${vaultPath()}?${API}`, {}, 401],
    ['a neighbour', () => '/metadata/endpoints?api-version=2022-09-01', {}, 200],
    ['a body without end', () => `${vaultPath()}?${API}`, { method: 'PUT', body: 'x'.repeat(300_000) }, 413],
  ])('%s', async (_what, path, options, status) => {
    const auth = status === 413 ? { authorization: `Bearer ${await platform.token(['Backup Contributor'])}` } : {};
    const headers = { 'x-ms-correlation-request-id': own, 'content-type': 'application/json', ...auth };
    const answer = await fetch(`${platform.endpoints.https}${path()}`, { ...options, headers });
    expect(answer.status).toBe(status);
    expect(answer.headers.get('x-ms-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer.headers.get('x-ms-correlation-request-id')).toBe(own);
  });

  it('a job tells the correlation of the request that started it', async () => {
    const answer = await platform.call('PUT', `${itemPath()}?${API}`, protection(vmId), {
      'x-ms-correlation-request-id': own,
    });
    const operation = /operationsStatus\/([^?]+)/.exec(answer.headers.get('azure-asyncoperation') ?? '')?.[1];
    const status = await platform.call('GET', `${vaultPath()}/backupOperations/${operation}?${API}`);
    const job = await platform.call('GET', `${vaultPath()}/backupJobs/${status.body.properties.jobId}?${API}`);
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
    const answer = await platform.call(method, `${vaultPath()}${path}?${API}`);
    expect([answer.status, answer.body.error.code, answer.headers.get('allow')]).toEqual([status, code, allow]);
  });

  it('deleting a private endpoint connection, of which there are none, succeeds', async () => {
    expect((await platform.call('DELETE', `${vaultPath()}/privateEndpointConnections/e1?${API}`)).status).toBe(204);
  });
});
