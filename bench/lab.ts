import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlobServiceClient, type ContainerClient } from '@azure/storage-blob';
import { blobEndpoint, connectionString, loadAccounts } from '../local/storage/accounts.ts';
import { type StorageServer, startStorage } from '../local/storage/server.ts';
import { compose } from '../shared/app/compose.ts';
import type { VirtualMachine } from '../shared/compute/compute.ts';
import { DEFAULT_RATES } from '../shared/domain/source-rates.ts';
import { PRODUCTION_LAYOUT } from '../shared/domain/layout.ts';
import { PRODUCTION_GEOMETRY } from '../shared/domain/units.ts';
import type { Ports } from '../shared/services/ports.ts';
import type { VaultContainer } from '../shared/vault/vault-container.ts';
import { BusyMeter } from './busy.ts';
import { delayed } from './delayed.ts';
import { type InProcessQueue, inProcessQueue } from './in-process-queue.ts';

const SUBSCRIPTION = '11111111-2222-3333-4444-555555555555';
const DISKS = 'stratadisks1';

/** A storage process on a folder of its own, and the services' ports over the adapters that production uses. */
export interface Lab {
  readonly server: StorageServer;
  readonly ports: Ports;
  readonly queue: InProcessQueue;
  readonly busy: BusyMeter;
  /** A container of the account that the disks are in, through the SDK alone. */
  readonly disks: (container: string) => ContainerClient;
  /** A container of the account that the vault is in, through the SDK alone. */
  readonly vault: (container: string) => ContainerClient;
  /** The URL of a blob of the disks' account. */
  readonly diskUrl: (path: string) => string;
  /** The VM with the disk that is measured. */
  readonly machine: VirtualMachine;
  /** A VM with many small disks. */
  readonly wide: VirtualMachine;
  /** The process that hands requests on late; undefined where none does. */
  readonly delayPid: number | undefined;
  readonly advanceClock: (ms: number) => void;
  readonly stop: () => Promise<void>;
}

export const BENCH_VM = { subscriptionId: SUBSCRIPTION, resourceGroup: 'bench', name: 'vm' } as const;
export const WIDE_VM = { ...BENCH_VM, name: 'wide' } as const;
export const DISK_PATH = 'vhds/disk.vhd';
/** The disks of the wide VM: as many as the largest common sizes take. */
export const WIDE_PATHS: readonly string[] = Array.from({ length: 16 }, (_, i) => `wide/disk-${i}.vhd`);
export const RESTORE_ACCOUNT = `/subscriptions/${SUBSCRIPTION}/resourceGroups/bench/providers/Microsoft.Storage/storageAccounts/${DISKS}`;

export interface LabOptions {
  /** How much later each request reaches the storage. */
  readonly delayMs?: number;
  /** As the setting; by default as in production. */
  readonly onTheSpotBytes?: number;
  /** VMs besides the two, with the paths of their disks. */
  readonly more?: readonly { readonly name: string; readonly paths: readonly string[] }[];
}

export async function startLab(
  inFlight: number,
  { delayMs = 0, onTheSpotBytes = 64 * 1024 * 1024, more = [] }: LabOptions = {},
): Promise<Lab> {
  const dataDir = await mkdtemp(join(tmpdir(), 'strata-bench-'));
  const accounts = await loadAccounts(dataDir);
  const storage = await startStorage({ dataDir, ports: { blob: 0, queue: 0, table: 0 }, accounts, mode: 'completed' });
  const before = delayMs === 0 ? undefined : await delayed(storage, delayMs);
  const server: StorageServer = { ...storage, ...before?.ports };
  const connection = (name: string): string =>
    connectionString(
      accounts.find(({ account }) => account === name)!,
      server,
    );
  const app = connection('devstoreaccount1');
  const diskUrl = (path: string): string => `${blobEndpoint(DISKS, server)}/${path}`;
  const machine = virtualMachine(BENCH_VM.name, [diskUrl(DISK_PATH)]);
  const wide = virtualMachine(WIDE_VM.name, WIDE_PATHS.map(diskUrl));
  const machines = [machine, wide, ...more.map(({ name, paths }) => virtualMachine(name, paths.map(diskUrl)))];
  const queue = inProcessQueue(inFlight);
  const busy = new BusyMeter();
  let aheadMs = 0;
  const composed = compose(
    {
      geometry: PRODUCTION_GEOMETRY,
      sweepGraceSeconds: 86_400,
      auditSeconds: 180,
      jobHistoryDays: 180,
      verifyNightlyBytes: 0,
      drillAccount: undefined,
      cleanUpSeconds: 21_600,
      cleanUpBytes: 2 ** 38,
      onTheSpotBytes,
      layout: PRODUCTION_LAYOUT,
      sourceRates: DEFAULT_RATES,
      sourcePacing: { isOn: false, accountRequestsPerSecond: 20_000, accountBytesPerSecond: 2 ** 32 },
      deleteGraceSeconds: 60,
      appStorage: { connection: app },
      vaultStorage: { connection: app },
      accounts: accounts.map((own) => ({ ...own, blob: blobEndpoint(own.account, server) })),
      subscriptionId: SUBSCRIPTION,
      armEndpoint: 'https://127.0.0.1',
      snapshotGroup: undefined,
      tokens: { issuer: 'https://127.0.0.1', audiences: [], jwksUrl: 'https://127.0.0.1' },
      publicUrl: undefined,
      clockFile: undefined,
      alertWebhook: undefined,
    },
    (line) => process.stderr.write(`${line}\n`),
  );
  const ports: Ports = {
    ...watched(composed, busy),
    queue,
    compute: {
      virtualMachine: async (id) => machines.find((own) => own.id.toLowerCase() === id.toLowerCase()),
      async *virtualMachines() {
        yield* machines;
      },
    },
    clock: { now: () => Date.now() + aheadMs },
  };
  return {
    server,
    ports,
    queue,
    busy,
    diskUrl,
    machine,
    wide,
    delayPid: before?.pid,
    disks: (name) => BlobServiceClient.fromConnectionString(connection(DISKS)).getContainerClient(name),
    vault: (name) => BlobServiceClient.fromConnectionString(app).getContainerClient(name),
    advanceClock: (ms) => (aheadMs += ms),
    async stop() {
      await before?.stop();
      await storage.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

function virtualMachine(name: string, vhdUrls: readonly string[]): VirtualMachine {
  const { subscriptionId, resourceGroup } = BENCH_VM;
  return {
    id: `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}/providers/Microsoft.Compute/virtualMachines/${name}`,
    vmId: SUBSCRIPTION,
    name,
    resourceGroup,
    location: 'westeurope',
    size: 'Standard_D2s_v5',
    osType: 'Linux',
    disks: vhdUrls.map((vhdUrl, i) => ({
      lun: i - 1,
      name: i === 0 ? 'disk' : `disk-${i}`,
      vhdUrl,
      managedDiskId: undefined,
    })),
  };
}

/** The ports with the calls that move bytes watched. */
function watched(ports: Ports, busy: BusyMeter): Ports {
  const { snapshots, targets, vaults } = ports;
  const containers = new WeakMap<VaultContainer, VaultContainer>();
  return {
    ...ports,
    snapshots: {
      ...snapshots,
      read: (snapshot, range, into) =>
        busy.watch('read snapshot', range.end - range.start, () => snapshots.read(snapshot, range, into)),
    },
    targets: {
      ...targets,
      write: (target, offset, body) =>
        busy.watch('write target', body.length, () => targets.write(target, offset, body)),
      readBack: (url, range, into) =>
        busy.watch('read back', range.end - range.start, () => targets.readBack(url, range, into)),
    },
    vaults: {
      ...vaults,
      async open(name) {
        const container = await vaults.open(name);
        const known = containers.get(container);
        if (known !== undefined) return known;
        const made: VaultContainer = {
          ...container,
          put: (blob, body, summary) =>
            busy.watch('put to vault', body.length, () => container.put(blob, body, summary)),
          read: (blob, offset, length, into) =>
            busy.watch('read vault', length, () => container.read(blob, offset, length, into)),
        };
        containers.set(container, made);
        return made;
      },
    },
  };
}
