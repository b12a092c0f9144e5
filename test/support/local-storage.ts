/** Storage processes on throw-away folders, and what tests ask of page blobs, for the tests of the local storage. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlobServiceClient, type ContainerClient, type PageBlobClient } from '@azure/storage-blob';
import { connectionString, loadAccounts } from '../../local/storage/accounts.ts';
import { type StorageOptions, type StorageServer, startStorage } from '../../local/storage/server.ts';
import type { ChangedRange } from '../../local/storage/page-range-diff.ts';

export type Mode = StorageOptions['mode'];

export interface TestStorage {
  dataDir: string;
  server: StorageServer;
  connection(account?: string): string;
  container(name: string, account?: string): Promise<ContainerClient>;
  /** Stops the process if it still runs and starts another one on the same folder. */
  restart(): Promise<void>;
  /** Stops the process and deletes the folder. */
  remove(): Promise<void>;
}

export async function startTestStorage(mode: Mode): Promise<TestStorage> {
  const dataDir = await mkdtemp(join(tmpdir(), 'strata-storage-'));
  const accounts = await loadAccounts(dataDir);
  const start = () => startStorage({ dataDir, ports: { blob: 0, queue: 0, table: 0 }, accounts, mode });
  const storage: TestStorage = {
    dataDir,
    server: await start(),
    connection(name = 'stratadisks1') {
      const account = accounts.find((candidate) => candidate.account === name);
      if (account === undefined) throw new Error(`no account ${name}`);
      return connectionString(account, storage.server);
    },
    async container(name, account) {
      const container = BlobServiceClient.fromConnectionString(storage.connection(account)).getContainerClient(name);
      await container.createIfNotExists();
      return container;
    },
    async restart() {
      await storage.server.stop();
      storage.server = await start();
    },
    async remove() {
      await storage.server.stop();
      await rm(dataDir, { recursive: true });
    },
  };
  return storage;
}

/** Difference from `previous` to the client's blob or snapshot, merged from all pages of the listing. */
export async function listChanges(
  blob: PageBlobClient,
  previous: string,
  window: { offset: number; count: number },
  maxPageSize?: number,
): Promise<ChangedRange[]> {
  const changes: ChangedRange[] = [];
  const pages = blob
    .listPageRangesDiff(window.offset, window.count, previous)
    .byPage(maxPageSize === undefined ? {} : { maxPageSize });
  for await (const page of pages) {
    for (const { start, end } of page.pageRange ?? []) changes.push({ kind: 'page', start, end });
    for (const { start, end } of page.clearRange ?? []) changes.push({ kind: 'clear', start, end });
  }
  return changes.sort((a, b) => a.start - b.start);
}

/** What the blob has allocated. */
export async function listAllocated(blob: PageBlobClient): Promise<{ start: number; end: number }[]> {
  const ranges: { start: number; end: number }[] = [];
  for await (const { start, end } of blob.listPageRanges()) ranges.push({ start, end });
  return ranges;
}

/** A deterministic source of numbers: `next(n)` is an integer from 0 to n - 1. */
export function seededNumbers(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % n;
  };
}

/**
 * Makes the first stored range of a live blob into `count` ranges of one page, one at every so many bytes: as many real writes would take
 * a minute. The server must be stopped.
 */
export async function multiplyRange(
  dataDir: string,
  isMeant: (blob: { name: string; containerName: string }) => boolean,
  { count, everyBytes }: { count: number; everyBytes: number },
): Promise<void> {
  const file = join(dataDir, '__azurite_db_blob__.json');
  const database = JSON.parse(await readFile(file, 'utf8')) as {
    collections: {
      data: {
        name: string;
        containerName: string;
        snapshot?: string;
        pageRangesInOrder?: { persistency: object }[];
      }[];
    }[];
  };
  const blob = database.collections
    .flatMap(({ data }) => data)
    .find((candidate) => candidate.snapshot === '' && isMeant(candidate));
  const persistency = blob?.pageRangesInOrder?.[0]?.persistency;
  if (blob === undefined || persistency === undefined) throw new Error('the blob has no stored range');
  blob.pageRangesInOrder = Array.from({ length: count }, (_, index) => ({
    start: index * everyBytes,
    end: index * everyBytes + 511,
    persistency,
  }));
  await writeFile(file, JSON.stringify(database));
}
