import type { ContainerClient, PageBlobClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStorage, listChanges, startTestStorage } from '../support/local-storage.ts';

const BYTES = 8192;

/** The first byte of each page, as text. */
async function look(blob: PageBlobClient): Promise<string> {
  const bytes = await blob.downloadToBuffer();
  return Array.from({ length: BYTES / 512 }, (_, page) => String(bytes[page * 512])).join('');
}

async function write(blob: PageBlobClient, page: number, count: number, fill: number): Promise<void> {
  await blob.uploadPages(Buffer.alloc(count * 512, fill), page * 512, count * 512);
}

async function source(container: ContainerClient, name: string): Promise<PageBlobClient> {
  const blob = container.getPageBlobClient(name);
  await blob.create(BYTES);
  await write(blob, 0, 8, 1);
  return blob;
}

const BEFORE = '1111111100000000';

describe('copies of page blobs', () => {
  let storage: TestStorage;
  let container: ContainerClient;
  beforeAll(async () => {
    storage = await startTestStorage('completed');
    container = await storage.container('disks');
  });
  afterAll(() => storage.remove());

  const copies = {
    asynchronous: async (from: string, to: PageBlobClient) => {
      await (await to.beginCopyFromURL(from)).pollUntilDone();
    },
    synchronous: async (from: string, to: PageBlobClient) => {
      await to.syncCopyFromURL(from);
    },
  };

  it.each(['asynchronous', 'synchronous'] as const)('an %s copy and its source go their own ways', async (way) => {
    const blob = await source(container, `${way}-source`);
    const copy = container.getPageBlobClient(`${way}-copy`);
    await copies[way](blob.url, copy);
    await write(copy, 2, 1, 2);
    await copy.clearPages(4 * 512, 512);
    expect(await look(blob)).toBe(BEFORE);
    await write(blob, 10, 1, 3);
    await blob.resize(4096);
    expect(await look(copy)).toBe('1121011100000000');
  });

  it.each(['asynchronous', 'synchronous'] as const)('an %s copy of a snapshot leaves it as it is', async (way) => {
    const blob = await source(container, `${way}-snapshot-source`);
    const snapshot = blob.withSnapshot((await blob.createSnapshot()).snapshot as string);
    const copy = container.getPageBlobClient(`${way}-snapshot-copy`);
    await copies[way](snapshot.url, copy);
    await write(copy, 2, 1, 2);
    expect([await look(blob), await look(snapshot)]).toEqual([BEFORE, BEFORE]);
  });

  it('a snapshot put back over its base survives what is written afterwards, and can be put back again', async () => {
    const blob = await source(container, 'in-place');
    const snapshot = blob.withSnapshot((await blob.createSnapshot()).snapshot as string);
    for (const fill of [2, 3]) {
      await write(blob, 0, 16, fill);
      await (await blob.beginCopyFromURL(snapshot.url)).pollUntilDone();
      expect(await look(blob)).toBe(BEFORE);
      await write(blob, 3, 1, fill);
      await blob.clearPages(0, 512);
      expect(await look(snapshot)).toBe(BEFORE);
    }
  });

  it('the copy of an append blob is appended to alone', async () => {
    const log = container.getAppendBlobClient('log');
    await log.create();
    await log.appendBlock('a', 1);
    const copy = container.getAppendBlobClient('log-copy');
    await (await copy.beginCopyFromURL(log.url)).pollUntilDone();
    await copy.appendBlock('b', 1);
    await log.appendBlock('c', 1);
    const texts = [await log.downloadToBuffer(), await copy.downloadToBuffer()].map(String);
    expect(texts).toEqual(['ac', 'ab']);
  });
});

describe('stock Azurite', () => {
  let storage: TestStorage;
  let container: ContainerClient;
  beforeAll(async () => {
    storage = await startTestStorage('stock');
    container = await storage.container('disks');
  });
  afterAll(() => storage.remove());

  it('still answers a diff with everything allocated, even against a snapshot that never was', async () => {
    const blob = await source(container, 'diff');
    const snapshot = (await blob.createSnapshot()).snapshot as string;
    await blob.clearPages(0, 512);
    const everything = [{ kind: 'page', start: 512, end: 4095 }];
    const window = { offset: 0, count: BYTES };
    expect(await listChanges(blob, snapshot, window)).toEqual(everything);
    expect(await listChanges(blob, '2001-01-01T00:00:00.0000000Z', window)).toEqual(everything);
  });

  it('still lets the copy of a page blob share its pages with the source', async () => {
    const blob = await source(container, 'copied');
    const copy = container.getPageBlobClient('copy');
    await (await copy.beginCopyFromURL(blob.url)).pollUntilDone();
    await write(copy, 2, 1, 2);
    expect(await look(blob)).toBe('1121111100000000');
  });
});
