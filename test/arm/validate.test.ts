import { beforeEach, describe, expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import { changeItem } from '../../shared/services/items.ts';
import { type Answer, askWorld, GROUP_PATH, VAULT_PATH } from '../support/ask-world.ts';
import { VAULT, type World, createWorld } from '../support/world.ts';

/* Restores that are validated and not done. */

let world: World;
let vmId: string;
let key: string;
let item: string;
let point: string;
const ask = (method: string, path: string, body?: unknown): Promise<Answer> =>
  askWorld(world, method, path.startsWith('/backup') ? VAULT_PATH + path : path, body);

const restore = (more: object = {}): object => ({
  objectType: 'IaasVMRestoreRequest',
  recoveryPointId: point,
  recoveryType: 'RestoreDisks',
  sourceResourceId: vmId,
  storageAccountId: `${GROUP_PATH}/providers/Microsoft.Storage/storageAccounts/restored`,
  ...more,
});
const objectType = 'ValidateIaasVMRestoreOperationRequest';
const request = (more: object = {}): object => ({ objectType, restoreRequest: restore(more) });

const validate = async (body: unknown): Promise<[code: string, message: string][]> => {
  const answer = await ask('POST', '/backupValidateOperation', body);
  expect(answer.status).toBe(200);
  const { validationResults } = answer.body.validateOperationResponse;
  return validationResults.map(({ code, message }: { code: string; message: string }) => [code, message]);
};

beforeEach(async () => {
  world = await createWorld();
  await world.createVm('vm', [65_536]);
  await world.protect('vm');
  await world.backup('vm');
  for await (const { key: own, row } of world.ports.catalog.items.listAll()) [key, vmId] = [own, row.vmResourceId];
  for await (const { row } of world.ports.catalog.points.listAll()) point = row.point;
  const [group, vm] = key.split(';');
  const names = `iaasvmcontainerv2;${group};${vm}`;
  item = `${VAULT_PATH}/backupFabrics/Azure/protectionContainers/IaasVMContainer;${names}/protectedItems/VM;${names}`;
});

describe('a restore that could start', () => {
  it('has no faults, however it is asked about, and is not done', async () => {
    const jobs = async () => (await ask('GET', '/backupJobs')).body.value.length;
    const before = await jobs();
    expect(await validate(request())).toEqual([]);
    const properties = request({ recoveryPointId: undefined, sourceResourceId: undefined });
    expect(await validate({ id: `${item}/recoveryPoints/${point}`, properties })).toEqual([]);
    expect(await jobs()).toBe(before);
    expect(world.queue.waiting()).toEqual([]);
    expect((await ask('POST', `${item}/recoveryPoints/${point}/restore`, { properties: restore() })).status).toBe(202);
  });
});

describe('a restore that could not', () => {
  const worst = {
    zones: ['1'],
    recoveryType: 'OriginalLocation',
    storageAccountId: 'nowhere',
    restoreDiskLunList: [5, 6],
    targetResourceGroupId: 'a group',
  };

  it('is told all of its faults at once, of which starting it tells the first', async () => {
    const faults = await validate(request(worst));
    expect(faults.map(([code]) => code)).toEqual(Array.from({ length: 5 }, () => 'UserErrorInvalidRestoreRequest'));
    const messages = faults.map(([, message]) => message);
    for (const says of [/recoveryType/, /zones/, /storageAccountId/, /LUN 5, 6/, /targetResourceGroupId/])
      expect(messages.filter((message) => says.test(message))).toHaveLength(1);
    const started = await ask('POST', `${item}/recoveryPoints/${point}/restore`, { properties: restore(worst) });
    expect([started.status, started.body.error.message]).toEqual([400, messages[0]]);
  });

  it('by each fault alone, says what starting it says', async () => {
    const account = (name: string) => `${GROUP_PATH}/providers/Microsoft.Storage/storageAccounts/${name}`;
    for (const more of [...Object.entries(worst).map(([field, value]) => ({ [field]: value })), { region: 'moon' }]) {
      const [fault, ...others] = await validate(request(more));
      const { body } = await ask('POST', `${item}/recoveryPoints/${point}/restore`, { properties: restore(more) });
      expect([fault, others]).toEqual([[body.error.code, body.error.message], []]);
    }
    const accounts = { blobEndpoint: () => undefined, kindOf: () => 'standard' as const };
    const without = { ports: { ...world.ports, accounts } };
    const asked = request({ storageAccountId: account('gone') });
    const { body } = await askWorld(without, 'POST', `${VAULT_PATH}/backupValidateOperation`, asked);
    expect(body.validateOperationResponse.validationResults).toMatchObject([
      { message: expect.stringMatching(/no storage account gone/), recommendations: expect.any(Array) },
    ]);
  });

  it('of a point that is leaving, or gone, or of an item that nobody protects, or of nothing', async () => {
    await changeItem(world.ports, VAULT, key, (row) => ({ ...row, leaving: point as PointId }));
    expect(await validate(request())).toEqual([['UserErrorRecoveryPointLeaving', expect.stringContaining(point)]]);
    expect(await validate(request({ recoveryPointId: '1', zones: ['1'] }))).toEqual([
      ['ResourceNotFound', expect.stringMatching(/no recovery point 1/)],
      ['UserErrorInvalidRestoreRequest', expect.stringMatching(/zones/)],
    ]);
    const ghost = { sourceResourceId: vmId.replace(/vm$/, 'ghost') };
    expect(await validate(request(ghost))).toEqual([
      ['ResourceNotFound', expect.stringMatching(/does not protect .*ghost/)],
    ]);
    expect(await validate(request({ sourceResourceId: undefined }))).toEqual([
      ['UserErrorInvalidRestoreRequest', expect.stringMatching(/names no item/)],
    ]);
  });

  it.each<[unknown, RegExp]>([
    [{ objectType }, /restoreRequest: is missing/],
    [{ objectType: 'ValidateMagic', restoreRequest: {} }, /objectType: is "ValidateMagic": expected Validate/],
    [
      { objectType, restoreRequest: { objectType: 'IaasVMRestoreRequest', recoveryType: 'Teleport' } },
      /is "Teleport": expected/,
    ],
  ])('%j is no question', async (body, says) => {
    const { status, body: answer } = await ask('POST', '/backupValidateOperation', body);
    expect([status, answer.error.code, answer.error.message]).toEqual([
      400,
      'InvalidRequest',
      expect.stringMatching(says),
    ]);
  });
});

describe('a validation as an operation', () => {
  it('tells the same by its status and by its result, also of what is very long', async () => {
    const long = request({ zones: ['1'], region: 'x'.repeat(100_000) });
    const { status, headers } = await ask('POST', '/backupTriggerValidateOperation', long);
    expect([status, headers['Retry-After']]).toEqual([202, '1']);
    const at = (name: string) => headers[name]!.replace('http://strata', '');
    const { body: done } = await ask('GET', at('Azure-AsyncOperation'));
    expect(done).toMatchObject({
      status: 'Succeeded',
      properties: { objectType: 'OperationStatusValidateOperationExtendedInfo' },
    });
    const { body: result } = await ask('GET', at('Location'));
    expect(result.validateOperationResponse.validationResults).toHaveLength(2);
    expect(done.properties.validateOperationResponse).toEqual(result.validateOperationResponse);
  });

  it('is not another operation', async () => {
    const { headers } = await ask('POST', `${item}/backup`, { properties: { objectType: 'IaasVMBackupRequest' } });
    const id = /operationResults\/([^?]+)/.exec(headers['Location']!)![1];
    for (const kind of ['backupValidateOperationsStatuses', 'backupValidateOperationResults'])
      for (const each of [id, 'nobodys'])
        expect((await ask('GET', `/${kind}/${each}`)).body.error.code).toBe('OperationNotFound');
  });

  it('needs an operator', async () => {
    for (const path of ['backupValidateOperation', 'backupTriggerValidateOperation'])
      expect((await askWorld(world, 'POST', `${VAULT_PATH}/${path}`, request(), 'Backup Reader')).status).toBe(403);
  });
});
