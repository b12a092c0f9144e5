import { beforeEach, describe, expect, it } from 'vitest';
import { armApi } from '../../shared/arm/serve.ts';
import type { ItemRow } from '../../shared/catalog/catalog.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { bodyOf } from '../support/body-of.ts';
import { gatedPorts } from '../support/gated-ports.ts';
import { SUBSCRIPTION } from '../support/life.ts';
import { VAULT, type World, createWorld } from '../support/world.ts';

/* Pages and filters of lists as clients ask for them, and what the tables are asked for them. */

const V = `/subscriptions/${SUBSCRIPTION}/resourceGroups/bk/providers/Microsoft.RecoveryServices/vaults/v1`;
const ITEM =
  '/backupFabrics/Azure/protectionContainers/IaasVMContainer;iaasvmcontainerv2;app;vm/protectedItems/VM;iaasvmcontainerv2;app;vm';
const roles = ['Backup Operator'] as const;

let world: World;
let calls: string[];
let ports: Ports;

interface List {
  readonly value: { readonly name: string; readonly properties: Record<string, unknown> }[];
  readonly nextLink: string | null;
}

async function get<Body = List>(pathOrUrl: string, query: Record<string, string> = {}, status = 200): Promise<Body> {
  const tokens = { issuer: '', audiences: [], jwksUrl: '' };
  const serve = armApi({ config: { subscriptionId: SUBSCRIPTION, tokens, publicUrl: undefined }, ports }, async () => ({
    name: 'me',
    roles,
  }));
  const url = new URL(
    pathOrUrl.startsWith('http') ? pathOrUrl : `http://strata${V}${pathOrUrl}?api-version=2023-06-01`,
  );
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const answer = await serve({ method: 'GET', url: url.href, headers: new Headers(), body: bodyOf('') });
  expect(answer.status, JSON.stringify(answer.body)).toBe(status);
  return answer.body as Body;
}

beforeEach(async () => {
  world = await createWorld();
  calls = [];
  ports = gatedPorts(world.ports, { before: (call) => void calls.push(call), after: () => undefined });
});

describe('protected items', () => {
  let names: string[];
  beforeEach(async () => {
    names = Array.from({ length: 12 }, (_, i) => `vm${i}`).sort();
    for (const name of names) {
      await world.createVm(name, [65_536]);
      await world.protect(name);
    }
    calls = [];
  });
  const shown = ({ value }: List): unknown[] => value.map(({ properties }) => properties['friendlyName']);

  it('come in pages, each of which asks for as many rows as it shows', async () => {
    const first = await get('/backupProtectedItems', { $top: '5' });
    expect(shown(first)).toEqual(names.slice(0, 5));
    // One that comes before, and the last given one going, change nothing of what follows.
    for await (const { partition, key, row } of world.ports.catalog.items.list(VAULT)) {
      if (row.vmName === names[0]) await world.ports.catalog.items.insert(partition, 'app;a', { ...row, vmName: 'a' });
      if (row.vmName === names[4]) await world.ports.catalog.items.remove(partition, key);
    }
    const second = await get(first.nextLink!);
    const third = await get(second.nextLink!);
    expect([...shown(second), ...shown(third)]).toEqual(names.slice(5));
    expect(third.nextLink).toBeNull();
    expect(calls.filter((call) => call.startsWith('items.'))).toEqual(['items.list', 'items.list', 'items.list']);
  });

  it('are filtered by name, container and policy, page by page', async () => {
    const items: ItemRow[] = [];
    for await (const { key, row } of world.ports.catalog.items.list(VAULT)) {
      items.push(row);
      if (items.length % 3 === 0) await world.ports.catalog.items.upsert(VAULT, key, { ...row, policyName: 'Other' });
    }
    expect(shown(await get('/backupProtectedItems', { $filter: "friendlyName eq 'VM3'" }))).toEqual(['vm3']);
    const container = "containerName eq 'IaasVMContainerV2;App;vm3'";
    expect(shown(await get('/backupProtectedItems', { $filter: container }))).toEqual(['vm3']);
    const other = items.filter((_, i) => i % 3 === 2).map(({ vmName }) => vmName);
    const first = await get('/backupProtectedItems', { $filter: "policyName eq 'other'", $top: '3' });
    expect([...shown(first), ...shown(await get(first.nextLink!))]).toEqual(other);
    expect(shown(await get('/backupProtectedItems', { $filter: "itemType eq 'SQLDataBase'" }))).toEqual([]);
  });

  it('are counted for a policy without their rows being read', async () => {
    const { properties } = await get<{ properties: object }>('/backupPolicies/nightly');
    expect(properties).toMatchObject({ protectedItemsCount: 12 });
    expect(calls.filter((call) => call.startsWith('items.'))).toEqual(['items.listColumns']);
  });
});

describe('jobs', () => {
  beforeEach(async () => {
    await world.createVm('vm', [65_536]);
    await world.protect('vm');
    for (let i = 0; i < 3; i++) {
      world.clock.advance(60_000);
      await world.backup('vm');
    }
    calls = [];
  });

  it('are listed newest first by pages, and are what each of them is by itself', async () => {
    const first = await get('/backupJobs', { $top: '3' });
    const second = await get(first.nextLink!);
    const jobs = [...first.value, ...second.value];
    expect(jobs.map(({ properties }) => properties['operation'])).toEqual([
      'Backup',
      'Backup',
      'Backup',
      'ConfigureBackup',
    ]);
    expect(calls).not.toContain('jobs.list');
    for (const { name, properties } of jobs) {
      const { extendedInfo, ...same } = (await get<{ properties: Record<string, unknown> }>(`/backupJobs/${name}`))
        .properties;
      expect(extendedInfo).toBeDefined();
      expect(properties).toEqual(same);
    }
  });

  it('are filtered by each key, and all at once', async () => {
    const all = (await get('/backupJobs')).value;
    const found = async (filter: string): Promise<string[]> =>
      (await get('/backupJobs', { $filter: filter })).value.map(({ name }) => name);
    const names = all.map(({ name }) => name);
    expect(await found("operation eq 'Backup'")).toEqual(names.slice(0, 3));
    expect(await found("status eq 'Completed' and operation eq 'ConfigureBackup'")).toEqual(names.slice(3));
    expect(await found("status eq 'InProgress'")).toEqual([]);
    expect(await found(`jobId eq '${names[1]!.toUpperCase()}'`)).toEqual([names[1]]);
    expect(await found(`jobId eq '${names[1]!}' and status eq 'Failed'`)).toEqual([]);
    expect(await found("backupManagementType eq 'AzureStorage'")).toEqual([]);
    const time = String(all[1]!.properties['startTime']);
    expect(await found(`startTime eq '${time}' and endTime eq '${time}'`)).toEqual([names[1]]);
    const { value } = await get('/backupJobs', {
      $filter: `endTime eq '${time}' and operation eq 'backup'`,
      $top: '1',
    });
    expect(value.map(({ name }) => name)).toEqual([names[1]]);
  });

  it('of another filter are not what a token goes on with', async () => {
    const { nextLink } = await get('/backupJobs', { $filter: "operation eq 'Backup'", $top: '1' });
    const token = new URL(nextLink!).searchParams.get('$skipToken')!;
    const { error } = await get<{ error: object }>(
      '/backupJobs',
      { $filter: "operation eq 'Restore'", $skipToken: token },
      400,
    );
    expect(error).toMatchObject({ target: '$skipToken' });
  });

  it('of Strata itself are in their own list alone', async () => {
    expect((await get('/strata/jobs')).value).toEqual([]);
    expect(calls).not.toContain('jobs.list');
  });

  it('lead to points, one of which is read by itself', async () => {
    const first = await get(`${ITEM}/recoveryPoints`, { $top: '2' });
    const second = await get(first.nextLink!);
    const points = [...first.value, ...second.value].map(({ name }) => name);
    expect(points).toEqual(points.toSorted().toReversed());
    expect(points).toHaveLength(3);
    calls = [];
    await get(`${ITEM}/recoveryPoints/${points[1]}`);
    expect(calls.filter((call) => call.startsWith('points.')).sort()).toEqual(['points.get', 'points.listColumns']);
    for (const name of ['16000000000000000', 'none']) await get(`${ITEM}/recoveryPoints/${name}`, {}, 404);
  });
});
