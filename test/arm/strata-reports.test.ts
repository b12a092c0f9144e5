import { beforeAll, describe, expect, it } from 'vitest';
import type { Role } from '../../shared/arm/callers.ts';
import { armApi } from '../../shared/arm/serve.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { bodyOf } from '../support/body-of.ts';
import { DAY_MS, SUBSCRIPTION } from '../support/life.ts';
import { VAULT, type World, createWorld } from '../support/world.ts';

/* Cleanup and costs through the API: one VM with two points, of which the first is over. */

const B = BLOCK_BYTES;
const V = `/subscriptions/${SUBSCRIPTION}/resourceGroups/bk/providers/Microsoft.RecoveryServices/vaults/v1`;

let world: World;

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly [name: string]: unknown; readonly error?: { code: string; message: string } };
}

async function ask(method: string, path: string, role: Role = 'Backup Reader', body?: unknown): Promise<Answer> {
  const tokens = { issuer: '', audiences: [], jwksUrl: '' };
  const serve = armApi(
    { config: { subscriptionId: SUBSCRIPTION, tokens, publicUrl: undefined }, ports: world.ports },
    async () => ({ name: 'me', roles: [role] }),
  );
  const joint = path.includes('?') ? '&' : '?';
  const url = path.startsWith('http') ? path : `http://strata${V}${path}${joint}api-version=2023-06-01`;
  const answer = await serve({
    method,
    url,
    headers: new Headers(),
    body: bodyOf(body === undefined ? '' : JSON.stringify(body)),
  });
  return { status: answer.status, headers: answer.headers ?? {}, body: (answer.body ?? {}) as Answer['body'] };
}

beforeAll(async () => {
  world = await createWorld();
  const [disk] = await world.createVm('vm', [8 * B]);
  await world.protect('vm');
  for (const [days, fill] of [
    [1, 1],
    [60, 2],
  ] as const) {
    await world.disks.write(disk!, 0, Buffer.alloc(fill * 4 * B, fill));
    expect(await world.backup('vm', world.clock.now() + days * DAY_MS)).toMatchObject({ status: 'Completed' });
    world.clock.advance(60_000);
  }
  world.clock.advance(2 * DAY_MS);
});

describe('cleanup', () => {
  it('is started by contributors, followed as an operation, and reports what was done and left', async () => {
    const refused = await ask('POST', '/strata/cleanUp', 'Backup Operator');
    expect(refused).toMatchObject({ status: 403, body: { error: { code: 'AuthorizationFailed' } } });
    const begun = await ask('POST', '/strata/cleanUp', 'Backup Contributor');
    expect(begun).toMatchObject({ status: 202, body: { properties: { status: 'InProgress' } } });
    const operation = begun.headers['Azure-AsyncOperation']!;
    expect(await ask('GET', operation)).toMatchObject({ status: 200, body: { status: 'InProgress' } });
    await world.drain();
    expect(await ask('GET', operation)).toMatchObject({ status: 200, body: { status: 'Succeeded' } });
    const item = {
      virtualMachine: 'vm',
      status: 'done',
      done: { merged: 1, removedPoints: 0 },
      left: { expiredPoints: 0 },
      failures: [],
    };
    const ended = { name: begun.body['name'], properties: { status: 'Ended', items: [item] } };
    expect((await ask('GET', begun.headers['Location']!)).body).toMatchObject(ended);
    expect((await ask('GET', '/strata/cleanUps')).body).toMatchObject({ value: [ended], nextLink: null });
  });

  it('lists the newest run first, in pages', async () => {
    world.clock.advance(60_000);
    await world.cleanUp();
    const first = (await ask('GET', '/strata/cleanUps?$top=1')).body as { value: { name: string }[]; nextLink: string };
    const second = (await ask('GET', first.nextLink)).body as typeof first;
    expect([first.value.length, second.value.length, second.nextLink]).toEqual([1, 1, null]);
    expect(first.value[0]!.name > second.value[0]!.name).toBe(true);
  });

  it('is refused, and not begun, when its body says what nobody would read', async () => {
    const runs = async () => ((await ask('GET', '/strata/cleanUps')).body['value'] as object[]).length;
    const before = await runs();
    const refused = await ask('POST', '/strata/cleanUp', 'Backup Contributor', { bytes: 1000 });
    expect(refused).toMatchObject({ status: 400, body: { error: { code: 'InvalidRequest' } } });
    expect(await runs()).toBe(before);
    expect((await ask('POST', '/strata/cleanUp', 'Backup Contributor', {})).status).toBe(202);
    await world.drain();
  });

  it('that gave way to another answers with that one', async () => {
    world.clock.advance(60_000);
    await world.cleanUp();
    const list = async () => (await ask('GET', '/strata/cleanUps')).body['value'] as { name: string }[];
    const [going] = await list();
    const gone = { runId: '9999999999999-00000000', startedAt: 1, endsAt: 2, bytes: 0, endedAt: 2 };
    await world.ports.catalog.cleanUps.insert(VAULT, gone.runId, { ...gone, instead: going!.name });
    expect((await ask('GET', `/strata/cleanUps/${gone.runId}`)).body).toMatchObject({ name: going!.name });
    const operation = `/strata/cleanUps/${gone.runId}/operationStatus`;
    expect(await ask('GET', operation)).toMatchObject({ status: 200, body: { status: 'Succeeded' } });
    expect((await list()).map(({ name }) => name)).not.toContain(gone.runId);
  });

  it('knows no other runs', async () => {
    expect(await ask('GET', '/strata/cleanUps/0000000000000-00000000')).toMatchObject({
      status: 404,
      body: { error: { code: 'ResourceNotFound' } },
    });
  });
});

describe('costs', () => {
  it('are told to readers, and explain every byte that is listed', async () => {
    await world.sweep();
    const { status, body } = await ask('GET', '/strata/costs?measure=listing');
    expect(status).toBe(200);
    const { properties } = body as { properties: { bytes: number; listing: object; items: { points: object[] }[] } };
    expect(properties.listing).toMatchObject({ bytes: properties.bytes, unexplainedBytes: 0 });
    expect(properties.items).toMatchObject([{ virtualMachine: 'vm', points: [{ dataBlocks: 8, clearedBlocks: 0 }] }]);
    expect(properties.items[0]!.points[0]).not.toHaveProperty('disks');
  });

  it('are shown region by region for the point that is asked for', async () => {
    const [point] = await world.points('vm');
    const { body } = await ask('GET', `/strata/costs?point=${point!.point}`);
    expect(body).toMatchObject({
      properties: {
        measure: 'manifests',
        items: [
          { points: [{ recoveryPoint: point!.point, disks: [{ regions: [{ dataBlocks: 4 }, { dataBlocks: 4 }] }] }] },
        ],
      },
    });
    expect(body['properties'] as object).not.toHaveProperty('listing');
  });

  it.each([
    ['?measure=guess', 400, 'measure: is "guess": expected manifests or listing'],
    ['?point=7', 400, 'expected the 17 digits'],
    ['?point=00000000000000007', 404, 'no item of this vault has recovery point'],
  ])('of %s are refused: %i', async (query, status, message) => {
    const answer = await ask('GET', `/strata/costs${query}`);
    expect(answer.status).toBe(status);
    expect(answer.body.error!.message).toContain(message);
  });
});

describe('a rebuild of the catalog', () => {
  it('is refused, and not begun, when its body has a word that it does not know', async () => {
    const refused = await ask('POST', '/strata/rebuildCatalog', 'Backup Contributor', { containerName: 'vault-a' });
    expect(refused).toMatchObject({ status: 400, body: { error: { code: 'InvalidRequest' } } });
    expect(refused.body.error!.message).toContain('containerName');
    expect(world.queue.waiting()).toEqual([]);
  });
});
