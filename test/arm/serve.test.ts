import { describe, expect, it } from 'vitest';
import type { Role } from '../../shared/arm/callers.ts';
import type { ArmRequest } from '../../shared/arm/http.ts';
import { route } from '../../shared/arm/route.ts';
import { armApi } from '../../shared/arm/serve.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import type { Ports } from '../../shared/services/ports.ts';

const SUBSCRIPTION = '00000000-0000-4000-8000-00000000000a';
const VAULT = `/subscriptions/${SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.RecoveryServices/vaults`;
const logged: string[] = [];
let given = 0;
const ports = { ids: { guid: () => `guid-${++given}` }, log: (line: string) => logged.push(line) } as unknown as Ports;

const T =
  '/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.RecoveryServices/vaults/{vault}' as const;
const routes = [
  route('GET', T, 'Backup Reader', async (call) => ({
    status: 200,
    body: {
      ...call.params,
      link: call.link(`${VAULT}/${call.params.vault}/a;b c`, { $filter: "x eq 'y z'", $top: undefined }),
    },
  })),
  route('PUT', T, 'Backup Contributor', async (call) => ({ status: 200, body: { sent: (await call.body()) ?? null } })),
  route('DELETE', T, 'Backup Contributor', async () => {
    throw new TypeError('a secret detail');
  }),
  route('PATCH', T, 'Backup Reader', async (call) => {
    call.requireRole('Backup Contributor', 'this');
    throw new BackupError('StorageUnavailable', 'the storage account does not answer');
  }),
];

function ask(
  path: string,
  {
    method = 'GET',
    roles = ['Backup Contributor'] as Role[],
    headers = {},
    body = '',
    publicUrl = undefined as string | undefined,
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
    text: async () => body,
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
    ['no such path', [at('v1/nothing')], 404, 'ResourceNotFound'],
    ['no such provider', [at('v1').replace('RecoveryServices', 'Nothing')], 404, 'ResourceNotFound'],
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
    ['a body that is no JSON', [at('v1'), { method: 'PUT', body: '{"a":' }], 400, 'InvalidRequest'],
    ['a body without end', [at('v1'), { method: 'PUT', body: `"${'a'.repeat(300_000)}"` }], 400, 'InvalidRequest'],
    ['a fault of ours', [at('v1'), { method: 'DELETE' }], 500, 'InternalError'],
  ])('refuses %s', async (_what, args, status, code) => {
    const answer = await ask(...args);
    expect([answer.status, answer.body.error['code']]).toEqual([status, code]);
    expect(String(answer.body.error['message']).length).toBeGreaterThan(10);
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
});
