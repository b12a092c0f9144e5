import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CallPace } from '../../shared/azure/compute-calls.ts';
import { managedTargets } from '../../shared/disk/managed-targets.ts';
import { type ManagedPlatform, startManagedPlatform } from '../support/managed-platform.ts';

/* A restore that Compute will never carry out says so at once: passing trouble would be tried for days, with its point pinned. */

const SIZE = 4 * 1024 * 1024;
const JOB = 'job-1';
let platform: ManagedPlatform;

beforeAll(async () => {
  platform = await startManagedPlatform('stock');
});
afterAll(() => platform.stop());

const create = (subscriptionId: string, endpoint = platform.endpoint): Promise<void> => {
  const url = `/subscriptions/${subscriptionId}/resourceGroups/restored/providers/Microsoft.Compute/disks/disk`;
  const { credential, location } = platform;
  const targets = managedTargets({ endpoint, credential, retries: 0 });
  return targets.create({ url, leaseId: 'lease' }, SIZE, JOB, { location });
};

it('a group in a subscription that there is not', async () => {
  await expect(create('00000000-0000-4000-8000-00000000dead')).rejects.toMatchObject({
    code: 'UserErrorInvalidRestoreRequest',
    message: expect.stringContaining('subscription') as string,
  });
});

it.each([
  [404, 'ResourceGroupNotFound'],
  [409, 'ScopeLocked'],
  [409, 'QuotaExceeded'],
])('an answer of %d %s', async (status, code) => {
  platform.gate.answerWith(({ method }) =>
    method === 'PUT' ? Response.json({ error: { code, message: 'for this reason' } }, { status }) : undefined,
  );
  await expect(create(platform.subscriptionId, platform.gate.endpoint)).rejects.toMatchObject({
    code: 'UserErrorInvalidRestoreRequest',
    message: expect.stringContaining('for this reason') as string,
  });
});

const target = () => ({ url: platform.owner.newUrl('target'), leaseId: 'lease' });
const through = () => {
  const { credential } = platform;
  return managedTargets({ endpoint: platform.gate.endpoint, credential, retries: 0 });
};

it('access to an upload without a footer that Compute will not end: the disk goes all the same', async () => {
  const wanted = target();
  const targets = through();
  let hasFooter = false;
  let late: unknown;
  platform.gate.answerWith(() => undefined);
  await targets.create(wanted, SIZE, JOB, { location: platform.location });
  await targets.write(wanted, 0, new Uint8Array(512).fill(1));
  platform.gate.answerWith((request) => {
    const { pathname } = new URL(request.url);
    hasFooter ||= request.method === 'PUT' && !pathname.startsWith('/subscriptions/');
    if (request.method === 'DELETE' && hasFooter && late === undefined) {
      // A twin that comes late must not take the disk for finished.
      late = managedTargets({ endpoint: platform.endpoint, credential: platform.credential, retries: 0 })
        .create(wanted, SIZE, JOB, { location: platform.location })
        .catch((error: unknown) => error);
    }
    return pathname.endsWith('endGetAccess') && !hasFooter
      ? Response.json({ error: { code: 'InvalidVhd', message: 'no cookie' } }, { status: 409 })
      : undefined;
  });
  await targets.discard(wanted, JOB);
  expect(hasFooter).toBe(true);
  await late;
  const [, , , , group] = wanted.url.split('/');
  const names = await Array.fromAsync(platform.client.disks.listByResourceGroup(group!));
  expect(names.filter(({ diskState }) => diskState === 'Unattached')).toEqual([]);
});

it('an upload that another worker has open, where Compute opens it once: that is passing', async () => {
  const wanted = target();
  const targets = through();
  platform.gate.answerWith(() => undefined);
  await targets.create(wanted, SIZE, JOB, { location: platform.location });
  let refused = 0;
  platform.gate.answerWith((request) =>
    new URL(request.url).pathname.endsWith('beginGetAccess') && refused++ < 2
      ? Response.json({ error: { code: 'OperationNotAllowed', message: 'it is open' } }, { status: 409 })
      : undefined,
  );
  await targets.write(wanted, 0, new Uint8Array(512).fill(1));
  expect(refused).toBe(3);
  await targets.discard(wanted, JOB);
});

it.each([
  ['has restored', true],
  ['restores', false],
])('a discard that slept takes away no disk that another job %s under the same name', async (_, isFinished) => {
  const wanted = target();
  const { location, endpoint, credential, gate } = platform;
  const other = managedTargets({ endpoint, credential, retries: 0 });
  await other.create(wanted, SIZE, JOB, { location });
  let isAnew = false;
  gate.answerWith(({ method }) =>
    method === 'DELETE' && !isAnew
      ? Response.json({ error: { code: 'OperationNotAllowed', message: 'it is open' } }, { status: 409 })
      : undefined,
  );
  const calls: CallPace = {
    async run(kind, _, work) {
      if (kind.endsWith(' PATCH disks/*') && !isAnew) {
        await other.discard(wanted, JOB);
        await other.create(wanted, SIZE, 'job-2', { location });
        if (isFinished) await other.complete(wanted);
        isAnew = true;
      }
      return work();
    },
    answered: () => undefined,
  };
  await managedTargets({ endpoint: gate.endpoint, credential, retries: 0, calls }).discard(wanted, JOB);
  expect(isAnew).toBe(true);
  if (!isFinished) {
    await other.write(wanted, 0, new Uint8Array(512));
    await other.complete(wanted);
  }
  expect(await other.readBack(wanted.url, { start: 0, end: 512 })).toEqual(new Uint8Array(512));
  expect(await platform.owner.metadata(wanted.url)).toEqual({});
});
