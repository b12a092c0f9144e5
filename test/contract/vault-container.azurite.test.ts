import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageSharedKeyCredential } from '@azure/storage-blob';
import { describe, expect, it } from 'vitest';
import { azureVaultContainers } from '../../shared/vault/azure-blobs.ts';
import { metered } from '../../shared/vault/metered.ts';
import { startTestStorage } from '../support/azurite.ts';
import { type OwnAnswer, startCrashProxy } from '../support/crash-proxy.ts';
import { all, patterned, vaultContainerContract } from './vault-container.contract.ts';

for (const mode of ['stock', 'completed'] as const) {
  vaultContainerContract(`Azurite, ${mode}`, async () => {
    const storage = await startTestStorage(mode);
    return { containers: azureVaultContainers(storage), close: () => storage.stop() };
  });
}

describe('vault container: trouble', () => {
  it('counts, outlives idle connections, and calls an outage an outage', async () => {
    const storage = await startTestStorage('stock');
    const open = azureVaultContainers(storage).open('vault-one');
    const { container, totals } = metered(await open);
    await container.put('a', patterned(1_000));
    await expect(container.put('a', patterned(1_000))).rejects.toMatchObject({ code: 'BlobAlreadyExists' });
    await Promise.all(Array.from({ length: 8 }, () => container.read('a', 10, 100)));
    await container.readWhole('a');
    // Two blocks and the list of them are writes; the source and the lengths are reads.
    await container.assemble('d', [{ bytes: patterned(20) }, { from: 'a', offset: 10, length: 50 }]);
    await container.stat('a');
    await all(container.list(''));
    await container.delete('b');
    expect(totals()).toEqual({
      put: 2,
      block: 3,
      read: 11,
      list: 1,
      delete: 1,
      stat: 1,
      bytesWritten: 1_070,
      bytesRead: 1_800,
    });

    // The server closes connections that were idle for five seconds; a client that uses one of them must not notice.
    for (const pauseMs of [4_990, 5_005]) {
      await sleep(pauseMs);
      await Promise.all(Array.from({ length: 8 }, () => container.read('a', 10, 100)));
    }

    await storage.stop();
    const outage = { code: 'StorageUnavailable' };
    const startedMs = performance.now();
    await Promise.all([
      expect(container.readWhole('a')).rejects.toMatchObject(outage),
      expect(container.read('a', 0, 1)).rejects.toMatchObject(outage),
      expect(container.stat('absent')).rejects.toMatchObject(outage),
      expect(container.put('c', patterned(1))).rejects.toMatchObject(outage),
      expect(container.assemble('e', [{ from: 'a', offset: 0, length: 1 }])).rejects.toMatchObject(outage),
      expect(container.delete('a')).rejects.toMatchObject(outage),
      expect(all(container.list(''))).rejects.toMatchObject(outage),
    ]);
    expect(performance.now() - startedMs).toBeLessThan(15_000);
  });

  it.each([
    ['cannot copy', { status: 501, headers: { 'x-ms-error-code': 'NotImplemented' } }],
    ['may not read the source', { status: 403, headers: { 'x-ms-error-code': 'CannotVerifyCopySource' } }],
    ['does not find the source', { status: 404, headers: { 'x-ms-error-code': 'CannotVerifyCopySource' } }],
  ])('puts blobs together itself where the server %s', async (_, refusal: OwnAnswer) => {
    const storage = await startTestStorage('stock');
    const server = new URL(storage.blobServiceUrl);
    let refused = 0;
    const proxy = await startCrashProxy(server.origin, (_url, headers) => {
      if (headers['x-ms-copy-source'] === undefined) return undefined;
      refused++;
      return refusal;
    });
    const blobServiceUrl = `${proxy.origin}${server.pathname}`;
    const container = await azureVaultContainers({ ...storage, blobServiceUrl }).open('vault-one');
    await container.put('a', patterned(10_000));
    const parts = [
      { bytes: patterned(3) },
      { from: 'a', offset: 5_000, length: 1_000 },
      { from: 'a', offset: 9_999, length: 1 },
    ];
    // It is asked once, not for each part.
    expect(await container.assemble('b', parts)).toEqual({
      through: 'function',
      bytesMoved: 1_001,
      blockRequests: 4,
      readRequests: 3,
    });
    expect(refused).toBe(1);
    expect(Buffer.from(await container.readWhole('b'))).toEqual(
      Buffer.concat([patterned(3), patterned(10_000).subarray(5_000, 6_000), patterned(10_000).subarray(9_999)]),
    );
    const absent = container.assemble('c', [{ from: 'absent', offset: 0, length: 1 }]);
    await expect(absent).rejects.toMatchObject({ code: 'BlobNotFound', target: 'absent' });
    await proxy.close();
    await storage.stop();
  });

  it('gives a server up that takes requests and never answers', async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const blobServiceUrl = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/devstoreaccount1`;
    const credential = new StorageSharedKeyCredential('devstoreaccount1', 'c2VjcmV0');
    const opening = azureVaultContainers({ blobServiceUrl, credential, deadlineMs: 300 }).open('vault-one');
    await expect(opening).rejects.toMatchObject({ code: 'StorageUnavailable' });
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
});
