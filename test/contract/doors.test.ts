import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadApp } from '../../local/host/app.ts';
import { type HttpFunction, indexFunction, type IndexedFunction } from '../../local/host/bindings.ts';
import { createRegistry, installCoreModule } from '../../local/host/core-module.ts';
import { createHttpServer } from '../../local/host/http.ts';
import { createInvoker } from '../../local/host/invoke.ts';
import { createHostLog } from '../../local/host/log.ts';
import { readHostSettings } from '../../local/host/settings.ts';
import { ROUTES } from '../../shared/arm/routes.ts';

/*
 * Who can come in, and by which door: every function that the built app registers, against the table in docs/operations.md, and by knocking
 * at each. Nothing behind the doors is there: no storage, no issuer. Whoever is let in would find that out.
 */

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const KEYS = { functionKey: 'the-function-key', masterKey: 'the-master-key' };
const SUBSCRIPTION = '00000000-0000-4000-8000-00000000000a';
/** The functions that anybody may call. A new one is added here on purpose or not at all. */
const OPEN = ['health', 'openapi'];

const NOWHERE = 'http://127.0.0.1:1/devstoreaccount1';
const STORAGE = `DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=${Buffer.alloc(64).toString('base64')};BlobEndpoint=${NOWHERE};QueueEndpoint=${NOWHERE};TableEndpoint=${NOWHERE}`;
const ENV = {
  AzureWebJobsStorage: STORAGE,
  STRATA_VAULT_STORAGE: STORAGE,
  STRATA_SUBSCRIPTION_ID: SUBSCRIPTION,
  STRATA_TOKEN_AUDIENCE: 'https://management.azure.com',
  STRATA_TOKEN_ISSUER: 'https://127.0.0.1:1',
  STRATA_TOKEN_JWKS: 'https://127.0.0.1:1/keys',
};

let functions: IndexedFunction[];
let server: Server;
let rows: Map<string, { methods: string; path: string; key: string }>;

beforeAll(async () => {
  Object.assign(process.env, ENV);
  const settings = readHostSettings(join(ROOT, 'host.json'), process.env);
  const log = createHostLog({}, 'none');
  const app = createRegistry(() => undefined);
  installCoreModule(app);
  await loadApp(ROOT, app, {});
  functions = [...app.functions.values()].map((fn) => indexFunction(fn, settings.routePrefix, process.env));
  const invoker = createInvoker({ app, appHookData: {}, log, timeoutMs: Infinity, onTimeout: () => undefined });
  server = createHttpServer({ functions: doors(), keys: KEYS, invoker, log, sendOutputs: async () => undefined });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  rows = await documented();
});
afterAll(() => server?.close());

const doors = (): HttpFunction[] => functions.filter((fn) => fn.kind === 'http');

/** The rows of the table of doors. */
async function documented(): Promise<typeof rows> {
  const text = await readFile(join(ROOT, 'docs/operations.md'), 'utf8');
  const section = /\n## Doors\n([\s\S]*?)\n## /.exec(text)?.[1] ?? '';
  const cells = section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')));
  return new Map(cells.map(([, name = '', methods = '', path = '', key = '']) => [name, { methods, path, key }]));
}

async function knock(method: string, path: string, headers: Record<string, string> = {}) {
  const { port } = server.address() as AddressInfo;
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, headers });
  const text = await answer.text();
  return {
    status: answer.status,
    headers: answer.headers,
    code: text === '' ? undefined : (JSON.parse(text).error?.code as string),
  };
}

describe('the table of doors', () => {
  it('has every function that answers HTTP, as it is registered', () => {
    const registered = doors().map(({ functionName, route, methods }) => [
      functionName,
      { methods: [...methods].join(', '), path: `/${route.template}`, key: expect.any(String) },
    ]);
    expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(registered));
  });

  it('says of each what opens it', () => {
    const level = { 'bearer token': 'anonymous', 'function key': 'function', nothing: 'anonymous' };
    for (const { functionName, authLevel } of doors())
      expect([functionName, authLevel]).toEqual([
        functionName,
        level[rows.get(functionName)!.key as keyof typeof level],
      ]);
    expect([...rows].filter(([, { key }]) => key === 'nothing').map(([name]) => name)).toEqual(OPEN);
    expect([...rows].filter(([, { key }]) => key === 'bearer token').map(([name]) => name)).toEqual(['arm']);
  });

  it('needs no others: what is left are queues and timers', () => {
    const kinds = functions.filter((fn) => fn.kind !== 'http').map(({ kind }) => kind);
    expect(new Set(kinds)).toEqual(new Set(['queue', 'timer']));
  });
});

const WITHOUT: [what: string, headers: Record<string, string>][] = [
  ['nothing', {}],
  ['a token that is none', { authorization: 'Bearer nonsense' }],
  ['a password', { authorization: 'Basic YTpi' }],
  ['the key of something else', { 'x-functions-key': 'another-key' }],
  ['what only the platform may say', { 'x-ms-client-principal': 'e30=', 'x-ms-client-principal-name': 'admin' }],
];

describe.each(WITHOUT)('whoever comes with %s', (_what, headers) => {
  it('is let in by the open doors alone', async () => {
    for (const { functionName, methods, route } of doors()) {
      if (functionName === 'arm') continue;
      for (const method of methods) {
        const { status } = await knock(method, `/${route.template}`, headers);
        // Behind the open ones there is no storage here: health says so.
        const isIn = status === 200 || status === 503;
        expect([functionName, method, isIn, isIn || status]).toEqual(
          OPEN.includes(functionName) ? [functionName, method, true, true] : [functionName, method, false, 401],
        );
      }
    }
  });

  it('gets 401 for every route of the API, whatever it is', async () => {
    for (const { method, template } of ROUTES) {
      const path = template
        .replace('{subscription}', SUBSCRIPTION)
        .replaceAll(/\{(\w+)\}/g, (_, name: string) => (name === 'location' ? 'westeurope' : `some-${name}`));
      const answer = await knock(method, `${path}?api-version=2023-06-01`, headers);
      expect([method, template, answer.status]).toEqual([method, template, 401]);
      expect(answer.code).toMatch(/^(AuthenticationFailed|InvalidAuthenticationToken)$/);
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
    }
  });
});

describe('a door', () => {
  it('is not the key of another: function keys are no tokens', async () => {
    for (const key of Object.values(KEYS)) {
      const { status } = await knock('GET', `/subscriptions/${SUBSCRIPTION}/providers/x?code=${key}`, {
        'x-functions-key': key,
      });
      expect(status).toBe(401);
    }
  });

  it('opens to the function key, and then asks what is wanted', async () => {
    const { status, code } = await knock('POST', `/api/backup-now?code=${KEYS.functionKey}`);
    expect([status, code]).toEqual([400, 'InvalidRequest']);
  });

  it.each([
    ['POST', '/API/BACKUP-NOW', 401],
    ['POST', '/api/backup-now/', 401],
    ['POST', '/api/%62ackup-now', 401],
    ['POST', '/api//backup-now', 404],
    ['POST', '//api/backup-now', 404],
    ['GET', '/api/backup-now', 404],
    ['GET', '/api/anything', 404],
    ['GET', '/', 404],
    ['GET', '/admin/functions', 404],
    ['POST', '/admin/functions/clean-up', 404],
    ['POST', '/runtime/webhooks/blobs', 404],
    ['GET', '/SUBSCRIPTIONS', 401],
    ['GET', '//subscriptions//', 401],
    ['GET', '/%73ubscriptions/x', 401],
    ['HEAD', '/subscriptions/x', 401],
    ['OPTIONS', '/subscriptions/x', 401],
    ['GET', '/providers/Microsoft.RecoveryServices/operations', 401],
  ])('is not passed by by %s %s: %i', async (method, path, status) => {
    expect((await knock(method, path)).status).toBe(status);
  });
});
