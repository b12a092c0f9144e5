import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { QueueServiceClient, StorageSharedKeyCredential } from '@azure/storage-queue';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startPlatform, startWorker, type Platform } from '../../local/platform/start.ts';
import { base64, HOST_APP, readEvents } from '../support/functions-host.ts';

let dir: string;
let platform: Platform;
const said: string[] = [];

const start = (dataDir: string) =>
  startPlatform({
    dataDir,
    portBase: 0,
    appDir: HOST_APP,
    say: (line) => said.push(line),
    env: {
      WORK_QUEUE: 'work',
      RELAY_QUEUE: 'relay',
      HOST_APP_RECORD: join(dir, 'events.jsonl'),
      STRATA_LOG: 'critical',
    },
  });
const events = () => readEvents(join(dir, 'events.jsonl'));
const workQueue = () => {
  const [account] = platform.endpoints.storage;
  if (account === undefined) throw new Error('no storage account');
  const credential = new StorageSharedKeyCredential(account.account, account.key);
  return new QueueServiceClient(account.queue, credential).getQueueClient('work');
};
const postClock = (body: unknown) =>
  fetch(`${platform.endpoints.http}/local/clock`, { method: 'POST', body: JSON.stringify(body) });

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'strata-platform-'));
  platform = await start(dir);
});
afterAll(async () => {
  await platform.stop();
  await rm(dir, { recursive: true, force: true });
});

describe('a running platform', () => {
  it('writes endpoints.json by the contract, for its owner alone', () => {
    const file = join(dir, 'endpoints.json');
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(platform.endpoints);
    expect(statSync(file).mode & 0o077).toBe(0);
    expect(platform.endpoints.storage.map(({ account, kind }) => [account, kind])).toEqual([
      ['devstoreaccount1', 'standard'],
      ['stratadisks1', 'standard'],
      ['stratadisks2', 'standard'],
      ['stratapremium1', 'premium'],
    ]);
  });

  it('proxies to the app over HTTP and over TLS that a strict client accepts, with the address it was called by', async () => {
    const { http, https, caFile } = platform.endpoints;
    const plain = (await (await fetch(`${http}/echo/a`)).json()) as { url: string };
    expect(plain.url).toBe(`${http}/echo/a`);
    const body = await new Promise<string>((resolve, reject) => {
      const outgoing = request(`${https}/echo/b`, { ca: readFileSync(caFile) }, (response) => {
        response.setEncoding('utf8').on('data', resolve);
      });
      outgoing.on('error', reject).end();
    });
    expect((JSON.parse(body) as { url: string }).url).toBe(`${https}/echo/b`);
  });

  it('guards functions by the key of endpoints.json', async () => {
    const { http, functionKey } = platform.endpoints;
    expect((await fetch(`${http}/guarded`)).status).toBe(401);
    expect((await fetch(`${http}/guarded?code=${functionKey}`)).status).toBe(200);
  });

  it('gives the app its identity, settings and addresses', async () => {
    const { http, https, caFile, subscriptionId, storage } = platform.endpoints;
    const identity = (await (await fetch(`${http}/identity`)).json()) as { status: number; subscription: object };
    expect(identity).toMatchObject({ status: 200, subscription: { subscriptionId } });
    const { masterKey } = JSON.parse(readFileSync(join(dir, 'platform.json'), 'utf8')) as { masterKey: string };
    const environment = (await (await fetch(`${http}/environment?code=${masterKey}`)).json()) as Record<string, string>;
    expect(environment).toMatchObject({
      FUNCTIONS_WORKER_RUNTIME: 'node',
      STRATA_ARM_ENDPOINT: https,
      STRATA_PUBLIC_URL: https,
      STRATA_SUBSCRIPTION_ID: subscriptionId,
      STRATA_CLOCK_FILE: join(dir, 'clock.json'),
      STRATA_DELETE_GRACE_SECONDS: '5',
      STRATA_LOCATION: 'westeurope',
      STRATA_TOKEN_AUDIENCE: 'https://management.azure.com/',
      NODE_EXTRA_CA_CERTS: caFile,
      AZURE_TENANT_ID: 'adfs',
    });
    expect(environment['AzureWebJobsStorage']).toBe(environment['STRATA_VAULT_STORAGE']);
    expect(environment['AzureWebJobsStorage']).toContain('AccountName=devstoreaccount1;');
    expect(JSON.parse(environment['STRATA_STORAGE_ACCOUNTS'] ?? '')).toEqual(
      storage.map(({ account, kind, blob, key }) => ({ account, kind, blob, key })),
    );
    expect((await fetch(environment['STRATA_TOKEN_JWKS']?.replace(https, http) ?? '')).status).toBe(200);
  });

  it('keeps /local/ from the pages of other sites', async () => {
    const { http } = platform.endpoints;
    expect((await fetch(`${http}/local/clock`, { headers: { origin: 'https://elsewhere.example' } })).status).toBe(403);
    expect((await fetch(`${http}/local/clock`, { headers: { origin: http } })).status).toBe(200);
    expect((await fetch(`${http}/local/nothing`)).status).toBe(404);
  });

  it('refuses a body of more than 100 MiB and passes one of 100', async () => {
    const url = `${platform.endpoints.http}/bytes`;
    expect((await fetch(url, { method: 'POST', body: Buffer.alloc(140 * 2 ** 20) })).status).toBe(413);
    expect((await (await fetch(url, { method: 'POST', body: Buffer.alloc(100 * 2 ** 20) })).bytes()).length).toBe(
      100 * 2 ** 20,
    );
  });

  it('is refused a second time on the same folder', async () => {
    await expect(start(dir)).rejects.toThrow(/a platform is already running on .* \(pid \d+\)/);
    expect(existsSync(join(dir, 'endpoints.json'))).toBe(true);
  });

  it('is refused a port that is taken, in one line', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const other = await mkdtemp(join(tmpdir(), 'strata-taken-'));
    try {
      const starting = startPlatform({ dataDir: other, portBase: Math.min(port, 65_531), appDir: HOST_APP });
      await expect(starting).rejects.toThrow(/^port \d+ \(\w+\) cannot be used: [^\n]*EADDRINUSE[^\n]*$/);
      await expect(startPlatform({ dataDir: other, portBase: 70_000 })).rejects.toThrow(/STRATA_PORT_BASE must be/);
    } finally {
      taken.close();
      await rm(other, { recursive: true, force: true });
    }
  });

  it('starts the Functions host again when it dies', async () => {
    const pid = platform.hostPid as number;
    process.kill(pid, 'SIGKILL');
    await vi.waitFor(() => expect(platform.hostPid).toSatisfy((now) => now !== undefined && now !== pid), {
      timeout: 10_000,
    });
    expect(said.at(-1)).toMatch(`the Functions host (pid ${pid}) ended unexpectedly (SIGKILL); starting another one`);
    expect((await fetch(`${platform.endpoints.http}/echo/a`)).status).toBe(200);
  });

  it('lets workers join and leave', async () => {
    const worker = await startWorker({ dataDir: dir });
    const names = Array.from({ length: 16 }, (_, at) => `joined-${at}`);
    await workQueue().createIfNotExists();
    await Promise.all(names.map((name) => workQueue().sendMessage(base64({ name, sleepMs: 200 }))));
    const done = () =>
      events().filter(({ fn, entry }) => fn === 'work-done' && names.includes(String(entry?.['name'])));
    await vi.waitFor(() => expect(done()).toHaveLength(16), { timeout: 20_000 });
    expect(done().some(({ pid }) => pid === worker.pid)).toBe(true);
    await worker.kill();
    const another = await startWorker({ dataDir: dir });
    await another.stop();
    expect(said.at(-1)).not.toMatch(String(worker.pid));
  });

  it('refuses a worker where no platform runs', async () => {
    await expect(startWorker({ dataDir: join(dir, 'nowhere') })).rejects.toThrow(/no platform is running/);
  });
});

describe('the clock', () => {
  it('moves by durations and to times, firing timers in order', async () => {
    const before = (await (await fetch(`${platform.endpoints.http}/local/clock`)).json()) as { now: string };
    const seen = events().length;
    const moved = (await (await postClock({ advance: 'P1D' })).json()) as { now: string; fired: number };
    expect(Date.parse(moved.now) - Date.parse(before.now)).toBeGreaterThanOrEqual(86_400_000);
    expect(moved.fired).toBe(192);
    const times = events()
      .slice(seen)
      .map(({ at = 0 }) => at);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    const target = new Date(Date.parse(moved.now) + 3_600_000).toISOString();
    expect(((await (await postClock({ now: target })).json()) as { fired: number }).fired).toBe(8);
  });

  it('adds up moves that are asked for at once', async () => {
    const before = (await (await fetch(`${platform.endpoints.http}/local/clock`)).json()) as { now: string };
    const answers = await Promise.all([1, 2, 3].map(() => postClock({ advance: 'PT1H' })));
    const times = await Promise.all(
      answers.map(async (answer) => Date.parse(((await answer.json()) as { now: string }).now)),
    );
    expect(Math.max(...times) - Date.parse(before.now)).toBeGreaterThanOrEqual(3 * 3_600_000);
  });

  it.each([
    [{ advance: '-P1D' }, /only goes forward/],
    [{ now: '2020-01-01T00:00:00Z' }, /only goes forward/],
    [{ advance: '1 day' }, /not an ISO-8601 duration/],
    [{ now: 'tomorrow' }, /not an ISO-8601 time/],
    [{ forward: 'P1D' }, /"forward" is not known/],
    [{ advance: 1 }, /must be a string/],
    [{}, /found 0 properties/],
    [[], /not a JSON object/],
  ])('refuses %j', async (body, message) => {
    const answer = await postClock(body);
    expect(answer.status).toBe(400);
    expect(((await answer.json()) as { error: { message: string } }).error.message).toMatch(message);
  });
});

describe('a restart on the same folder', () => {
  it('loses nothing: ids, keys, certificate, clock and messages stay', async () => {
    const before = platform.endpoints;
    const now = async () =>
      Date.parse(((await (await fetch(`${platform.endpoints.http}/local/clock`)).json()) as { now: string }).now);
    const ca = readFileSync(before.caFile, 'utf8');
    const time = await now();
    await platform.stop();
    expect(existsSync(join(dir, 'endpoints.json'))).toBe(false);
    expect(existsSync(join(dir, 'platform.lock'))).toBe(false);
    // The lock and endpoints of a platform that was killed are taken over.
    await writeFile(join(dir, 'platform.lock'), '{"pid":999999999}');
    await writeFile(join(dir, 'endpoints.json'), '{}');
    platform = await start(dir);
    const { subscriptionId, tenantId, functionKey, storage } = platform.endpoints;
    expect({ subscriptionId, tenantId, functionKey, keys: storage.map(({ key }) => key) }).toEqual({
      subscriptionId: before.subscriptionId,
      tenantId: before.tenantId,
      functionKey: before.functionKey,
      keys: before.storage.map(({ key }) => key),
    });
    expect(readFileSync(platform.endpoints.caFile, 'utf8')).toBe(ca);
    expect(await now()).toBeGreaterThanOrEqual(time);
    await workQueue().sendMessage(base64({ name: 'after-restart' }));
    await vi.waitFor(() => expect(events().some(({ entry }) => entry?.['name'] === 'after-restart')).toBe(true), {
      timeout: 10_000,
    });
  });
});
