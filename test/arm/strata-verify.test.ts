import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runStrata } from '../../cli/strata/run.ts';
import { verifyVault } from '../../cli/strata/vault-verify.ts';
import type { Role } from '../../shared/arm/callers.ts';
import { armApi } from '../../shared/arm/serve.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { bodyOf } from '../support/body-of.ts';
import { SUBSCRIPTION } from '../support/life.ts';
import { type World, createWorld } from '../support/world.ts';

/* The calls and the command, over the services in memory: what a call has started is done before the next one is answered. */

const V = `/subscriptions/${SUBSCRIPTION}/resourceGroups/bk/providers/Microsoft.RecoveryServices/vaults/v1`;
let world: World;
let server: Server;
let endpoint: string;
let roles: Role[];

beforeEach(async () => {
  world = await createWorld({ layout: { thinBytes: 2 ** 20 } });
  roles = ['Backup Operator'];
  for (const vm of ['vm', 'web']) {
    const [disk] = await world.createVm(vm, [6 * BLOCK_BYTES]);
    await world.protect(vm);
    await world.disks.write(disk!, 0, Buffer.alloc(5 * BLOCK_BYTES, 7));
    await world.backup(vm);
  }
  world.clock.advance(60_000);
  const config = {
    subscriptionId: SUBSCRIPTION,
    tokens: { issuer: '', audiences: [], jwksUrl: '' },
    publicUrl: undefined,
  };
  const serve = armApi({ config, ports: world.ports }, async () => ({ name: 'me', roles }));
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const headers = new Headers(
      Object.entries(request.headers).map(([name, value]): [string, string] => [name, String(value)]),
    );
    const answer = await serve({
      method: request.method!,
      url: `${endpoint}${request.url}`,
      headers,
      body: bodyOf(text),
    });
    await world.drain();
    response.writeHead(answer.status, { ...answer.headers, 'content-type': 'application/json' });
    response.end(answer.body === undefined ? '' : JSON.stringify(answer.body));
  };
  server = createServer((request, response) => void handle(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

async function ask(method: string, path: string, body?: object) {
  const separator = path.includes('?') ? '&' : '?';
  const answer = await fetch(`${endpoint}${V}${path}${separator}api-version=2023-06-01`, {
    method,
    headers: { authorization: 'Bearer x', 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text === '' ? undefined : JSON.parse(text) };
}

/** Flips a bit in the first frame of a VM. */
function harm(vm: string): void {
  const blobs = world.vaults.blobs(world.vaults.containerNames()[0]!);
  const [name, blob] = [...blobs].find(
    ([each]) => each.includes(`/items/${vm}-`) && /000000\.[0-9a-f]+\.slab$/.test(each),
  )!;
  const body = Uint8Array.from(blob.body);
  body[20]! ^= 1;
  blobs.set(name, { ...blob, body });
}

describe('POST strata/verify', () => {
  it('starts a job for one item, and the headers tell how it goes', async () => {
    const { status, headers, body } = await ask('POST', '/strata/verify', { item: 'VM', deepPercent: 100 });
    expect(status).toBe(202);
    expect(body.value).toMatchObject([{ virtualMachine: 'vm', id: expect.stringContaining('/strata/jobs/') }]);
    const followed = await fetch(headers.get('azure-asyncoperation')!, { headers: { authorization: 'Bearer x' } });
    expect(await followed.json()).toMatchObject({ status: 'Succeeded', name: body.value[0].name });
    const job = await fetch(headers.get('location')!, { headers: { authorization: 'Bearer x' } });
    expect(await job.json()).toMatchObject({
      properties: { operation: 'Verify', status: 'Completed', progress: { Findings: '0' }, errors: [] },
    });
    expect(
      (await ask('GET', '/backupJobs')).body.value.map(
        (own: { properties: { operation: string } }) => own.properties.operation,
      ),
    ).not.toContain('Verify');
  });

  it('starts one for each item', async () => {
    const { status, body, headers } = await ask('POST', '/strata/verify');
    expect(status).toBe(202);
    expect(body.value.map((own: { virtualMachine: string }) => own.virtualMachine)).toEqual(['vm', 'web']);
    expect(headers.get('location')).toBeNull();
  });

  it.each([
    [{ item: 'nobody' }, 404, 'item'],
    [{ item: 'app/vm', deepBytes: -1 }, 400, 'deepBytes'],
    [{ deepBytes: 1.5 }, 400, 'deepBytes'],
    [{ deepPercent: 101 }, 400, 'deepPercent'],
    [{ deepBytes: 1, deepPercent: 1 }, 400, 'deepPercent'],
    [{ drill: 'newest' }, 400, 'drill'],
    [{ item: 'vm', drill: '00000000000000001' }, 400, 'drill'],
    [{ drill: '00000000000000001' }, 400, 'drill'],
    [{ depth: 1 }, 400, undefined],
  ])('refuses %j', async (body, status, target) => {
    const refused = await ask('POST', '/strata/verify', body);
    expect(refused.status).toBe(status);
    if (target !== undefined) expect(JSON.stringify(refused.body.error)).toContain(`"target":"${target}"`);
  });

  it('has started nothing where one of the VMs cannot be verified as asked for', async () => {
    await world.createVm('young', [6 * BLOCK_BYTES]);
    await world.protect('young'); // and has no recovery point yet
    const [point] = await world.points('vm');
    for (const drill of ['latest', point!.point]) {
      const refused = await ask('POST', '/strata/verify', { drill });
      expect(refused).toMatchObject({ status: 400, body: { error: expect.objectContaining({ target: 'drill' }) } });
    }
    expect((await ask('GET', '/strata/jobs')).body.value).toEqual([]);
    expect((await ask('POST', '/strata/verify')).body.value).toHaveLength(3);
  });

  it('is for operators', async () => {
    roles = ['Backup Reader'];
    expect((await ask('POST', '/strata/verify')).status).toBe(403);
    expect((await ask('GET', '/strata/findings')).status).toBe(200);
  });
});

describe('GET strata/findings', () => {
  it('names object, disk, blocks and points, a page at a time', async () => {
    harm('vm');
    harm('web');
    await ask('POST', '/strata/verify', { deepPercent: 100 });
    const first = (await ask('GET', '/strata/findings?$top=1')).body;
    expect(first.value).toHaveLength(1);
    const [point] = await world.points('vm');
    expect(first.value[0]).toMatchObject({
      type: 'Microsoft.RecoveryServices/vaults/strata/findings',
      properties: {
        virtualMachine: 'vm',
        kind: 'blocks',
        object: expect.stringMatching(/\.slab$/),
        code: 'PackCorrupt',
        disk: { lun: -1, name: 'vm-0' },
        region: { number: 0, startByte: 0, blockBytes: BLOCK_BYTES },
        blocks: [{ start: 0, count: 4 }],
        recoveryPoints: [point!.point],
        newestPointIsSound: false,
      },
    });
    const rest = await fetch(first.nextLink, { headers: { authorization: 'Bearer x' } });
    expect(await rest.json()).toMatchObject({ value: [{ properties: { virtualMachine: 'web' } }], nextLink: null });
    const filter = encodeURIComponent("item eq 'web' and state eq 'open'");
    expect((await ask('GET', `/strata/findings?$filter=${filter}`)).body.value).toHaveLength(1);
    expect(
      (await ask('GET', `/strata/findings?$filter=${encodeURIComponent("state eq 'healed'")}`)).body.value,
    ).toEqual([]);
  });
});

describe('a recovery point', () => {
  const points = async (vm: string, id = '') => {
    const name = `IaasVMContainer;iaasvmcontainerv2;app;${vm}`;
    const item = `VM;iaasvmcontainerv2;app;${vm}`;
    return ask('GET', `/backupFabrics/Azure/protectionContainers/${name}/protectedItems/${item}/recoveryPoints${id}`);
  };

  it('says what is known to be wrong with it, in lists and alone', async () => {
    harm('vm');
    await ask('POST', '/strata/verify', { deepPercent: 100 });
    const [point] = await world.points('vm');
    const findings = [{ kind: 'blocks', code: 'PackCorrupt', message: expect.stringMatching(/slab/) }];
    expect((await points('vm')).body.value).toMatchObject([{ properties: { strata: { findings } } }]);
    expect((await points('vm', `/${point!.point}`)).body.properties.strata).toMatchObject({ findings });
    expect((await points('web')).body.value[0].properties.strata).not.toHaveProperty('findings');
  });
});

describe('strata vault verify', () => {
  const strata = async (...args: string[]) => {
    let out = '';
    let err = '';
    const exit = await runStrata(
      [verifyVault],
      ['vault', 'verify', '--vault-id', V, '--endpoint', endpoint, '--token', 'x', ...args],
      {},
      { out: (text) => void (out += text), err: (text) => void (err += text) },
    );
    return { exit, out, err };
  };

  it('ends with 0 where nothing is wrong', async () => {
    expect(await strata('--deep', 'all', '--drill', 'latest', '--wait')).toMatchObject({
      exit: 0,
      out: '0 findings\n',
    });
    expect((await strata('--item', 'vm')).exit).toBe(0);
  });

  it('shows what is wrong and ends with 1', async () => {
    harm('web');
    const { exit, out, err } = await strata('--deep', '100%', '--wait');
    expect(exit).toBe(1);
    expect(out).toContain('web, disk web-0, region 0, blocks 0-3');
    expect(out).toContain('PackCorrupt');
    expect(err).toContain('error: 1 findings are open');
    const listed = await strata('--list', '--json');
    expect(listed.exit).toBe(1);
    expect(JSON.parse(listed.out)).toMatchObject({ findings: [{ properties: { virtualMachine: 'web' } }] });
    expect((await strata('--list', '--item', 'vm')).exit).toBe(0);
  });

  it.each([['lots'], ['120%'], ['-1'], ['1.5'], ['']])('refuses --deep %j', async (amount) => {
    expect(await strata(`--deep=${amount}`)).toMatchObject({ exit: 2, err: expect.stringContaining('--deep') });
  });
});
