import { once } from 'node:events';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runStrata } from '../../cli/strata/run.ts';
import { bytesText, tableLines } from '../../cli/strata/table.ts';
import { cleanUp } from '../../cli/strata/vault-clean-up.ts';
import { costs } from '../../cli/strata/vault-costs.ts';
import { armApi } from '../../shared/arm/serve.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { DAY_MS, SUBSCRIPTION } from '../support/life.ts';
import { type World, createWorld } from '../support/world.ts';

/* The commands against the API itself, served on loopback; the work of the queue is done whenever somebody asks how it goes. */

const B = BLOCK_BYTES;

let world: World;
let server: Server;

beforeAll(async () => {
  world = await createWorld();
  for (const vm of ['a', 'b']) {
    const [disk] = await world.createVm(vm, [8 * B]);
    await world.protect(vm);
    for (const days of [1, 60]) {
      await world.disks.write(disk!, 0, Buffer.alloc(4 * B, days));
      await world.backup(vm, world.clock.now() + days * DAY_MS);
      world.clock.advance(60_000);
    }
  }
  world.clock.advance(2 * DAY_MS);
  const config = {
    subscriptionId: SUBSCRIPTION,
    tokens: { issuer: '', audiences: [], jwksUrl: '' },
    publicUrl: undefined,
  };
  const serve = armApi({ config, ports: world.ports }, async () => ({ name: 'me', roles: ['Backup Contributor'] }));
  server = createServer((request, response) => {
    const url = `http://${request.headers.host}${request.url}`;
    const headers = { get: (name: string) => (request.headers[name] as string | undefined) ?? null };
    void (async () => {
      if (request.method === 'GET') await world.drain();
      const answer = await serve({ method: request.method!, url, headers, body: null });
      response.writeHead(answer.status, answer.headers);
      response.end(answer.body === undefined ? '' : JSON.stringify(answer.body));
    })();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});

afterAll(() => server.close());

async function strata(...args: string[]): Promise<{ exit: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const env = {
    STRATA_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    STRATA_TOKEN: 'any',
    STRATA_SUBSCRIPTION_ID: SUBSCRIPTION,
  };
  const console = { out: (text: string) => void (said.out += text), err: (text: string) => void (said.err += text) };
  const exit = await runStrata([cleanUp, costs], [...args, '--vault', 'v1', '--resource-group', 'bk'], env, console);
  return { exit, ...said };
}

describe('strata vault clean-up', () => {
  it('only starts the run, unless it is asked to wait', async () => {
    const { exit, out } = await strata('vault', 'clean-up');
    expect(exit).toBe(0);
    expect(out).toMatch(/^cleanup \d{13}-[0-9a-f]{8} is going on\n$/);
    await world.drain();
  });

  it('shows what was done and left of each item', async () => {
    const { exit, out } = await strata('vault', 'clean-up', '--wait');
    expect(exit).toBe(0);
    const [title, head, ...rows] = out.trimEnd().split('\n');
    expect(title).toMatch(/^cleanup \S+: Ended, budget 256\.0 GiB$/);
    expect(head!.split(/ {2,}/).slice(0, 3)).toEqual(['VM', 'STOPPED', 'MERGED']);
    expect(rows.map((row) => row.split(/ {2,}/).slice(0, 2))).toEqual([
      ['a', 'done'],
      ['b', 'done'],
    ]);
  });

  it('names what could not be done, and says so with its exit status', async () => {
    const blobs = world.vaults.blobs(world.vaults.containerNames()[0]!);
    const { points } = await (await world.chain('b')).newest();
    const { body } = blobs.get(points[0]!.manifest)!;
    const sound = Uint8Array.from(body);
    body[body.length - 3]! ^= 1;
    const { exit, out, err } = await strata('vault', 'clean-up', '--wait');
    body.set(sound);
    expect(exit).toBe(1);
    expect(out).toContain(`failed: b, DocumentCorrupt: ${points[0]!.manifest}`);
    expect(err).toContain('error: 1 of 2 items could not be cleaned up');
  });
});

describe('strata vault costs', () => {
  it('shows every point, what it comes to, and that nothing is unexplained', async () => {
    await world.sweep();
    const { exit, out } = await strata('vault', 'costs', '--listing');
    expect(exit).toBe(0);
    const { point } = (await world.points('a'))[0]!;
    expect(out).toMatch(new RegExp(`^a +${point} +\\S+ +4 +0 +\\d+ +\\d+$`, 'm'));
    expect(out).toMatch(/^container \S+: \d+ bytes \(\d+\.\d+ KiB\)$/m);
    expect(out).toContain('not explained: 0 bytes');
  });

  it('gives the whole answer as JSON, and one point by its regions', async () => {
    const { point } = (await world.points('b'))[0]!;
    const { out } = await strata('vault', 'costs', '--point', point, '--json');
    expect(JSON.parse(out)).toMatchObject({
      properties: { measure: 'manifests', items: [{}, { points: [{ disks: [{}] }] }] },
    });
    expect((await strata('vault', 'costs', '--point', point)).out).toMatch(/^b-0 +-1 +0 +1 +4 +0 +\d+ +\d+$/m);
    expect(await strata('vault', 'costs', '--point', '12')).toMatchObject({ exit: 1 });
  });

  it('says which point it cannot count', async () => {
    const { point, manifest } = (await world.points('a'))[0]!;
    const blobs = world.vaults.blobs(world.vaults.containerNames()[0]!);
    const whole = blobs.get(manifest!)!;
    blobs.delete(manifest!);
    const { exit, out } = await strata('vault', 'costs', '--point', point);
    blobs.set(manifest!, whole);
    expect(exit).toBe(0);
    expect(out).toContain(
      `not counted: recovery point ${point} of a, since its manifest cannot be read (VaultObjectMissing`,
    );
  });
});

it('texts for people: bytes, and columns that stand below one another', () => {
  expect([0, 1023, 1024, 10 * 1024, 2 ** 40 * 2.5].map(bytesText)).toEqual([
    '0 B',
    '1023 B',
    '1.00 KiB',
    '10.0 KiB',
    '2.50 TiB',
  ]);
  expect(
    tableLines(
      ['NAME', 'N'],
      [
        ['x', 5],
        ['longer', 100],
      ],
    ),
  ).toEqual(['NAME      N', 'x         5', 'longer  100']);
});
