import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Role } from '../../shared/arm/callers.ts';
import type { ArmRequest } from '../../shared/arm/http.ts';
import { refused, route } from '../../shared/arm/route.ts';
import { listQuery } from '../../shared/arm/paging.ts';
import { armApi } from '../../shared/arm/serve.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { bodyOf } from '../support/body-of.ts';

const SUBSCRIPTION = '00000000-0000-4000-8000-00000000000a';
const VAULT = `/subscriptions/${SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.RecoveryServices/vaults`;
const logged: string[] = [];
let given = 0;
const NOW = Date.parse('2026-11-22T00:00:00Z');
const ports = {
  ids: { guid: () => `guid-${++given}` },
  log: (line: string) => logged.push(line),
  clock: { now: () => NOW },
} as unknown as Ports;

const T =
  '/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.RecoveryServices/vaults/{vault}' as const;
const summary = 'a call';
const kinds = ['Small', 'Large'] as const;
const routes = [
  route({
    method: 'GET',
    template: T,
    role: 'Backup Reader',
    summary,
    query: listQuery,
    handler: async (call) => ({
      status: 200,
      body: {
        ...call.params,
        top: call.query.$top,
        link: call.link(`${VAULT}/${call.params.vault}/a;b c`, { $filter: "x eq 'y z'", $top: undefined }),
      },
    }),
  }),
  route({
    method: 'PUT',
    template: T,
    role: 'Backup Contributor',
    summary,
    body: z
      .object({
        kind: z.enum(kinds, { error: ({ input }) => `is ${JSON.stringify(input)}: expected ${kinds.join(', ')}` }),
        size: z.int(),
        name: z.string(),
      })
      .optional(),
    handler: async (call) => ({ status: 200, body: { sent: call.body ?? null } }),
  }),
  route({
    method: 'DELETE',
    template: T,
    role: 'Backup Contributor',
    summary,
    handler: async () => {
      throw new TypeError('a secret detail');
    },
  }),
  route({
    method: 'PATCH',
    template: T,
    role: 'Backup Reader',
    summary,
    handler: async (call) => {
      call.requireRole('Backup Contributor', 'this');
      throw new BackupError('StorageUnavailable', 'the storage account does not answer');
    },
  }),
  route({
    method: 'GET',
    template: `${T}/part`,
    role: 'Backup Reader',
    summary,
    handler: async () => ({ status: 204 }),
  }),
  refused('PUT', `${T}/part`, 405, 'MethodNotAllowed', 'parts are never written'),
  refused('POST', `${T}/part/go`, 400, 'OperationNotSupported', 'parts do not go'),
];

function ask(
  path: string,
  {
    method = 'GET',
    roles = ['Backup Contributor'] as Role[],
    headers = {},
    body = '',
    publicUrl = undefined as string | undefined,
    stream = undefined as AsyncIterable<Uint8Array> | undefined,
  } = {},
) {
  const serve = armApi(
    { config: { subscriptionId: SUBSCRIPTION, tokens: { issuer: '', audiences: [], jwksUrl: '' }, publicUrl }, ports },
    async (authorization) => {
      if (authorization === 'none') throw new BackupError('AuthenticationFailed', 'there is no token');
      return { name: 'me', roles };
    },
    routes,
  );
  const request: ArmRequest = {
    method,
    url: `http://inside:80${path}`,
    headers: new Headers(headers),
    body: stream ?? bodyOf(body),
  };
  return serve(request) as Promise<{
    status: number;
    headers: Record<string, string>;
    body: Record<string, unknown> & { error: Record<string, unknown> };
  }>;
}
const at = (vault: string, query = 'api-version=2023-06-01') => `${VAULT}/${vault}?${query}`;

describe('the front door', () => {
  it('passes a good call with its names, whatever the spelling', async () => {
    const { status, body } = await ask(
      at('V1').replace('resourceGroups', 'RESOURCEGROUPS').replace('api-version', 'API-Version'),
    );
    expect(status).toBe(200);
    expect(body).toMatchObject({ vault: 'V1', group: 'g', subscription: SUBSCRIPTION });
  });

  it.each<[string, Parameters<typeof ask>, number, string]>([
    ['no token', [at('v1'), { headers: { authorization: 'none' } }], 401, 'AuthenticationFailed'],
    ['no api-version', [at('v1', '')], 400, 'MissingApiVersionParameter'],
    ['an api-version that is no date', [at('v1', 'api-version=latest')], 400, 'InvalidApiVersionParameter'],
    ['an api-version of month 13', [at('v1', 'api-version=2023-13-01')], 400, 'InvalidApiVersionParameter'],
    ['another subscription', [at('v1').replace('0000a', '0000b')], 404, 'SubscriptionNotFound'],
    ['no such type', [at('v1/nothing')], 404, 'InvalidResourceType'],
    ['no such type of a vault, by name', [at('v1/nothing/a')], 404, 'InvalidResourceType'],
    ['no such type at all', [at('v1').replace('/vaults/', '/nothings/')], 404, 'InvalidResourceType'],
    ['no such action', [at('v1/part/stop'), { method: 'POST' }], 404, 'ResourceNotFound'],
    ['no such namespace', [at('v1').replace('RecoveryServices', 'Nothing')], 404, 'InvalidResourceNamespace'],
    ['a list that is not there', [at('').replace('/?', '?')], 404, 'ResourceNotFound'],
    ['a namespace alone', [at('v1').replace('/vaults/v1', '')], 404, 'ResourceNotFound'],
    ['no provider', [`/subscriptions/${SUBSCRIPTION}/nothing?api-version=2023-06-01`], 404, 'ResourceNotFound'],
    ['a path that is not of ARM', ['/favicon.ico'], 404, 'ResourceNotFound'],
    ['a method that the path lacks', [at('v1'), { method: 'POST' }], 405, 'MethodNotAllowed'],
    ['too small a role', [at('v1'), { method: 'PUT', roles: ['Backup Operator'] }], 403, 'AuthorizationFailed'],
    ['no role', [at('v1'), { roles: [] }], 403, 'AuthorizationFailed'],
    [
      'too small a role for what the body asks',
      [at('v1'), { method: 'PATCH', roles: ['Backup Reader'] }],
      403,
      'AuthorizationFailed',
    ],
    ['a name with a slash in it', [at('a%2Fb')], 400, 'InvalidResourceName'],
    ['a name that is too long', [at('v'.repeat(51))], 400, 'InvalidResourceName'],
    ['a group with an illegal name', [at('v1').replace('/g/', '/g%3C/')], 400, 'InvalidResourceName'],
    ['a path that does not decode', [at('%zz')], 400, 'InvalidRequest'],
    ['a body that is no JSON', [at('v1'), { method: 'PUT', body: '{"a":' }], 400, 'InvalidRequestContent'],
    [
      'a body without end',
      [at('v1'), { method: 'PUT', body: `"${'é'.repeat(140_000)}"` }],
      413,
      'RequestEntityTooLarge',
    ],
    [
      'a body that is said to be large',
      [at('v1'), { method: 'PATCH', headers: { 'content-length': '262145' } }],
      413,
      'RequestEntityTooLarge',
    ],
    [
      'a body of another kind',
      [at('v1'), { method: 'PUT', body: '{}', headers: { 'content-type': 'text/plain' } }],
      415,
      'UnsupportedMediaType',
    ],
    ['a query that does not fit', [at('v1', 'api-version=2023-06-01&$TOP=0')], 400, 'InvalidRequest'],
    ['what is not there', [at('v1/part'), { method: 'PUT' }], 405, 'MethodNotAllowed'],
    [
      'what is not there, from readers',
      [at('v1/part/go'), { method: 'POST', roles: ['Backup Reader'] }],
      403,
      'AuthorizationFailed',
    ],
    ['what is not there, of contributors', [at('v1/part/go'), { method: 'POST' }], 400, 'OperationNotSupported'],
    ['another method on what is not there', [at('v1/part/go')], 404, 'ResourceNotFound'],
    ['a fault of ours', [at('v1'), { method: 'DELETE' }], 500, 'InternalError'],
  ])('refuses %s', async (_what, args, status, code) => {
    const answer = await ask(...args);
    expect([answer.status, answer.body.error['code']]).toEqual([status, code]);
    expect(String(answer.body.error['message']).length).toBeGreaterThan(10);
  });

  it('says which namespace or type there is not, and what there is', async () => {
    const other = await ask(at('v1').replace('RecoveryServices', 'Nothing'));
    expect(other.body.error['message']).toBe(
      "The resource namespace 'Microsoft.Nothing' is invalid: expected Microsoft.RecoveryServices.",
    );
    expect((await ask(at('v1/NoThing/a').replace('/vaults/', '/VAULTS/'))).body.error['message']).toContain(
      "The resource type 'VAULTS/NoThing' could not be found in the namespace 'Microsoft.RecoveryServices' for api version '2023-06-01'",
    );
  });

  it('says what a name may be, which role is needed, which methods there are', async () => {
    expect((await ask(at('1v'))).body.error['message']).toContain('2 to 50 letters, digits and hyphens');
    expect((await ask(at('v1'), { method: 'PUT', roles: ['Backup Reader'] })).body.error['message']).toContain(
      '"Backup Contributor"',
    );
    expect((await ask(at('v1'), { method: 'POST' })).headers['allow']).toBe('GET, PUT, DELETE, PATCH');
  });

  it('keeps the inside of a fault to the log, under the id that the caller gets', async () => {
    const { body, headers } = await ask(at('v1'), { method: 'DELETE' });
    const id = headers['x-ms-request-id']!;
    expect(body.error).toEqual({ code: 'InternalError', message: `an unexpected error; the log has it under ${id}` });
    expect(logged.at(-1)).toMatch(new RegExp(`${id}: TypeError: a secret detail`));
  });

  it('names every answer, by the correlation that the caller gave', async () => {
    const own = '11111111-2222-4333-8444-555555555555';
    for (const path of [at('v1'), at('nothing', ''), '/elsewhere']) {
      const { headers } = await ask(path, { headers: { 'x-ms-correlation-request-id': own } });
      expect(headers['x-ms-request-id']).toMatch(/^guid-/);
      expect(headers['x-ms-correlation-request-id']).toBe(own);
    }
    const odd = await ask(at('v1'), { headers: { 'x-ms-correlation-request-id': 'a b' } });
    expect(odd.headers['x-ms-correlation-request-id']).toBe(odd.headers['x-ms-request-id']);
  });

  it('tells when to try again what can be tried again', async () => {
    const { status, headers } = await ask(at('v1'), { method: 'PATCH' });
    expect(status).toBe(503);
    expect(Number(headers['retry-after'])).toBeGreaterThan(0);
  });

  it.each([
    [{}, undefined, 'http://inside'],
    [{ 'x-forwarded-proto': 'https', 'x-forwarded-host': 'api.test:7443' }, undefined, 'https://api.test:7443'],
    [{ 'x-forwarded-proto': 'https, http', 'x-forwarded-host': 'a.test, b.test' }, undefined, 'https://a.test'],
    [{ 'x-forwarded-host': 'elsewhere.test' }, 'https://strata.test/', 'https://strata.test'],
  ])('links with %j and the setting %s begin with %s', async (headers, publicUrl, base) => {
    const { body } = await ask(at('v1'), { headers, publicUrl });
    expect(body['link']).toBe(`${base}${VAULT}/v1/a;b%20c?api-version=2023-06-01&$filter=x%20eq%20'y%20z'`);
  });

  it('takes an empty body for none', async () => {
    expect((await ask(at('v1'), { method: 'PUT' })).body).toEqual({ sent: null });
  });

  it('hands on what the schemas make of query and body', async () => {
    expect((await ask(at('v1', 'api-version=2023-06-01&$TOP=7'))).body).toMatchObject({ top: 7 });
    const sent = { kind: 'Small', size: 1, name: 'a' };
    const headers = { 'content-type': 'application/json; charset=utf-8' };
    const body = JSON.stringify({ ...sent, unknown: true });
    expect((await ask(at('v1'), { method: 'PUT', headers, body })).body).toEqual({ sent });
  });

  it('names every field that does not fit, and what an unknown value could be', async () => {
    const body = JSON.stringify({ kind: 'Huge', size: 'a' });
    const { error } = (await ask(at('v1'), { method: 'PUT', body })).body;
    expect(error).toMatchObject({ code: 'InvalidRequest', target: 'kind' });
    expect((error['details'] as { target: string }[]).map(({ target }) => target)).toEqual(['kind', 'size', 'name']);
    expect(error['message']).toContain('kind: is "Huge": expected Small, Large');
  });

  it('reads no more of a body than shows that it is too large', async () => {
    let pieces = 0;
    async function* endless() {
      for (;;) yield Buffer.alloc(65_536, ++pieces);
    }
    const { status } = await ask(at('v1'), { method: 'PUT', stream: endless() });
    expect([status, pieces]).toEqual([413, 5]);
  });

  it('tells why a path is refused, and what it has', async () => {
    const { headers, body } = await ask(at('v1/part'), { method: 'PUT' });
    expect(headers['allow']).toBe('GET');
    expect(body.error['message']).toBe('parts are never written');
  });

  it.each([
    '2016-06-01',
    '2021-11-15',
    '2022-09-01-preview',
    '2023-06-01',
    '2024-02-29',
    '2026-07-01',
    '2028-05-22',
    '2025-02-01-PREVIEW',
  ])('takes the api-version %s', async (version) =>
    expect((await ask(at('v1', `api-version=${version}`))).status).toBe(200),
  );

  it.each([
    '1900-01-01',
    '2016-05-31',
    '2023-02-29',
    '2023-02-31',
    '2028-05-23',
    '2999-01-01',
    '2023-6-1',
    '2023-06-01-beta',
  ])('refuses the api-version %s, which it names with what would be right', async (version) => {
    const { status, body } = await ask(at('v1', `api-version=${version}`));
    expect([status, body.error['code']]).toEqual([400, 'InvalidApiVersionParameter']);
    expect(body.error['message']).toMatch(new RegExp(`"${version}" .*2016-06-01 to 2028-05-22.*2023-06-01-preview`));
  });
});
