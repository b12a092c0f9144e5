import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { QueueServiceClient, type QueueClient } from '@azure/storage-queue';
import type { HostOptions } from '../../local/host/host.ts';
import { startHostChild, type HostChild } from '../../local/platform/host-child.ts';
import { connectionString, loadAccounts } from '../../local/storage/accounts.ts';
import { startStorage } from '../../local/storage/server.ts';

/** A small function app with one trigger of each kind; it writes what it sees to a file. */
export const HOST_APP = fileURLToPath(new URL('host-app', import.meta.url));
export const HOST_KEYS = { functionKey: 'the-function-key', masterKey: 'the-master-key' };

/** What host-app recorded, a line for each event. */
export interface HostAppEvent {
  readonly fn: string;
  readonly entry?: Record<string, unknown>;
  readonly dequeueCount?: number;
  readonly hasIds?: boolean;
  readonly insertionTime?: string;
  readonly pid?: number;
  readonly at?: number;
  readonly isPastDue?: boolean;
  readonly status?: { readonly last: string; readonly next: string; readonly lastUpdated: string };
}

/** A storage server and folder in which Functions hosts run host-app. */
export interface HostBench {
  readonly dir: string;
  readonly connection: string;
  readonly clockFile: string;
  start(options?: Partial<HostOptions>, env?: Record<string, string>): Promise<HostChild>;
  queue(name: string): QueueClient;
  events(): HostAppEvent[];
  /** Ends every host that still runs, then the storage, and removes the folder. */
  dispose(): Promise<void>;
}

export async function openHostBench(): Promise<HostBench> {
  const dir = await mkdtemp(join(tmpdir(), 'strata-host-'));
  const accounts = (await loadAccounts(dir)).slice(0, 1);
  await mkdir(join(dir, 'storage'));
  const storage = await startStorage({
    dataDir: join(dir, 'storage'),
    ports: { blob: 0, queue: 0, table: 0 },
    accounts,
    mode: 'completed',
  });
  const [account] = accounts;
  if (account === undefined) throw new Error('the platform has no storage accounts');
  const connection = connectionString(account, storage);
  const queues = QueueServiceClient.fromConnectionString(connection);
  const record = join(dir, 'events.jsonl');
  const clockFile = join(dir, 'clock.json');
  const hosts: HostChild[] = [];
  return {
    dir,
    connection,
    clockFile,
    async start(options = {}, env = {}) {
      const host = await startHostChild(
        {
          appDir: HOST_APP,
          role: 'main',
          clockFile,
          timerStatusFile: join(dir, 'timers.json'),
          keys: HOST_KEYS,
          ...options,
        },
        {
          ...process.env,
          AzureWebJobsStorage: connection,
          WORK_QUEUE: 'work',
          RELAY_QUEUE: 'relay',
          HOST_APP_RECORD: record,
          STRATA_CLOCK_FILE: clockFile,
          STRATA_LOG: 'critical',
          ...env,
        },
      );
      hosts.push(host);
      return host;
    },
    queue: (name) => queues.getQueueClient(name),
    events: () => readEvents(record),
    async dispose() {
      await Promise.all(hosts.map((host) => host.stop()));
      await storage.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export function readEvents(path: string): HostAppEvent[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as HostAppEvent);
}

export const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64');
