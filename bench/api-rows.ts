import { TableClient, type TransactionAction } from '@azure/data-tables';
import { type Catalog, itemRow, jobRow, pointRow, vaultRow } from '../shared/catalog/catalog.ts';
import { encodeRow } from '../shared/catalog/row-codec.ts';
import { catalogOf } from '../shared/catalog/tables.ts';
import { itemId, jobId, nextPointId } from '../shared/domain/ids.ts';
import { indexJob } from '../shared/services/job-index.ts';
import { itemKey, pointsPartition, vaultRowKey } from '../shared/services/keys.ts';
import type { Ports } from '../shared/services/ports.ts';
import { putPolicy } from '../shared/services/policies.ts';
import { memoryTable } from '../test/support/memory-catalog.ts';

/* A vault of many items, points and jobs, as years of backups leave it, put into real tables. */

export const SUBSCRIPTION = '00000000-0000-4000-8000-00000000000a';
export const VAULT = `${SUBSCRIPTION}|bk|v1`;
export const CONTAINER = 'vault-v1-0123abcd';
export const NOW = Date.parse('2026-11-22T00:00:00Z');
const DAY_MS = 86_400_000;
/** What the service takes in one transaction. */
const BATCH_ROWS = 100;
const BATCHES_IN_FLIGHT = 8;

export interface VaultSize {
  readonly items: number;
  readonly points: number;
  readonly jobs: number;
}

const guid = (n: number): string =>
  `${n.toString(16).padStart(8, '0')}-0000-4000-8000-${(n * 7919).toString(16).padStart(12, '0')}`;
const vmName = (i: number): string => `vm${i.toString().padStart(5, '0')}`;
const idOf = (i: number) => itemId(`${vmName(i)}-${i.toString(16).padStart(8, '0')}`);
export const keyOfItem = (i: number): string => itemKey('app', vmName(i));

/** Makes the vault in memory by the services' own rules, then copies its rows over. */
export async function fillVault(connection: string, size: VaultSize): Promise<void> {
  const made: { name: string; table: ReturnType<typeof memoryTable> }[] = [];
  const catalog = catalogOf((name, schema) => {
    const table = memoryTable({ tableName: name, schema });
    made.push({ name, table });
    return table;
  });
  await makeRows(catalog, size);
  for (const { name, table } of made) {
    const batches: { partition: string; actions: TransactionAction[] }[] = [];
    for await (const { partition, key, row } of table.listAll()) {
      const stored = Object.entries(encodeRow({ table: name, partition, key }, row)).map(([property, value]) => [
        property,
        typeof value === 'number' ? { type: 'Double', value } : value,
      ]);
      const entity = { ...(Object.fromEntries(stored) as object), partitionKey: partition, rowKey: key };
      const last = batches.at(-1);
      if (last?.partition === partition && last.actions.length < BATCH_ROWS) last.actions.push(['create', entity]);
      else batches.push({ partition, actions: [['create', entity]] });
    }
    if (batches.length === 0) continue;
    const client = TableClient.fromConnectionString(connection, name, { allowInsecureConnection: true });
    await client.createTable();
    await Promise.all(
      Array.from({ length: BATCHES_IN_FLIGHT }, async () => {
        for (let next = batches.shift(); next !== undefined; next = batches.shift())
          await client.submitTransaction(next.actions);
      }),
    );
  }
}

async function makeRows(catalog: Catalog, { items, points, jobs }: VaultSize): Promise<void> {
  const ports = { catalog, clock: { now: () => NOW } } as unknown as Ports;
  const at = vaultRowKey(VAULT);
  const vault = { name: 'v1', resourceGroup: 'bk', subscriptionId: SUBSCRIPTION, location: 'westeurope' };
  const more = {
    containerName: CONTAINER,
    createdAt: 0,
    skuName: 'Standard',
    tags: {},
    properties: {},
    jobsIndexed: true,
  };
  await catalog.vaults.insert(at.partition, at.key, vaultRow.parse({ ...vault, ...more }));
  const rules = { minuteOfDay: 60, zone: 'UTC', dailyRetentionDays: 30, instantRetentionDays: 2 };
  await putPolicy(ports, VAULT, 'nightly', {}, rules);
  for (let i = 0; i < items; i++) await catalog.items.insert(VAULT, keyOfItem(i), itemOf(i, points / items));
  for (let i = 0; i < points; i++) {
    const row = pointOf(i % items, Math.floor(i / items));
    await catalog.points.insert(pointsPartition(CONTAINER, row.itemId), row.point, row);
  }
  for (let i = 0; i < jobs; i++) {
    const row = jobOf(i, i % items);
    await catalog.jobs.insert(VAULT, row.jobId, row);
    await indexJob(ports, VAULT, row);
  }
}

const machine = (i: number) => ({ itemId: idOf(i), vmName: vmName(i), resourceGroup: 'app' });
const begunAt = (daysAgo: number, i: number): number => NOW - daysAgo * DAY_MS - i * 7_000;

function itemOf(i: number, points: number) {
  return itemRow.parse({
    ...machine(i),
    vmResourceId: `/subscriptions/${SUBSCRIPTION}/resourceGroups/app/providers/Microsoft.Compute/virtualMachines/${vmName(i)}`,
    policyName: 'nightly',
    protectionState: 'Protected',
    protectedAt: 0,
    scheduledUntil: 0,
    lastPoint: points === 0 ? undefined : nextPointId(begunAt(0, i), undefined),
    disks: [],
    pins: [],
    lastBackupAt: NOW,
    lastBackupStatus: 'Completed',
  });
}

function pointOf(i: number, daysAgo: number) {
  const time = begunAt(daysAgo, i);
  const disk = { lun: 0, name: 'data', url: `https://disks.example/vhds/${vmName(i)}.vhd`, createdAt: '2026-01-01' };
  const vm = {
    id: 'i',
    vmId: 'v',
    name: vmName(i),
    resourceGroup: 'app',
    location: 'westeurope',
    size: 's',
    osType: 'Linux',
  };
  const disks = [{ ...disk, disk: 'disk-0001', sizeBytes: 2 ** 37, snapshot: '2026-11-22T00:00:00.0000000Z' }];
  return pointRow.parse({
    point: nextPointId(time, undefined),
    itemId: idOf(i),
    jobId: jobId(guid(i)),
    time,
    trigger: 'scheduled',
    dueAt: time,
    set: { attempt: '0'.repeat(16), takenAt: time, disks, lacking: [], vm },
    instant: daysAgo < 2 ? 'Valid' : 'Deleted',
    vault: 'Valid',
    sizeBytes: 2 ** 37,
    dataBlocks: 1000,
    clearedBlocks: 0,
    storedBytes: 2 ** 24,
    seq: 1,
  });
}

/** One in a hundred has failed; one in fifty is a restore. */
function jobOf(n: number, i: number) {
  const startedAt = NOW - n * 60_000;
  return jobRow.parse({
    ...machine(i),
    jobId: guid(n),
    itemKey: keyOfItem(i),
    operation: n % 50 === 7 ? 'Restore' : 'Backup',
    status: n % 100 === 3 ? 'Failed' : 'Completed',
    userTriggered: false,
    startedAt,
    endedAt: startedAt + 50_000,
    updatedAt: startedAt + 50_000,
    attempts: [],
    tasks: [{ taskId: 'Transfer data to vault', status: 'Completed', startedAt, endedAt: startedAt + 50_000 }],
    doneBytes: 0,
    totalBytes: 0,
    sources: [],
    errors:
      n % 100 === 3 ? [{ code: 'StorageUnavailable', message: 'the disk does not answer', recommendations: [] }] : [],
    bag: {},
  });
}

export const aJob = guid(12);
export const aPoint = nextPointId(begunAt(3, 1), undefined);
export const aMachine = vmName(1);
