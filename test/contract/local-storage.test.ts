import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TableClient } from '@azure/data-tables';
import { BlobServiceClient } from '@azure/storage-blob';
import { QueueServiceClient } from '@azure/storage-queue';
import { describe, expect, it, onTestFinished } from 'vitest';
import { connectionString, loadAccounts } from '../../local/storage/accounts.ts';
import { lockFolder } from '../../local/storage/folder-lock.ts';
import { startStorage } from '../../local/storage/server.ts';
import { type Mode, type TestStorage, listAllocated, listChanges, startTestStorage } from '../support/local-storage.ts';

async function testStorage(mode: Mode): Promise<TestStorage> {
  const storage = await startTestStorage(mode);
  onTestFinished(() => storage.remove());
  return storage;
}

/** Writes one thing of each kind and resolves the snapshot's time. */
async function fill(storage: TestStorage): Promise<string> {
  const container = await storage.container('kept');
  const disk = container.getPageBlobClient('disk');
  await disk.create(8192);
  await disk.uploadPages(Buffer.alloc(2048, 1), 0, 2048);
  const { snapshot } = await disk.createSnapshot({ metadata: { job: '7' } });
  await disk.uploadPages(Buffer.alloc(512, 2), 512, 512);
  await disk.clearPages(1024, 512);
  await container.getBlockBlobClient('blocks').upload('hello', 5, { metadata: { a: 'b' } });
  await container.getBlockBlobClient('staged').stageBlock(Buffer.from('1').toString('base64'), 'staged', 6);
  const queue = QueueServiceClient.fromConnectionString(storage.connection()).getQueueClient('kept');
  await queue.create();
  await queue.sendMessage('message', { messageTimeToLive: -1 });
  const table = TableClient.fromConnectionString(storage.connection(), 'kept', { allowInsecureConnection: true });
  await table.createTable();
  await table.createEntity({ partitionKey: 'p', rowKey: 'r', value: 1 });
  await table.updateEntity({ partitionKey: 'p', rowKey: 'r', value: 2 });
  return snapshot as string;
}

/** Fails unless everything that `fill` wrote is still there. */
async function expectFilled(storage: TestStorage, snapshot: string): Promise<void> {
  const container = await storage.container('kept');
  const disk = container.getPageBlobClient('disk');
  const before = disk.withSnapshot(snapshot);
  expect((await before.downloadToBuffer()).equals(Buffer.concat([Buffer.alloc(2048, 1), Buffer.alloc(6144)]))).toBe(
    true,
  );
  expect((await before.getProperties()).metadata).toEqual({ job: '7' });
  expect(await listAllocated(disk)).toEqual([
    { start: 0, end: 1023 },
    { start: 1536, end: 2047 },
  ]);
  expect(await listChanges(disk, snapshot, { offset: 0, count: 8192 })).toEqual([
    { kind: 'page', start: 512, end: 1023 },
    { kind: 'clear', start: 1024, end: 1535 },
  ]);
  expect(String(await container.getBlockBlobClient('blocks').downloadToBuffer())).toBe('hello');
  const staged = container.getBlockBlobClient('staged');
  await staged.commitBlockList([Buffer.from('1').toString('base64')]);
  expect(String(await staged.downloadToBuffer())).toBe('staged');
  const queue = QueueServiceClient.fromConnectionString(storage.connection()).getQueueClient('kept');
  expect((await queue.peekMessages()).peekedMessageItems.map(({ messageText }) => messageText)).toEqual(['message']);
  const table = TableClient.fromConnectionString(storage.connection(), 'kept', { allowInsecureConnection: true });
  expect((await table.getEntity('p', 'r'))['value']).toBe(2);
}

async function untilGone(pid: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await sleep(25);
  }
  throw new Error(`process ${pid} still runs`);
}

describe('the storage process', () => {
  it('keeps everything over a restart that follows the last write at once', async () => {
    const storage = await testStorage('completed');
    const snapshot = await fill(storage);
    await storage.restart();
    await expectFilled(storage, snapshot);
    await storage.restart();
    await expectFilled(storage, snapshot);
  });

  it('in stock mode keeps what was written too, and counts as one who can be stopped twice', async () => {
    const storage = await testStorage('stock');
    const container = await storage.container('kept');
    await container.getBlockBlobClient('blocks').upload('hello', 5);
    await Promise.all([storage.server.stop(), storage.server.stop()]);
    await storage.restart();
    const again = await storage.container('kept');
    expect(String(await again.getBlockBlobClient('blocks').downloadToBuffer())).toBe('hello');
  });

  it('loses nothing to a kill half a second after the last write', async () => {
    const storage = await testStorage('completed');
    const snapshot = await fill(storage);
    await sleep(600);
    process.kill(storage.server.pid, 'SIGKILL');
    await storage.server.exited;
    await storage.restart();
    await expectFilled(storage, snapshot);
  });

  it('can read blobs whose extent files were not listed when it was killed', async () => {
    const storage = await testStorage('completed');
    const snapshot = await fill(storage);
    await storage.server.stop();
    await rm(join(storage.dataDir, '__azurite_db_blob_extent__.json'));
    await rm(join(storage.dataDir, '__azurite_db_queue_extent__.json'));
    await storage.restart();
    await expectFilled(storage, snapshot);
  });

  it('keeps leases and their time over a restart', async () => {
    const storage = await testStorage('completed');
    const container = await storage.container('leased');
    for (const name of ['held', 'breaking']) await container.getPageBlobClient(name).create(512);
    const lease = container.getPageBlobClient('held').getBlobLeaseClient();
    await lease.acquireLease(60);
    const breaking = container.getPageBlobClient('breaking').getBlobLeaseClient();
    await breaking.acquireLease(60);
    await breaking.breakLease(3);
    const brokenMs = Date.now() + 3000;
    await storage.restart();
    const reopened = await storage.container('leased');
    for (const name of ['held', 'breaking']) {
      await expect(reopened.getPageBlobClient(name).resize(1024)).rejects.toThrow('no lease ID was specified');
    }
    await reopened.getPageBlobClient('held').getBlobLeaseClient(lease.leaseId).renewLease();
    await sleep(Math.max(0, brokenMs + 100 - Date.now()));
    await reopened.getPageBlobClient('breaking').resize(1024);
  });

  it('keeps messages invisible over a restart, and lets them expire', async () => {
    const storage = await testStorage('completed');
    const queue = QueueServiceClient.fromConnectionString(storage.connection()).getQueueClient('waiting');
    await queue.create();
    await queue.sendMessage('taken');
    await queue.receiveMessages({ visibilityTimeout: 60 });
    await queue.sendMessage('later', { visibilityTimeout: 60 });
    await queue.sendMessage('brief', { messageTimeToLive: 1 });
    await sleep(1100);
    await storage.restart();
    const reopened = QueueServiceClient.fromConnectionString(storage.connection()).getQueueClient('waiting');
    expect((await reopened.receiveMessages()).receivedMessageItems).toEqual([]);
    expect((await reopened.getProperties()).approximateMessagesCount).toBe(2);
  });

  it('ends with its parent, however that one ends, and loses nothing', async () => {
    const storage = await testStorage('completed');
    await storage.server.stop();
    const program = `
      import { startStorage } from ${JSON.stringify(new URL('../../local/storage/server.ts', import.meta.url).href)};
      import { loadAccounts } from ${JSON.stringify(new URL('../../local/storage/accounts.ts', import.meta.url).href)};
      const dataDir = ${JSON.stringify(storage.dataDir)};
      const ports = { blob: 0, queue: 0, table: 0 };
      const server = await startStorage({ dataDir, ports, accounts: await loadAccounts(dataDir), mode: 'completed' });
      console.log(JSON.stringify(server));
    `;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    storage.server = { ...storage.server, ...(JSON.parse(String(line)) as object) };
    const snapshot = await fill(storage);
    parent.kill('SIGKILL');
    // A start right away waits until the orphan has written its metadata and gone.
    storage.server = { ...storage.server, stop: () => Promise.resolve() };
    const orphan = storage.server.pid;
    await storage.restart();
    await untilGone(orphan);
    await expectFilled(storage, snapshot);
  });

  it('tells when it ended by itself, and ends cleanly by SIGTERM', async () => {
    const storage = await testStorage('completed');
    const snapshot = await fill(storage);
    process.kill(storage.server.pid, 'SIGINT'); // left to the parent
    process.kill(storage.server.pid, 'SIGTERM');
    await storage.server.exited;
    await storage.restart();
    await expectFilled(storage, snapshot);
  });

  it('names the port that is taken, and gives the folder back', async () => {
    const storage = await testStorage('completed');
    const dataDir = await mkdtemp(join(tmpdir(), 'strata-storage-'));
    onTestFinished(() => rm(dataDir, { recursive: true }));
    const accounts = await loadAccounts(dataDir);
    const ports = { blob: 0, queue: storage.server.blobPort, table: 0 };
    await expect(startStorage({ dataDir, ports, accounts, mode: 'completed' })).rejects.toThrow(
      `port ${storage.server.blobPort} on 127.0.0.1, meant for the queue service, is taken`,
    );
    await expect(access(join(dataDir, 'storage.lock'))).rejects.toThrow('ENOENT');
  });

  it('refuses a folder that another storage process uses, and takes over a dead one’s', async () => {
    const storage = await testStorage('completed');
    await expect(lockFolder(storage.dataDir, 100)).rejects.toThrow(
      `in use by the storage process ${storage.server.pid}`,
    );
    await storage.server.stop();
    await writeFile(join(storage.dataDir, 'storage.lock'), '999999999\n');
    const unlock = await lockFolder(storage.dataDir);
    await unlock();
  });

  it('refuses accounts that it could not serve', async () => {
    const start = (account: string, key: string) =>
      startStorage({
        dataDir: tmpdir(),
        ports: { blob: 0, queue: 0, table: 0 },
        accounts: [{ account, kind: 'standard', key }],
        mode: 'completed',
      });
    await expect(start('No', 'AAAA')).rejects.toThrow("is not a storage account's name");
    await expect(start('fine', 'not base64')).rejects.toThrow('the key of storage account fine is not base64');
  });
});

describe('the accounts', () => {
  it('keep their keys, apart from the development account’s, which is well known', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'strata-accounts-'));
    onTestFinished(() => rm(dataDir, { recursive: true }));
    const [first, second] = await Promise.all([loadAccounts(dataDir), loadAccounts(dataDir)]);
    expect(second).toEqual(first);
    expect(await loadAccounts(dataDir)).toEqual(first);
    expect(first.map(({ account, kind }) => `${account} ${kind}`)).toEqual([
      'devstoreaccount1 standard',
      'stratadisks1 standard',
      'stratadisks2 standard',
      'stratapremium1 premium',
    ]);
    expect(new Set(first.map(({ key }) => key)).size).toBe(4);
    const file = join(dataDir, 'storage-accounts.json');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).not.toContain('devstoreaccount1');
    await writeFile(file, '{"stratadisks1": 5}');
    await expect(loadAccounts(dataDir)).rejects.toThrow('does not hold account keys');
  });

  it('are apart, and tell premium from standard', async () => {
    const storage = await testStorage('completed');
    await storage.container('mine', 'stratadisks1');
    const skus: (string | undefined)[] = [];
    for (const account of await loadAccounts(storage.dataDir)) {
      const service = BlobServiceClient.fromConnectionString(connectionString(account, storage.server));
      expect(await service.getContainerClient('mine').exists()).toBe(account.account === 'stratadisks1');
      skus.push((await service.getAccountInfo()).skuName);
    }
    expect(skus.map((sku) => sku?.startsWith('Premium_'))).toEqual([false, false, false, true]);
  });
});

describe('reads of ranges', () => {
  it.each(['completed', 'stock'] as const)('answer bytes, and an MD5 where one is asked for (%s)', async (mode) => {
    const storage = await testStorage(mode);
    const container = await storage.container('reads');
    const bytes = Buffer.from(Array.from({ length: 4096 }, (_, i) => i % 251));
    const disk = container.getPageBlobClient('disk');
    await disk.create(1024 * 1024);
    await disk.uploadPages(bytes, 8192, bytes.length);
    const put = container.getBlockBlobClient('put');
    await put.upload(bytes, bytes.length);
    const listed = container.getBlockBlobClient('listed');
    const ids = ['a', 'b'].map((id) => Buffer.from(id).toString('base64'));
    await listed.stageBlock(ids[0]!, bytes.subarray(0, 1000), 1000);
    await listed.stageBlock(ids[1]!, bytes.subarray(1000), 3096);
    await listed.commitBlockList(ids);

    for (const [blob, offset] of [
      [disk, 8192],
      [put, 0],
      [listed, 0],
    ] as const) {
      const wanted = bytes.subarray(512, 2048);
      const unasked = await blob.download(offset + 512, wanted.length);
      expect(unasked.contentMD5).toBeUndefined();
      expect(unasked.contentLength).toBe(wanted.length);
      expect(wanted.equals(await bodyOf(unasked))).toBe(true);
      const asked = await blob.download(offset + 512, wanted.length, { rangeGetContentMD5: true });
      expect(asked.contentMD5).toEqual(createHash('md5').update(wanted).digest());
      expect(wanted.equals(await bodyOf(asked))).toBe(true);
    }
    const hole = await disk.download(7680, 1024);
    expect(Buffer.concat([Buffer.alloc(512), bytes.subarray(0, 512)]).equals(await bodyOf(hole))).toBe(true);
    await expect(put.download(5000, 10)).rejects.toMatchObject({ statusCode: 416 });
    expect((await put.download()).contentMD5).toEqual(createHash('md5').update(bytes).digest());
  });
});

async function bodyOf({ readableStreamBody }: { readableStreamBody?: NodeJS.ReadableStream }): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of readableStreamBody!) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}
