/**
 * `npm run bench:api`: what calls of the API take of a vault with 2,000 items, 50,000 recovery points and 20,000 jobs in real tables (Azurite),
 * beside one of a tenth of that: how long, and how many rows they read. Rows of what was not asked for must not be among them. See
 * docs/performance.md.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectionString } from '../local/storage/accounts.ts';
import { startStorage } from '../local/storage/server.ts';
import { azureTable } from '../shared/catalog/azure-tables.ts';
import type { CatalogTable } from '../shared/catalog/catalog-table.ts';
import { catalogOf } from '../shared/catalog/tables.ts';
import { armApi } from '../shared/arm/serve.ts';
import type { Ports } from '../shared/services/ports.ts';
import { bodyOf } from '../test/support/body-of.ts';
import { aJob, aMachine, aPoint, fillVault, NOW, SUBSCRIPTION, type VaultSize } from './api-rows.ts';
import { countingRows } from './row-meter.ts';

const FULL: VaultSize = { items: 2_000, points: 50_000, jobs: 20_000 };
const TIMES = Number(process.argv[2] ?? 20);

const V = `/subscriptions/${SUBSCRIPTION}/resourceGroups/bk/providers/Microsoft.RecoveryServices/vaults/v1`;
const C = `iaasvmcontainerv2;app;${aMachine}`;
const ITEM = `/backupFabrics/Azure/protectionContainers/IaasVMContainer;${C}/protectedItems/VM;${C}`;
const dayOf = (key: 'Time' | 'Date') =>
  `start${key} eq '2026-11-20 12:00:00 AM' and end${key} eq '2026-11-20 11:59:59 PM'`;

const CALLS: readonly { what: string; path: string; query?: Record<string, string> }[] = [
  { what: 'the vault', path: '' },
  { what: 'a job', path: `/backupJobs/${aJob}` },
  { what: 'jobs, one page of 200', path: '/backupJobs' },
  { what: 'jobs, the newest', path: '/backupJobs', query: { $top: '1' } },
  { what: 'jobs that failed, 20', path: '/backupJobs', query: { $top: '20', $filter: "status eq 'Failed'" } },
  {
    what: 'restores that completed, 20',
    path: '/backupJobs',
    query: { $top: '20', $filter: "operation eq 'Restore' and status eq 'Completed'" },
  },
  { what: 'jobs of a day, 200', path: '/backupJobs', query: { $filter: dayOf('Time') } },
  { what: 'jobs in progress', path: '/backupJobs', query: { $filter: "status eq 'InProgress'" } },
  { what: 'items, one page of 200', path: '/backupProtectedItems' },
  { what: 'items of a name', path: '/backupProtectedItems', query: { $filter: `friendlyName eq '${aMachine}'` } },
  { what: 'an item', path: ITEM },
  { what: 'points of an item, all 25', path: `${ITEM}/recoveryPoints` },
  { what: 'points of a day', path: `${ITEM}/recoveryPoints`, query: { $filter: dayOf('Date') } },
  { what: 'a point', path: `${ITEM}/recoveryPoints/${aPoint}` },
  { what: 'a policy with its count', path: '/backupPolicies/nightly' },
];

interface Figures {
  readonly rows: number;
  readonly requests: number;
  readonly p50: number;
  readonly p95: number;
}

async function measure(size: VaultSize): Promise<Figures[]> {
  const dataDir = await mkdtemp(join(tmpdir(), 'strata-bench-api-'));
  const account = { account: 'bench', kind: 'standard', key: Buffer.alloc(64, 7).toString('base64') } as const;
  const server = await startStorage({
    dataDir,
    ports: { blob: 0, queue: 0, table: 0 },
    accounts: [account],
    mode: 'stock',
  });
  try {
    const connection = connectionString(account, server);
    await fillVault(connection, size);
    let rows = 0;
    const catalog = catalogOf((tableName, schema) =>
      counted(azureTable({ connection, tableName, schema }), (read) => (rows += read)),
    );
    let given = 0;
    const ports = {
      catalog,
      clock: { now: () => NOW },
      ids: { guid: () => `${given++}` },
      log: console.error,
    } as unknown as Ports;
    const config = {
      subscriptionId: SUBSCRIPTION,
      tokens: { issuer: '', audiences: [], jwksUrl: '' },
      publicUrl: undefined,
    };
    const serve = armApi({ config, ports }, async () => ({ name: 'bench', roles: ['Backup Reader'] as const }));
    const ask = async ({ path, query = {} }: (typeof CALLS)[number]): Promise<void> => {
      const url = new URL(`http://strata${V}${path}?api-version=2023-06-01`);
      for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
      const answer = await serve({ method: 'GET', url: url.href, headers: new Headers(), body: bodyOf('') });
      if (answer.status !== 200) throw new Error(`${url.pathname}: ${answer.status} ${JSON.stringify(answer.body)}`);
    };
    const figures: Figures[] = [];
    // What the emulator takes to look for rows that are not there: it goes through the whole table.
    const nothing = async (): Promise<void> => {
      for await (const _ of catalog.jobIndex.list('none', { top: 1 })) void _;
    };
    for (const work of [nothing, ...CALLS.map((call) => () => ask(call))]) {
      await work(); // connections are opened
      rows = 0;
      const { requests } = (await countingRows(server.tablePort, work)).rows;
      const read = rows;
      const ms: number[] = [];
      for (let i = 0; i < TIMES; i++) {
        const since = performance.now();
        await work();
        ms.push(performance.now() - since);
      }
      ms.sort((a, b) => a - b);
      figures.push({ rows: read, requests, p50: ms[Math.floor(TIMES / 2)]!, p95: ms[Math.ceil(TIMES * 0.95) - 1]! });
    }
    return figures;
  } finally {
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** The same table; `read` hears of every row that it gives. */
function counted<Row extends object>(table: CatalogTable<Row>, read: (rows: number) => void): CatalogTable<Row> {
  async function* each<Item>(items: AsyncIterable<Item>): AsyncGenerator<Item> {
    for await (const item of items) {
      read(1);
      yield item;
    }
  }
  return {
    ...table,
    async get(partition, key) {
      read(1);
      return table.get(partition, key);
    },
    list: (partition, range) => each(table.list(partition, range)),
    listColumns: (partition, columns, range) => each(table.listColumns(partition, columns, range)),
  };
}

const tenth: VaultSize = { items: FULL.items / 10, points: FULL.points / 10, jobs: FULL.jobs / 10 };
const small = await measure(tenth);
const large = await measure(FULL);
const fixed = (value: number, digits = 1): string => value.toFixed(digits);
console.log('| call | rows read, a tenth | rows read | requests | p50 ms, a tenth | p50 ms | p95 ms | p50 ratio |');
console.log('| --- | --- | --- | --- | --- | --- | --- | --- |');
for (const [i, what] of ['(no row, of the index alone)', ...CALLS.map((call) => call.what)].entries()) {
  const [few, many] = [small[i]!, large[i]!];
  const cells = [
    what,
    few.rows,
    many.rows,
    many.requests,
    fixed(few.p50),
    fixed(many.p50),
    fixed(many.p95),
    fixed(many.p50 / few.p50, 2),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}
