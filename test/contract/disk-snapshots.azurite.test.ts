import { BlobServiceClient } from '@azure/storage-blob';
import { describe, expect, it } from 'vitest';
import { pageBlobSnapshots } from '../../shared/disk/page-blob-snapshots.ts';
import { startTestStorage } from '../support/azurite.ts';
import { startCrashProxy } from '../support/crash-proxy.ts';
import { pageBlobOwner } from '../support/page-blob-owner.ts';
import { diskSnapshotsContract } from './disk-snapshots.contract.ts';

for (const [mode, diff] of [
  ['stock', 'lying'],
  ['completed', 'exact'],
] as const) {
  diskSnapshotsContract(`Azurite, ${mode}`, diff, async () => {
    const { blobServiceUrl, credential, stop } = await startTestStorage(mode);
    return {
      // Small pages, so that every listing of the suite goes through many.
      snapshots: pageBlobSnapshots({ credentialFor: () => credential, rangesPerPage: 150 }),
      owner: pageBlobOwner(blobServiceUrl, credential),
      close: stop,
    };
  });
}

describe('disk snapshots: the probe', () => {
  /** Asks the probe through a front that refuses comparisons with what never existed, before a server that is `mode`. */
  async function probed(
    mode: 'stock' | 'completed',
  ): Promise<{ answers: unknown[]; left: string[]; requests: number[] }> {
    const storage = await startTestStorage(mode);
    const proxy = await startCrashProxy(new URL(storage.blobServiceUrl).origin, (url) =>
      /[?&]prevsnapshot=[^&]*7351Z/.test(url)
        ? { status: 409, headers: { 'x-ms-error-code': 'PreviousSnapshotNotFound' } }
        : undefined,
    );
    const serviceUrl = storage.blobServiceUrl.replace(/^http:[/][/][^/]+/, proxy.origin);
    const owner = pageBlobOwner(serviceUrl, storage.credential);
    let nowMs = 0;
    const snapshots = pageBlobSnapshots({ credentialFor: () => storage.credential, now: () => nowMs });
    const url = owner.newUrl();
    await owner.create(url, 1_048_576);
    const snapshot = await snapshots.take(url, {});
    const answers: unknown[] = [];
    const requests: number[] = [];
    for (const laterMs of [0, 3_599_999, 1]) {
      nowMs += laterMs;
      proxy.pauseAt(Infinity, async () => {});
      answers.push(
        ...(await Promise.all([snapshots.probeChangeTracking(snapshot), snapshots.probeChangeTracking(snapshot)])),
      );
      requests.push(proxy.seen());
    }
    const left: string[] = [];
    for await (const { name } of new BlobServiceClient(serviceUrl, storage.credential).listContainers())
      left.push(name);
    await proxy.close();
    await storage.stop();
    return { answers, left, requests };
  }

  it('tries a disk of known history where the first answer was right and the others are not', async () => {
    const { answers, left, requests } = await probed('stock');
    for (const answer of answers) {
      expect(answer).toEqual({ usable: false, reason: expect.stringMatching(/known history was wrong: data 0-8192/) });
    }
    expect(left).toHaveLength(1);
    expect(requests).toEqual([expect.any(Number), 0, requests[0]]);
  });

  it('trusts a server that is right both times, for an hour', async () => {
    const { answers, left, requests } = await probed('completed');
    for (const answer of answers) {
      expect(answer).toEqual({ usable: true, reason: expect.stringMatching(/PreviousSnapshotNotFound.*was exact/) });
    }
    expect(left).toHaveLength(1);
    expect(requests[0]).toBeGreaterThan(5);
    expect(requests).toEqual([requests[0], 0, requests[0]]);
  });
});

describe('disk snapshots: trouble', () => {
  it.each([
    ['not a URL', 'it is no URL'],
    ['ftp://host.example/c/b', 'its scheme is ftp:'],
    ['http://127.0.0.1:1/account/container', 'it names no blob'],
    ['https://account.blob.core.windows.net/container', 'it names no blob'],
    ['https://account.blob.core.windows.net/container/blob?sig=secret', 'it carries a query'],
  ])('refuses %s', async (url, message) => {
    const snapshots = pageBlobSnapshots({ credentialFor: () => undefined });
    const refused = snapshots.describe(url);
    await expect(refused).rejects.toMatchObject({
      code: 'UserErrorUnsupportedDisk',
      message: expect.stringContaining(message),
    });
    await expect(refused).rejects.not.toThrow('secret');
  });

  it('refuses disks of unknown accounts, and sends no token without TLS', async () => {
    const code = 'UserErrorUnsupportedDisk';
    const unknown = pageBlobSnapshots({ credentialFor: () => undefined });
    const url = 'https://account.blob.core.windows.net/container/blob';
    await expect(unknown.describe(url)).rejects.toMatchObject({ code, message: expect.stringContaining('not known') });
    const getToken = () => Promise.reject(new Error('no token may be asked for'));
    const token = pageBlobSnapshots({ credentialFor: () => ({ getToken }) });
    const plain = 'http://127.0.0.1:1/account/container/blob';
    await expect(token.describe(plain)).rejects.toMatchObject({ code, message: expect.stringContaining('TLS') });
  });

  it('calls an outage an outage, in bounded time', async () => {
    const { blobServiceUrl, credential, stop } = await startTestStorage('stock');
    const owner = pageBlobOwner(blobServiceUrl, credential);
    const url = owner.newUrl();
    await owner.create(url, 1_048_576);
    const snapshots = pageBlobSnapshots({ credentialFor: () => credential });
    const snapshot = await snapshots.take(url, { n: '1' });
    await stop();
    const window = { start: 0, end: 512 };
    const startedMs = performance.now();
    const outage = { code: 'StorageUnavailable' };
    await Promise.all([
      expect(snapshots.describe(url)).rejects.toMatchObject(outage),
      expect(snapshots.take(url, {})).rejects.toMatchObject(outage),
      expect(snapshots.list(url)[Symbol.asyncIterator]().next()).rejects.toMatchObject(outage),
      expect(snapshots.sizeOf(snapshot)).rejects.toMatchObject(outage),
      expect(snapshots.remove(snapshot)).rejects.toMatchObject(outage),
      expect(snapshots.allocated(snapshot, window)[Symbol.asyncIterator]().next()).rejects.toMatchObject(outage),
      expect(snapshots.changed(snapshot, snapshot, window)[Symbol.asyncIterator]().next()).rejects.toMatchObject(
        outage,
      ),
      expect(snapshots.read(snapshot, window)).rejects.toMatchObject(outage),
      expect(snapshots.probeChangeTracking(snapshot)).rejects.toMatchObject(outage),
    ]);
    expect(performance.now() - startedMs).toBeLessThan(15_000);
  });
});
