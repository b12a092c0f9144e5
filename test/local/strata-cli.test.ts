import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { afterEach, expect, it } from 'vitest';
import type { Command } from '../../cli/strata/command.ts';
import { OF_A_VAULT } from '../../cli/strata/options.ts';
import { runStrata } from '../../cli/strata/run.ts';
import { costs } from '../../cli/strata/vault-costs.ts';
import { rebuildCatalog } from '../../cli/strata/vault-rebuild-catalog.ts';
import { verifyVault } from '../../cli/strata/vault-verify.ts';

const VAULT_ID = '/subscriptions/s/resourceGroups/g/providers/Microsoft.RecoveryServices/vaults/v';
const ofVault = ['--vault', 'v', '--resource-group', 'g', '--subscription', 's'];

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

type Reply = { status?: number; headers?: Record<string, string>; body?: unknown; text?: string };

/** A service that answers each request with the next of `replies`, and what it was asked. */
async function serving(
  replies: (origin: string) => Reply[],
): Promise<{ origin: string; asked: string[]; bodies: string[] }> {
  const asked: string[] = [];
  const bodies: string[] = [];
  let left: Reply[] = [];
  const own = createServer((request: IncomingMessage, answer) => {
    asked.push(`${request.method} ${request.url}`);
    request.on('data', (chunk: Buffer) => bodies.push(chunk.toString()));
    request.on('end', () => {
      const { status = 200, headers = {}, body, text } = left.shift() ?? { status: 500 };
      answer
        .writeHead(status, { 'retry-after': '0', ...headers })
        .end(text ?? (body === undefined ? '' : JSON.stringify(body)));
    });
  });
  server = own;
  own.listen(0, '127.0.0.1');
  await once(own, 'listening');
  const origin = `http://127.0.0.1:${(own.address() as AddressInfo).port}`;
  left = replies(origin);
  return { origin, asked, bodies };
}

async function strata(commands: readonly Command[], env: Record<string, string>, ...args: string[]) {
  const texts = { out: '', err: '' };
  const exit = await runStrata(commands, args, env, {
    out: (text) => void (texts.out += text),
    err: (text) => void (texts.err += text),
  });
  return { exit, ...texts };
}

const asks = (run: Command['run'] = async () => undefined): Command => ({
  noun: 'vault',
  verb: 'ask',
  summary: 'ask it something',
  details: 'Asks.',
  options: { ...OF_A_VAULT, many: { value: 'N', help: 'how many' } },
  run,
});

const job = (status: string, report: object[] = [], errors: object[] = []) => ({
  name: 'j1',
  properties: { operation: 'Rebuild', status, startTime: 't', progress: {}, errors, report },
});

it('tells what there is, and what each command takes', async () => {
  for (const args of [[], ['--help'], ['vault', '--help']]) {
    const { exit, out } = await strata([asks()], {}, ...args);
    expect(exit).toBe(0);
    expect(out).toContain('strata vault ask  ask it something');
  }
  const { exit, out } = await strata([asks()], {}, 'vault', 'ask', '--help');
  expect(exit).toBe(0);
  expect(out).toMatch(/--many N +how many/);
  expect(out).toContain('Exit status: 0 done');
});

it.each([
  [['vault', 'forget'], 'there is no command "vault forget": expected one of vault ask'],
  [['moon', '--help'], 'there is no command "moon --help"'],
  [['vault', 'ask', '--mnay', '1'], "Unknown option '--mnay'; --help lists the options"],
  [['vault', 'ask', 'extra'], "Unexpected argument 'extra'"],
  [['vault', 'ask', '--vault', 'v'], '--resource-group must say which vault is meant (or --vault-id)'],
  [['vault', 'ask', '--vault-id', '/x'], '--vault-id must be /subscriptions/'],
  [['vault', 'ask', '--vault-id', VAULT_ID, '--vault', 'v'], '--vault-id says all of the vault: leave out --vault'],
  [['vault', 'ask', '--vault-id', VAULT_ID, '--subscription', 's'], 'leave out --subscription'],
  [['vault', 'ask', '--vault', '', '--resource-group', 'g'], '--vault needs a value; it is empty'],
  [['vault', 'ask', ...ofVault, '--many='], '--many needs a value; it is empty'],
  [['vault', 'ask', ...ofVault, '--endpoint', 'ftp://x'], '--endpoint must be an http or https address'],
  [['vault', 'ask', ...ofVault, '--endpoint', 'http://127.0.0.1:9'], '--endpoint needs --token, or --scope'],
  [
    ['vault', 'ask', '--vault', 'v', '--resource-group', 'g', '--endpoint', 'http://x', '--token', 't'],
    '--subscription',
  ],
])('says what is wrong with %j, and ends with 2', async (args, message) => {
  const command = asks(async ({ vaultId }) => void vaultId());
  const { exit, out, err } = await strata([command], {}, ...args);
  expect({ exit, out }).toEqual({ exit: 2, out: '' });
  expect(err).toContain(message);
});

it.each([
  [['--list', '--wait'], '--list starts nothing and waits for nothing: leave out --wait'],
  [['--list', '--deep', 'all'], 'leave out --deep'],
  [['--list', '--drill', 'latest'], 'leave out --drill'],
  [['--drill', '20260101120000000'], '--drill with a recovery point needs --item'],
  [['--deep', 'lots'], '--deep must be all, a number of bytes, or a share'],
])('refuses verify %j, which do not go together, before anybody is asked', async (options, message) => {
  const nobody = ['--endpoint', 'http://127.0.0.1:9', '--token', 't'];
  const { exit, err } = await strata([verifyVault], {}, 'vault', 'verify', ...ofVault, ...nobody, ...options);
  expect(exit).toBe(2);
  expect(err).toContain(message);
});

it('ends with 3 where nobody answers', async () => {
  const none = await strata([asks()], {}, 'vault', 'ask', ...ofVault, '--data', '/nowhere');
  expect(none.exit).toBe(3);
  expect(none.err).toContain('no local platform runs on /nowhere/endpoints.json');
  const { origin } = await serving(() => []);
  server!.close();
  server!.closeAllConnections();
  const command = asks(async ({ arm, vaultId }) => void (await arm.get(vaultId())));
  const refused = await strata([command], { STRATA_ENDPOINT: origin, STRATA_TOKEN: 't' }, 'vault', 'ask', ...ofVault);
  expect(refused).toMatchObject({ exit: 3, err: `error: ${origin} does not answer: ECONNREFUSED\n` });
});

it('says what the service said, and ends with 1', async () => {
  const error = { code: 'RebuildAmbiguous', message: 'a, b all say so' };
  const { origin } = await serving(() => [{ status: 409, body: { error } }]);
  const args = ['vault', 'rebuild-catalog', '--vault-id', VAULT_ID, '--endpoint', origin, '--token', 't'];
  const { exit, err } = await strata([rebuildCatalog], {}, ...args);
  expect(exit).toBe(1);
  expect(err).toContain('409 RebuildAmbiguous: a, b all say so');
});

it.each<[string, Reply, string]>([
  ['is no JSON', { text: '<html>Welcome</html>' }, 'did not answer with JSON but with "<html>Welcome</html>"'],
  ['is of another shape', { body: { value: 1 } }, 'its answer is of another shape: value: '],
  ['has an entry of another shape', { body: { value: [{}] } }, 'its answer is of another shape: properties: '],
  ['goes on at no address', { body: { value: [], nextLink: 'next' } }, 'an address that is none: next'],
])('tells in one line of an answer that %s, and ends with 3', async (_, reply, message) => {
  const { origin } = await serving(() => [reply]);
  const args = ['vault', 'verify', '--list', '--vault-id', VAULT_ID, '--endpoint', origin, '--token', 't'];
  const { exit, err } = await strata([verifyVault], {}, ...args);
  expect(exit).toBe(3);
  expect(err).toMatch(/^error: is that Strata, and of this version\? .*\n$/);
  expect(err).toContain(message);
});

it.each([
  ['an operation at no address', { 'azure-asyncoperation': 'there', location: 'there' }],
  ['an operation that is none', { 'azure-asyncoperation': '{origin}/status', location: '{origin}/job' }],
])('tells in one line of %s, and ends with 3', async (_, headers) => {
  const { origin } = await serving((own) => [
    { status: 202, headers: JSON.parse(JSON.stringify(headers).replaceAll('{origin}', own)) },
    { body: [] },
  ]);
  const args = ['vault', 'rebuild-catalog', '--vault-id', VAULT_ID, '--endpoint', origin, '--token', 't'];
  expect(await strata([rebuildCatalog], {}, ...args)).toMatchObject({
    exit: 3,
    err: expect.stringMatching(/^error: is that Strata.*\n$/),
  });
});

it('tells in one line of an answer that breaks off, and ends with 3', async () => {
  const own = createServer((_, answer) => {
    answer.writeHead(200, { 'content-length': '100' }).write('{', () => answer.destroy());
  });
  server = own;
  own.listen(0, '127.0.0.1');
  await once(own, 'listening');
  const origin = `http://127.0.0.1:${(own.address() as AddressInfo).port}`;
  const args = ['vault', 'costs', '--vault-id', VAULT_ID, '--endpoint', origin, '--token', 't'];
  expect(await strata([costs], {}, ...args)).toMatchObject({ exit: 3, err: `error: ${origin} broke off its answer\n` });
});

it.each([['ключ'], ['a b'], ['a\nb']])(
  'takes the token %j for the mistake that it is, and does not show it',
  async (token) => {
    const { origin, asked } = await serving(() => []);
    const command = asks(async ({ arm, vaultId }) => void (await arm.get(vaultId())));
    const options = [...ofVault, '--endpoint', origin];
    for (const [env, ...given] of [[{}, '--token', token] as const, [{ STRATA_TOKEN: token }] as const]) {
      const { exit, err } = await strata([command], env, 'vault', 'ask', ...options, ...given);
      expect(exit).toBe(2);
      expect(err).toContain('--token (or STRATA_TOKEN) must have visible ASCII characters only');
      expect(err).not.toContain(token);
    }
    expect(asked).toEqual([]);
  },
);

it('follows a job at the pace that the service asks for, and shows its report', async () => {
  const entry = { subject: 'vm', outcome: 'Rebuilt', text: '3 recovery points', details: {} };
  const { origin, asked, bodies } = await serving((own) => [
    { status: 503 },
    { status: 202, headers: { 'azure-asyncoperation': `${own}/status`, location: `${own}/job` } },
    { body: { status: 'InProgress', properties: { jobId: 'j1', progress: { Items: '2', 'Items Done': '1' } } } },
    { status: 401 },
    { body: { status: 'Succeeded', properties: { jobId: 'j1' } } },
    { body: job('Completed', [entry]) },
  ]);
  const args = ['vault', 'rebuild-catalog', ...ofVault, '--container', 'vault-x', '--endpoint', `${origin}/`];
  const { exit, out, err } = await strata([rebuildCatalog], { STRATA_TOKEN: 't' }, ...args);
  expect(err).toBe('job j1: InProgress, Items 2, Items Done 1\njob j1: Succeeded\n');
  expect(out).toContain('vm  3 recovery points\nRebuild: Completed\n');
  expect(exit).toBe(0);
  const post = `POST ${VAULT_ID}/strata/rebuildCatalog?api-version=2023-06-01`;
  expect(asked).toEqual([post, post, 'GET /status', 'GET /status', 'GET /status', 'GET /job']);
  expect(JSON.parse(bodies[0]!)).toEqual({ container: 'vault-x' });
});

it.each([
  ['Failed', { status: 'Failed', error: { code: 'JobTimedOut', message: 'too old' } }, 'JobTimedOut: too old'],
  ['CompletedWithWarnings', { status: 'Succeeded' }, 'the job is CompletedWithWarnings'],
])('ends with 1 after a job that is %s, its report shown', async (status, operation, message) => {
  const { origin } = await serving((own) => [
    { status: 202, headers: { 'azure-asyncoperation': `${own}/status`, location: `${own}/job` } },
    { body: operation },
    { body: job(status, [], [{ code: 'RebuildIncomplete', message: 'one is not back' }]) },
  ]);
  const args = ['vault', 'rebuild-catalog', ...ofVault, '--endpoint', origin, '--token', 't'];
  const { exit, out, err } = await strata([rebuildCatalog], {}, ...args, '--json');
  expect(exit).toBe(1);
  expect(JSON.parse(out)).toMatchObject({ properties: { status, errors: [{ code: 'RebuildIncomplete' }] } });
  expect(err).toBe(`error: ${message}\n`);
});
