import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type ArmPlatform,
  type ArmReply,
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
} from '../support/arm-platform.ts';

/**
 * A day of a platform that logs all it can, whose every secret is known here: nothing that it prints or answers has one of them in it,
 * whether things go well or not. And what the app logs can be read by a machine.
 */
const VAULT = 'secret-vault';
const VM = 'web';
/** What callers send by mistake, in places that end up in messages. */
const SENT = { sig: 'c2lnbmF0dXJlT2ZBQ2FsbGVy', code: 'not-the-key-0123456789', bearer: 'opaque-token-0123456789' };

let platform: ArmPlatform;
const lines: string[] = [];
const answers: string[] = [];
const tokens: string[] = [];

beforeAll(async () => {
  const output = (line: string): void => void lines.push(line);
  platform = await startArmPlatform('completed', { env: { STRATA_LOG: 'trace', STRATA_LOG_FORMAT: 'json' }, output });
});
afterAll(() => platform?.stop());

async function call(...args: Parameters<ArmPlatform['call']>): Promise<ArmReply> {
  const reply = await platform.call(...args);
  answers.push(JSON.stringify([reply.body, ...reply.headers]));
  return reply;
}

describe('a platform whose secrets are known', () => {
  it('backs up', async () => {
    const disk = await makeDisk(platform, 'stratadisks1', 'web.vhd', 2 ** 22, [
      { offset: 0, bytes: randomBytes(65_536) },
    ]);
    const vmId = await makeVm(platform, VM, { os: disk.url });
    const { vaults } = platform.vaults();
    await vaults.createOrUpdate(GROUP, VAULT, { location: LOCATION, sku: { name: 'Standard' }, properties: {} });
    const client = platform.backup();
    const policy = await client.protectionPolicies.createOrUpdate(VAULT, GROUP, 'daily', {
      properties: dailyPolicy(7),
    });
    const protect = { protectedItemType: 'Microsoft.Compute/virtualMachines', sourceResourceId: vmId } as const;
    await client.protectedItems.createOrUpdate(VAULT, GROUP, 'Azure', containerOf(VM), itemOf(VM), {
      properties: { ...protect, policyId: policy.id! },
    });
    const vault = await vaults.get(GROUP, VAULT);
    const body = { vaultId: vault.id, vmId };
    const keyed = await call('POST', `/api/backup-now?code=${platform.endpoints.functionKey}`, body, {
      authorization: '',
    });
    expect(keyed.status).toBe(202);
    await ended(client, VAULT, keyed.body.jobId);
    const again = await jobOf(client, VAULT, (options) =>
      client.backups.trigger(...at(VAULT, VM), { properties: { objectType: 'IaasVMBackupRequest' } }, options),
    );
    await ended(client, VAULT, again);
    for (const path of ['backupJobs', `backupJobs/${again}`, 'backupProtectedItems', 'backupPolicies'])
      expect((await call('GET', `${vault.id}/${path}?api-version=2023-06-01`)).status).toBe(200);
  });

  it('refuses what is wrong, and fails at what is not there', async () => {
    const vault = `/subscriptions/${platform.endpoints.subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${VAULT}`;
    const version = 'api-version=2023-06-01';
    const refused = [
      await call('GET', `${vault}?${version}`, undefined, { authorization: `Bearer ${SENT.bearer}` }),
      await call('GET', `${vault}?${version}&$filter=sig=${SENT.sig}`),
      await call('GET', `${vault}/backupJobs?${version}&$filter=x eq 'https://a/b?sig=${SENT.sig}'`),
      await call('GET', `${vault}/https%3A%2F%2Fa%3Fsig=${SENT.sig}?${version}`),
      await call('PUT', `${vault}/backupPolicies/p?${version}`, { properties: { a: `AccountKey=${SENT.sig};` } }),
      await call('POST', `/api/backup-now?code=${platform.endpoints.functionKey}`, {
        vaultId: `https://a/b?sv=1&sig=${SENT.sig}`,
        vmId: `/subscriptions/x?sig=${SENT.sig}`,
      }),
    ];
    for (const { status } of refused) expect(status).toBeLessThan(500);
    const unkeyed = await fetch(`${platform.endpoints.https}/api/backup-now?code=${SENT.code}`, { method: 'POST' });
    answers.push(await unkeyed.text());
    expect(unkeyed.status).toBe(401);

    // A disk that is gone: the job says why, after Compute and storage have said it.
    const container = platform.blobs('stratadisks1').getContainerClient('vhds');
    await container.deleteBlob('web.vhd', { deleteSnapshots: 'include' });
    const client = platform.backup();
    const job = await jobOf(client, VAULT, (options) =>
      client.backups.trigger(...at(VAULT, VM), { properties: { objectType: 'IaasVMBackupRequest' } }, options),
    );
    expect((await ended(client, VAULT, job)).properties.status).toBe('Failed');
    answers.push(JSON.stringify(await call('GET', `${vault}/backupJobs/${job}?${version}`)));
  });

  it('prints and answers none of them', async () => {
    tokens.push(await platform.token(['Backup Contributor']));
    const identity = await readFile(join(platform.dataDir, 'host-env.json'), 'utf8');
    const clientSecret = /"AZURE_CLIENT_SECRET":\s*"([^"]+)"/.exec(identity)?.[1];
    expect(clientSecret).toBeDefined();
    const keys = platform.endpoints.storage.map(({ key }) => key);
    const secrets = [...keys, ...Object.values(SENT), clientSecret!, platform.endpoints.functionKey, ...tokens];
    expect(lines.length).toBeGreaterThan(50);
    expect(answers.length).toBeGreaterThan(10);
    const found = [...lines, ...answers].filter((text) =>
      secrets.some((secret) => text.includes(secret) || text.includes(encodeURIComponent(secret))),
    );
    expect(found).toEqual([]);
    expect([...lines, ...answers].join('\n')).not.toMatch(/eyJ[\w-]{8,}\.[\w-]{8,}\./);
  });

  it('logs objects that say to which work they belong', () => {
    // The host's own lines have no braces: they tell of the beginning and the end of a run.
    const records = lines.flatMap((line) => {
      const text = /^\[[^\]]+\] (?:warning: |error: )?(\{.*\})$/.exec(line)?.[1];
      return text === undefined ? [] : [JSON.parse(text) as Record<string, string>];
    });
    const steps = records.filter(({ message = '' }) => message.startsWith('step '));
    expect(new Set(steps.map(({ message }) => /step ([a-z-]+)/.exec(message!)?.[1])).size).toBeGreaterThan(1);
    for (const own of records) {
      expect(own).toMatchObject({ time: expect.any(String), level: expect.stringMatching(/^(info|warning|error)$/) });
      expect(own).toMatchObject({ function: expect.any(String), requestId: expect.any(String) });
      expect(own['correlationId']).toBeDefined();
    }
    for (const own of steps) expect(own).toMatchObject({ jobId: expect.any(String), vault: expect.any(String) });
  });
});
