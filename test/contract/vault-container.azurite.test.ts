import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageSharedKeyCredential } from '@azure/storage-blob';
import { describe, expect, it } from 'vitest';
import { azureVaultContainers } from '../../shared/vault/azure-blobs.ts';
import { metered } from '../../shared/vault/metered.ts';
import { startTestStorage } from '../support/azurite.ts';
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
    await container.stat('a');
    await all(container.list(''));
    await container.delete('b');
    expect(totals()).toEqual({ put: 2, read: 9, list: 1, delete: 1, stat: 1, bytesWritten: 1_000, bytesRead: 1_800 });

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
      expect(container.delete('a')).rejects.toMatchObject(outage),
      expect(all(container.list(''))).rejects.toMatchObject(outage),
    ]);
    expect(performance.now() - startedMs).toBeLessThan(15_000);
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
