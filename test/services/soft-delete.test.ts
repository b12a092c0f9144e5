import { beforeEach, describe, expect, it } from 'vitest';
import type { Role } from '../../shared/arm/callers.ts';
import { armApi } from '../../shared/arm/serve.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { takeDue } from '../../shared/services/take-due.ts';
import { assertBilled } from '../support/assert-billed.ts';
import { bodyOf } from '../support/body-of.ts';
import { SUBSCRIPTION } from '../support/life.ts';
import { leftovers, newestRecord } from '../support/vault-map.ts';
import { DAY_MS, VAULT } from '../support/world.ts';
import {
  KEY,
  type Stage,
  block,
  container,
  itemOf,
  jobsOf,
  live,
  restoresExactly,
  stage,
  start,
  until,
} from './stage.ts';

/* Soft delete as callers meet it: through the API, over the services in memory. */

const V = `/subscriptions/${SUBSCRIPTION}/resourceGroups/bk/providers/Microsoft.RecoveryServices/vaults/v1`;
const CONTAINER = `${V}/backupFabrics/Azure/protectionContainers/IaasVMContainer;iaasvmcontainerv2;app;vm`;
const ITEM = `${CONTAINER}/protectedItems/VM;iaasvmcontainerv2;app;vm`;
const VM_TYPE = 'Microsoft.Compute/virtualMachines';
const VM_ID = `/subscriptions/${SUBSCRIPTION}/resourceGroups/app/providers/${VM_TYPE}/vm`;

let here: Stage;

// oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
type Answer = { status: number; body: any; operation: string | undefined };

async function ask(method: string, path: string, body?: unknown, role: Role = 'Backup Contributor'): Promise<Answer> {
  const tokens = { issuer: '', audiences: [], jwksUrl: '' };
  const config = { subscriptionId: SUBSCRIPTION, tokens, publicUrl: 'http://strata' };
  const serve = armApi({ config, ports: here.world.ports }, async () => ({ name: 'me', roles: [role] }));
  const answer = await serve({
    method,
    url: `http://strata${path}?api-version=2023-06-01`,
    headers: new Headers(),
    body: bodyOf(body === undefined ? '' : JSON.stringify(body)),
  });
  return { status: answer.status, body: answer.body, operation: answer.headers?.['Azure-AsyncOperation'] };
}

const put = (properties: Record<string, unknown>, role?: Role): Promise<Answer> =>
  ask('PUT', ITEM, { properties: { protectedItemType: VM_TYPE, sourceResourceId: VM_ID, ...properties } }, role);
const protecting = (): Promise<Answer> => put({ policyId: `${V}/backupPolicies/nightly` });
const stopping = (): Promise<Answer> => put({ policyId: '', protectionState: 'ProtectionStopped' });
const deleting = (): Promise<Answer> => ask('DELETE', ITEM);
const undeleting = (): Promise<Answer> =>
  put({ policyId: '', protectionState: 'ProtectionStopped', isRehydrate: true }, 'Backup Operator');
const shown = async (): Promise<Answer['body']> => (await ask('GET', ITEM)).body.properties;

/** The state as clients see it. */
async function state(): Promise<string> {
  const { status, body } = await ask('GET', ITEM);
  if (status === 404) return 'absent';
  const { isScheduledForDeferredDelete, protectionState } = body.properties;
  if (isScheduledForDeferredDelete === true) return 'deleted';
  return protectionState === 'ProtectionStopped' ? 'stopped' : 'protected';
}

async function brought(to: string): Promise<void> {
  if (to === 'absent') await here.world.ports.catalog.items.remove(VAULT, KEY);
  if (to === 'stopped') await stopping();
  if (to === 'deleted') await deleting();
  expect(await state()).toBe(to);
}

beforeEach(async () => {
  here = await stage();
  await here.world.disks.write(here.disk, 0, block(1, 3));
});

describe.each<[from: string, request: string, act: () => Promise<Answer>, status: number, then: string, code?: string]>(
  [
    ['absent', 'protecting', protecting, 202, 'protected'],
    ['absent', 'stopping', stopping, 404, 'absent', 'ResourceNotFound'],
    ['absent', 'deleting', deleting, 204, 'absent'],
    ['absent', 'undeleting', undeleting, 404, 'absent', 'ResourceNotFound'],
    ['protected', 'protecting', protecting, 202, 'protected'],
    ['protected', 'stopping', stopping, 202, 'stopped'],
    ['protected', 'deleting', deleting, 202, 'deleted'],
    ['protected', 'undeleting', undeleting, 409, 'protected', 'ItemNotSoftDeleted'],
    ['stopped', 'protecting', protecting, 202, 'protected'],
    ['stopped', 'stopping', stopping, 202, 'stopped'],
    ['stopped', 'deleting', deleting, 202, 'deleted'],
    ['stopped', 'undeleting', undeleting, 202, 'stopped'],
    ['deleted', 'protecting', protecting, 409, 'deleted', 'ItemSoftDeleted'],
    ['deleted', 'stopping', stopping, 409, 'deleted', 'ItemSoftDeleted'],
    ['deleted', 'deleting', deleting, 202, 'deleted'],
    ['deleted', 'undeleting', undeleting, 202, 'stopped'],
  ],
)('of an item that is %s, %s', (from, _request, act, status, then, code) => {
  // What is answered to the second of two that did something is what the state that the first has brought says.
  it(`is answered ${status}, twice, and leaves it ${then}`, async () => {
    await brought(from);
    for (let time = 0; time < 2; time++) {
      const answer = await act();
      expect([answer.status, answer.body?.error.code]).toEqual([status, code]);
      expect(answer.operation !== undefined).toBe(status === 202);
      expect(await state()).toBe(then);
    }
  });
});

describe('an item that is deleted softly', () => {
  it('says since when, and for how much longer it can be undeleted', async () => {
    const at = here.world.clock.now();
    await deleting();
    here.world.clock.advance(1000);
    await deleting();
    expect(await shown()).toMatchObject({
      protectionState: 'ProtectionStopped',
      policyId: '',
      policyName: '',
      isScheduledForDeferredDelete: true,
      deferredDeleteTimeInUTC: new Date(at).toISOString(),
      deferredDeleteTimeRemaining: '13.23:59:59',
      softDeleteRetentionPeriod: 14,
      softDeleteRetentionPeriodInDays: 14,
    });
    expect((await itemOf(here.world)).deferredDelete).toMatchObject({ by: 'me' });
    const containers = await ask('GET', `${V}/backupProtectionContainers`);
    expect(containers.body.value[0].properties.registrationStatus).toBe('SoftDeleted');
    here.world.clock.advance(20 * DAY_MS);
    expect((await shown()).deferredDeleteTimeRemaining).toBe('00:00:00');
  });

  it('tells its jobs, in the words of the service', async () => {
    await here.backUp(30);
    await deleting();
    await undeleting();
    const told = (await jobsOf(here.world))
      .filter(({ operation }) => /Delete|Undelete/.test(operation))
      .sort((a, b) => (a.operation < b.operation ? -1 : 1));
    expect(told.map(({ operation, status, bag }) => [operation, status, bag])).toEqual([
      ['DeleteBackupData', 'Completed', { 'VM Name': 'vm', 'Number of Recovery Points': '1' }],
      ['Undelete', 'Completed', { 'VM Name': 'vm', 'Undelete flag': 'True' }],
    ]);
  });

  it('follows the days that its vault says at that moment', async () => {
    await ask('PATCH', V, {
      properties: { securitySettings: { softDeleteSettings: { softDeleteRetentionPeriodInDays: 30 } } },
    });
    await deleting();
    expect(await shown()).toMatchObject({ deferredDeleteTimeRemaining: '30.00:00:00', softDeleteRetentionPeriod: 30 });
  });

  it('loses nothing to cleanup and sweep, however late, and comes back whole', async () => {
    const { world, images, disk, backUp } = here;
    await backUp(1);
    await world.disks.write(disk, 0, block(2));
    await backUp(1);
    await deleting();
    const objects = [...container(world).keys()].filter((name) => !name.includes('/chain/')).sort();
    world.clock.advance(40 * DAY_MS);
    await world.cleanUp();
    await world.sweep();
    expect([...container(world).keys()].filter((name) => !name.includes('/chain/')).sort()).toEqual(objects);
    expect(leftovers(container(world))).toEqual([]);
    expect(live(world)).toEqual([...images.keys()]);
    await assertBilled(world);
    await undeleting();
    await restoresExactly(world, images);
    // With a policy again the first of the two goes.
    await protecting();
    await world.cleanUp();
    expect(live(world)).toEqual([[...images.keys()][1]]);
  });

  it('is not backed up, nor restored', async () => {
    const point = await here.backUp(30);
    await deleting();
    const refused = { status: 409, body: { error: { code: 'ItemSoftDeleted' } } };
    expect(await ask('POST', `${ITEM}/backup`, { properties: { objectType: 'IaasVMBackupRequest' } })).toMatchObject(
      refused,
    );
    await expect(here.world.restore('vm', point)).rejects.toMatchObject({ code: 'ItemSoftDeleted' });
    here.world.clock.advance(2 * DAY_MS);
    expect(await takeDue(here.world.ports)).toBe(0);
  });

  it('is in the way of its vault, which cannot be deleted', async () => {
    await deleting();
    const { status, body } = await ask('DELETE', V);
    expect([status, body.error.message]).toEqual([
      409,
      expect.stringMatching(/existing resources within.*vm \(in soft deleted state/),
    ]);
  });

  it('stays so when the tables are rebuilt from what is left of them', async () => {
    await here.backUp(30);
    await deleting();
    const { status } = await ask('POST', `${V}/strata/rebuildCatalog`, {});
    expect(status).toBe(202);
    await here.world.drain();
    await here.world.settle();
    expect(await state()).toBe('deleted');
  });
});

it('ends the backups that run and that wait', async () => {
  const { world } = here;
  const running = await start(world);
  world.queue.putBack(await until(world, 'transfer-unit'));
  const waiting = await startBackup(world.ports, VAULT, KEY, { kind: 'scheduled', dueAt: world.clock.now() });
  await deleting();
  await world.drain();
  await world.settle();
  for (const id of [running, waiting])
    expect(await world.job(id)).toMatchObject({
      status: 'Cancelled',
      errors: expect.arrayContaining([expect.objectContaining({ code: 'ItemSoftDeleted' })]),
    });
  expect(live(world)).toEqual([]);
  expect(await itemOf(world)).not.toHaveProperty('activeJob');
});

it('a merge that was planned before comes too late', async () => {
  const { world, disk, backUp } = here;
  await backUp(1);
  await world.disks.write(disk, 0, block(2));
  await backUp(30);
  world.clock.advance(3 * DAY_MS);
  await cleanUp(world.ports);
  world.queue.putBack(await until(world, 'plan-merge'));
  await deleting();
  await world.drain();
  await world.settle();
  expect(live(world)).toHaveLength(2);
  expect(newestRecord(container(world)).state).toBe('stopped');
});

it('with soft delete off nothing is removed: that is refused, and says what to do', async () => {
  await ask('PATCH', V, { properties: { securitySettings: { softDeleteSettings: { softDeleteState: 'Disabled' } } } });
  const { status, body } = await deleting();
  expect([status, body.error.code]).toEqual([409, 'DataDeletionNotSupported']);
  expect(body.error.message).toMatch(/soft delete of vault v1 is off/);
  expect(await state()).toBe('protected');
  // What was deleted while it was on stays so.
  await ask('PATCH', V, { properties: { securitySettings: { softDeleteSettings: { softDeleteState: 'Enabled' } } } });
  await deleting();
  await ask('PATCH', V, { properties: { securitySettings: { softDeleteSettings: { softDeleteState: 'Disabled' } } } });
  expect((await deleting()).status).toBe(202);
  expect(await state()).toBe('deleted');
});

it('of five who delete, and five who undelete, all are answered alike', async () => {
  await here.backUp(30);
  const five = (act: () => Promise<Answer>): Promise<Answer[]> => Promise.all(Array.from({ length: 5 }, act));
  expect((await five(deleting)).map(({ status }) => status)).toEqual(Array(5).fill(202));
  expect(await state()).toBe('deleted');
  expect((await five(undeleting)).map(({ status }) => status)).toEqual(Array(5).fill(202));
  expect(await state()).toBe('stopped');
  expect((await five(protecting)).map(({ status }) => status)).toEqual(Array(5).fill(202));
  expect(await state()).toBe('protected');
  expect(newestRecord(container(here.world)).state).toBe('protected');
});

it.each([
  [{ policyId: `${V}/backupPolicies/nightly`, isRehydrate: true }, 'properties.policyId'],
  [{ policyId: '', isRehydrate: true, protectionState: 'Protected' }, 'properties.protectionState'],
])('undeleting with %j asks for two things at once', async (properties, target) => {
  await deleting();
  const { status, body } = await put(properties);
  expect([status, body.error.target]).toEqual([400, target]);
  expect(await state()).toBe('deleted');
});
