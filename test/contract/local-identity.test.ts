import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRemoteJWKSet, decodeJwt, jwtVerify, SignJWT, generateKeyPair } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createIdentity } from '../../local/identity/issuer.ts';
import { LOCATION, startRig, SUBSCRIPTION, TENANT, type Rig } from './local-compute.rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());
afterEach(() => {
  vi.useRealTimers();
});

/** Runs the child under exactly this environment and resolves what it printed. */
async function runChild(environment: Record<string, string>): Promise<string> {
  const program = fileURLToPath(new URL('local-identity.child.ts', import.meta.url));
  const child = spawn(process.execPath, [program, rig.base, SUBSCRIPTION, LOCATION], {
    env: { PATH: process.env['PATH'] ?? '', HOME: tmpdir(), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let complaints = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`the child ended with ${String(code)}: ${complaints}`);
  return output;
}

const postToken = (path: string, form: Record<string, string>) =>
  rig.fetch(path, { method: 'POST', body: new URLSearchParams(form).toString() });

describe('the official clients', () => {
  const environment = () => ({
    AZURE_AUTHORITY_HOST: rig.base,
    AZURE_TENANT_ID: 'adfs',
    AZURE_CLIENT_ID: rig.identity.clientId,
    AZURE_CLIENT_SECRET: rig.identity.clientSecret,
    NODE_EXTRA_CA_CERTS: rig.caFile,
  });

  it('DefaultAzureCredential and ComputeManagementClient work over TLS with nothing but their environment', async () => {
    expect(JSON.parse(await runChild(environment()))).toEqual({
      vm: 'vm',
      disk: true,
      listed: 1,
      incremental: true,
      sas: true,
      left: 0,
    });
  });

  it('a wrong secret is refused with a reason', async () => {
    await expect(runChild({ ...environment(), AZURE_CLIENT_SECRET: 'wrong' })).rejects.toThrow(/secret of client/);
  });
});

describe('POST /local/token', () => {
  const ask = (body: unknown) => rig.fetch('/local/token', { method: 'POST', body, authorization: null });

  it('mints what was asked, in real time', async () => {
    const answer = await ask({ roles: ['Backup Reader', 'Backup Operator'], subject: 'ann', expiresInSeconds: 60 });
    expect(answer).toMatchObject({ status: 200, body: { token_type: 'Bearer', expires_in: 60 } });
    const claims = await rig.identity.verify(answer.body.access_token);
    const now = Date.now() / 1000;
    expect(claims).toMatchObject({
      iss: rig.identity.issuer(rig.base),
      aud: rig.identity.audience,
      tid: TENANT,
      appid: 'ann',
      roles: ['Backup Reader', 'Backup Operator'],
      oid: claims.sub,
    });
    expect(Math.abs((claims.iat ?? 0) - now)).toBeLessThan(5);
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(60);
    expect(claims.nbf).toBe(claims.iat);
    const again = await ask({ roles: [], subject: 'ann' });
    expect(decodeJwt(again.body.access_token).sub).toBe(claims.sub);
    const opened = await rig.fetch('/subscriptions?api-version=2022-12-01', {
      authorization: `Bearer ${again.body.access_token}`,
    });
    expect(opened.status).toBe(200);
  });

  it.each([
    [{ roles: ['Backup Admin'] }, /'Backup Reader', 'Backup Operator', 'Backup Contributor'/],
    [{}, /roles/],
    [{ roles: 'Backup Reader' }, /roles/],
    [{ roles: [], expiresInSeconds: 0 }, /expiresInSeconds/],
    [{ roles: [], role: 'x' }, /role/],
    ['not json', /JSON/],
  ])('refuses %j', async (body, message) => {
    const answer = await ask(body);
    expect(answer.status).toBe(400);
    expect(answer.body.error.message).toMatch(message);
  });

  it('takes POST alone', async () => {
    expect((await rig.fetch('/local/token')).status).toBe(405);
  });
});

describe('the authorities', () => {
  it.each(['/adfs', `/${TENANT}/v2.0`])('%s has discovery, keys and tokens', async (authority) => {
    const { body: metadata } = await rig.fetch(`${authority}/.well-known/openid-configuration`, {
      authorization: null,
    });
    expect(new URL(metadata.issuer).pathname).toBe(authority);
    expect(metadata.access_token_issuer).toBe(rig.identity.issuer(rig.base));
    const token = await postToken(new URL(metadata.token_endpoint).pathname, {
      grant_type: 'client_credentials',
      client_id: rig.identity.clientId,
      client_secret: rig.identity.clientSecret,
      scope: 'https://management.azure.com/.default',
    });
    expect(token).toMatchObject({ status: 200, body: { token_type: 'Bearer', expires_in: 3600 } });
    const { payload } = await jwtVerify(token.body.access_token, createRemoteJWKSet(new URL(metadata.jwks_uri)), {
      issuer: rig.identity.issuer(rig.base),
      audience: rig.identity.audience,
    });
    expect(payload).toMatchObject({ appid: rig.identity.clientId, roles: ['Backup Contributor'] });
  });

  it('publishes the public part of the key only', async () => {
    const { body } = await rig.fetch(rig.identity.jwksPath, { authorization: null });
    expect(Object.keys(body.keys[0]).toSorted()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use']);
  });

  it.each([
    [{ grant_type: 'password' }, 400, 'unsupported_grant_type'],
    [{ grant_type: 'client_credentials', client_id: 'x' }, 400, 'invalid_request'],
  ])('refuses %j', async (form, status, error) => {
    expect(await postToken('/adfs/oauth2/token', form as Record<string, string>)).toMatchObject({
      status,
      body: { error, error_description: expect.any(String) },
    });
  });
});

describe('verification', () => {
  it('refuses a token of another key, audience or time', async () => {
    const { privateKey } = await generateKeyPair('RS256');
    const forged = await new SignJWT({ roles: ['Backup Contributor'] })
      .setProtectedHeader({ alg: 'RS256' })
      .setIssuer(rig.identity.issuer(rig.base))
      .setAudience(rig.identity.audience)
      .setExpirationTime('1h')
      .sign(privateKey);
    await expect(rig.identity.verify(forged)).rejects.toMatchObject({ code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' });

    const expiring = await rig.identity.mint({ roles: [], subject: 'x', expiresInSeconds: 1 });
    vi.useFakeTimers({ now: Date.now() + 2_000, toFake: ['Date'] });
    const answer = await rig.fetch('/subscriptions?api-version=2022-12-01', { authorization: `Bearer ${expiring}` });
    expect(answer).toMatchObject({ status: 401, body: { error: { code: 'ExpiredAuthenticationToken' } } });
  });

  it("keeps its key and the app's secret, readable by the owner alone", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'strata-identity-'));
    try {
      const first = await createIdentity({ dataDir, tenantId: TENANT });
      const second = await createIdentity({ dataDir, tenantId: TENANT });
      expect([second.clientId, second.clientSecret]).toEqual([first.clientId, first.clientSecret]);
      await second.verify(await first.mint({ roles: [], subject: 'x' }));
      const other = await createIdentity({ dataDir, tenantId: TENANT, audience: 'api://other' });
      await expect(other.verify(await first.mint({ roles: [], subject: 'x' }))).rejects.toMatchObject({ claim: 'aud' });

      const file = join(dataDir, 'identity.json');
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      await writeFile(file, (await readFile(file, 'utf8')).slice(0, 100));
      await expect(createIdentity({ dataDir, tenantId: TENANT })).rejects.toThrow(/identity\.json is damaged/);
    } finally {
      await rm(dataDir, { recursive: true });
    }
  });
});
