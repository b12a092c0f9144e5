import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  createLocalJWKSet,
  exportJWK,
  generateKeyPair,
  type GenerateKeyPairResult,
  type JWTPayload,
  SignJWT,
} from 'jose';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Authenticate, authenticator } from '../../shared/arm/callers.ts';

const ISSUER = 'https://issuer.test/tenant';
const AUDIENCE = 'https://management.azure.com/';
let authenticate: Authenticate;
let keys: GenerateKeyPairResult;
let strangers: GenerateKeyPairResult;

beforeAll(async () => {
  keys = await generateKeyPair('RS256');
  strangers = await generateKeyPair('RS256');
  const jwks = createLocalJWKSet({ keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'k1', alg: 'RS256' }] });
  authenticate = authenticator({ issuer: ISSUER, audiences: [AUDIENCE], jwksUrl: 'https://issuer.test/keys' }, jwks);
});

const seconds = () => Math.floor(Date.now() / 1000);
function token(claims: JWTPayload = {}, key = keys.privateKey, alg = 'RS256', kid = 'k1'): Promise<string> {
  return new SignJWT({
    iss: ISSUER,
    aud: AUDIENCE,
    exp: seconds() + 600,
    sub: 'somebody',
    roles: ['Backup Operator'],
    ...claims,
  })
    .setProtectedHeader({ alg, kid })
    .sign(key);
}
const bearer = async (claims?: JWTPayload) => `Bearer ${await token(claims)}`;
const refused = { code: 'InvalidAuthenticationToken' };
const unanswered = { code: expect.stringMatching(/AuthenticationFailed|AuthenticationToken/) };

describe('a bearer token', () => {
  it('tells who calls and what they may', async () => {
    expect(await authenticate(await bearer())).toEqual({ name: 'somebody', roles: ['Backup Operator'] });
    expect(await authenticate((await bearer()).replace('Bearer', 'bearer'))).toMatchObject({ name: 'somebody' });
  });

  it.each(['https://management.azure.com/', 'https://management.azure.com'])(
    'is good for the audience %s',
    async (aud) => {
      expect(await authenticate(await bearer({ aud }))).toMatchObject({ roles: ['Backup Operator'] });
    },
  );

  it.each<[string, JWTPayload]>([
    ['another audience', { aud: 'https://vault.azure.net' }],
    ['an audience that only begins like ours', { aud: 'https://management.azure.com/x' }],
    ['another issuer', { iss: 'https://issuer.test/other' }],
    ['a time that has not begun', { nbf: seconds() + 600 }],
    ['no end', { exp: undefined as unknown as number }],
  ])('is refused with %s', async (_what, claims) => {
    await expect(authenticate(await bearer(claims))).rejects.toMatchObject(refused);
  });

  it('is refused when its time is over, and is told so', async () => {
    const over = await bearer({ exp: seconds() - 120 });
    await expect(authenticate(over)).rejects.toMatchObject({ code: 'ExpiredAuthenticationToken' });
  });

  it('is refused when somebody else signed it, or nobody', async () => {
    await expect(authenticate(`Bearer ${await token({}, strangers.privateKey)}`)).rejects.toMatchObject(refused);
    await expect(authenticate(`Bearer ${await token({}, strangers.privateKey, 'RS256', 'k2')}`)).rejects.toMatchObject(
      refused,
    );
    const [, payload] = (await token()).split('.');
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`;
    await expect(authenticate(`Bearer ${none}`)).rejects.toMatchObject(refused);
  });

  it.each([null, '', 'Bearer', 'Bearer a b', 'Basic YTpi'])('is missed in %j', async (header) => {
    await expect(authenticate(header)).rejects.toMatchObject({ code: 'AuthenticationFailed' });
  });

  it.each(['nonsense', 'a.b.c', 'eyJhbGciOiJub25lIn0.e30.'])('cannot be %j', async (text) => {
    await expect(authenticate(`Bearer ${text}`)).rejects.toMatchObject(refused);
  });

  it.each<[unknown]>([[undefined], ['Backup Contributor'], [[]], [['Owner', 7]]])(
    'gives no role for the claim %j',
    async (roles) => {
      expect((await authenticate(await bearer({ roles }))).roles).toEqual([]);
    },
  );

  it('cannot be judged while the issuer is out of reach: that is an outage, not a bad token', async () => {
    const rules = { issuer: ISSUER, audiences: [AUDIENCE] };
    const cut = authenticator({ ...rules, jwksUrl: 'https://127.0.0.1:1/keys' });
    await expect(cut(await bearer())).rejects.not.toMatchObject(unanswered);
    const busy = createServer((_, response) => response.writeHead(503).end()).listen(0, '127.0.0.1');
    await once(busy, 'listening');
    try {
      const { port } = busy.address() as AddressInfo;
      const failing = authenticator({ ...rules, jwksUrl: `http://127.0.0.1:${port}/keys` });
      await expect(failing(await bearer())).rejects.not.toMatchObject(unanswered);
    } finally {
      busy.close();
    }
  });
});

describe('an issuer that changes its keys', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('tokens of all published keys pass, soon after they are; those of a withdrawn one do not for long', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const publicKey = async (pair: GenerateKeyPairResult, kid: string) => ({
      ...(await exportJWK(pair.publicKey)),
      kid,
      alg: 'RS256',
    });
    const [first, second] = [await publicKey(keys, 'k1'), await publicKey(strangers, 'k2')];
    let published = [first];
    let fetched = 0;
    const issuer = createServer((_, response) => {
      fetched++;
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: published }));
    }).listen(0, '127.0.0.1');
    await once(issuer, 'listening');
    try {
      const { port } = issuer.address() as AddressInfo;
      const check = authenticator({ issuer: ISSUER, audiences: [AUDIENCE], jwksUrl: `http://127.0.0.1:${port}/keys` });
      const old = `Bearer ${await token({ exp: seconds() + 7200 })}`;
      const young = `Bearer ${await token({ exp: seconds() + 7200 }, strangers.privateKey, 'RS256', 'k2')}`;
      await check(old);
      await expect(check(young)).rejects.toMatchObject(refused);
      expect(fetched).toBe(1); // whoever makes up key ids cannot have the issuer asked each time

      published = [first, second];
      vi.setSystemTime(Date.now() + 6_000);
      await Promise.all([check(old), check(young), check(young)]);
      expect(fetched).toBe(2);

      published = [second];
      vi.setSystemTime(Date.now() + 11 * 60_000);
      await check(young);
      await expect(check(old)).rejects.toMatchObject(refused);
    } finally {
      issuer.close();
    }
  });
});
