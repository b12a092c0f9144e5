import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { AlertNews } from '../../shared/alert/alert-receiver.ts';
import { webhook } from '../../shared/alert/webhook.ts';
import {
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
} from '../support/arm-platform.ts';

const VAULT = 'alert-vault';
const VM = 'web';

let server: Server;
let url: string;
let platform: ArmPlatform;
const heard: AlertNews[] = [];
let status = 200;
let posts = 0;

beforeAll(async () => {
  const take = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    posts++;
    const body = (await json(request)) as AlertNews;
    if (status === 200) heard.push(body);
    response.writeHead(status, { location: `${url}/elsewhere` }).end();
  };
  server = createServer((request, response) => void take(request, response));
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  platform = await startArmPlatform('completed', { env: { STRATA_ALERT_WEBHOOK: `${url}/hook` }, output: () => {} });
});
afterAll(async () => {
  await platform?.stop();
  server?.closeAllConnections();
  server?.close();
});

/** Moves the platform's clock; timers that fall due on the way run. */
async function advance(advance: string): Promise<void> {
  const body = JSON.stringify({ advance });
  const answer = await fetch(`${platform.endpoints.http}/local/clock`, { method: 'POST', body });
  expect(answer.status).toBe(200);
}

async function backup(): Promise<string | undefined> {
  const client = platform.backup();
  const job = await jobOf(client, VAULT, (options) =>
    client.backups.trigger(...at(VAULT, VM), { properties: { objectType: 'IaasVMBackupRequest' } }, options),
  );
  return (await ended(client, VAULT, job)).properties.status;
}

const newsOf = (kind: string): string[] => heard.filter((news) => news.kind === kind).map(({ event }) => event);

describe('a receiver of alerts', () => {
  it('hears of a failed backup once, though it refuses at first, and of its end', async () => {
    const place = [platform, 'stratadisks1', 'web.vhd', 2 ** 21] as const;
    const bytes = [{ offset: 0, bytes: randomBytes(4096) }];
    const disk = await makeDisk(...place, bytes);
    const vmId = await makeVm(platform, VM, { os: disk.url });
    const { vaults } = platform.vaults();
    await vaults.createOrUpdate(GROUP, VAULT, { location: LOCATION, sku: { name: 'Standard' }, properties: {} });
    const client = platform.backup();
    const policy = await client.protectionPolicies.createOrUpdate(VAULT, GROUP, 'daily', {
      properties: dailyPolicy(7),
    });
    await client.protectedItems.createOrUpdate(VAULT, GROUP, 'Azure', containerOf(VM), itemOf(VM), {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        sourceResourceId: vmId,
        policyId: policy.id!,
      },
    });
    await disk.delete({ deleteSnapshots: 'include' });
    expect(await backup()).toBe('Failed');
    status = 503;
    await advance('PT20M');
    await vi.waitFor(() => expect(posts).toBeGreaterThan(0), { timeout: 30_000 });
    expect(heard).toEqual([]);
    status = 200;
    await advance('PT16M');
    await vi.waitFor(() => expect(newsOf('backupFailed')).toEqual(['raised']), { timeout: 30_000 });
    await makeDisk(...place, bytes);
    expect(await backup()).toMatch(/^Completed/);
    await advance('PT16M');
    await vi.waitFor(() => expect(newsOf('backupFailed')).toEqual(['raised', 'resolved']), { timeout: 30_000 });
    const [raised, resolved] = heard.filter(({ kind }) => kind === 'backupFailed');
    expect(resolved).toMatchObject({ id: raised!.id, subject: 'app-rg;web', raisedAt: raised!.raisedAt });
  });

  it('is told nothing by way of a redirect', async () => {
    status = 307;
    const before = posts;
    const news = { id: '1', event: 'raised', kind: 'backupLate', vault: 'v', subject: 's' } as const;
    const told = webhook(`${url}/hook?sig=c2VjcmV0`).tell({ ...news, message: 'm', raisedAt: '' });
    await expect(told).rejects.toThrow(/^the receiver of alerts answers 307: expected 200 to 299$/);
    expect(posts).toBe(before + 1);
    await expect(webhook('http://127.0.0.1:9/x').tell({ ...news, message: 'm', raisedAt: '' })).rejects.toMatchObject({
      code: 'AlertNotDelivered',
    });
  });
});
