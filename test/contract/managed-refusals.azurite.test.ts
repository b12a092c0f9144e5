import { afterAll, beforeAll, expect, it } from 'vitest';
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
