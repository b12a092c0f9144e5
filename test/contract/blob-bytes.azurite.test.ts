import { randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { BlobServiceClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBlobInto } from '../../shared/azure/blob-bytes.ts';
import { storageFailure } from '../../shared/azure/storage-failures.ts';
import { startTestStorage } from '../support/azurite.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';

const KIB = 1024;

describe('bytes of a blob, read into memory', () => {
  let storage: Awaited<ReturnType<typeof startTestStorage>>;
  beforeAll(async () => {
    storage = await startTestStorage('completed');
  });
  afterAll(() => storage?.stop());

  async function blobs(port?: number) {
    const url = port === undefined ? storage.blobServiceUrl : storage.blobServiceUrl.replace(/:\d+/, `:${port}`);
    const service = new BlobServiceClient(url, storage.credential);
    const container = service.getContainerClient('bytes');
    await container.createIfNotExists();
    return container;
  }
  const signal = (): AbortSignal => AbortSignal.timeout(30_000);

  /** What went through `node:http`, which is the SDK's way. */
  async function bySdk(work: () => Promise<unknown>): Promise<number> {
    let count = 0;
    const listener = (): void => void count++;
    subscribe('http.client.request.start', listener);
    try {
      await work();
      return count;
    } finally {
      unsubscribe('http.client.request.start', listener);
    }
  }

  it.each(['plain', 'deep/er/name.pack', "a b+c%25 ü&=#~!$,;@()'.vhd"])(
    'are those of %s, of its snapshots too, and the SDK is not asked for them',
    async (name) => {
      const blob = (await blobs()).getBlockBlobClient(name);
      const [before, after] = [randomBytes(300 * KIB), randomBytes(300 * KIB)];
      await blob.upload(before, before.length);
      const { snapshot } = await blob.createSnapshot();
      await blob.upload(after, after.length);
      const into = new Uint8Array(200 * KIB);
      const asked = await bySdk(async () => {
        expect(await readBlobInto(blob, 5, into, signal())).toBe(into.length);
        expect(Buffer.from(into).equals(after.subarray(5, 5 + into.length))).toBe(true);
        expect(await readBlobInto(blob.withSnapshot(snapshot!), 7, into, signal())).toBe(into.length);
        expect(Buffer.from(into).equals(before.subarray(7, 7 + into.length))).toBe(true);
      });
      expect(asked).toBe(0);
    },
  );

  it('end where the blob ends: then the SDK says how many there were, or that there is none', async () => {
    const blob = (await blobs()).getBlockBlobClient('short');
    await blob.upload(randomBytes(100), 100);
    expect(await readBlobInto(blob, 90, new Uint8Array(20), signal())).toBe(10);
    const beyond = await readBlobInto(blob, 200, new Uint8Array(20), signal()).catch(storageFailure);
    expect(beyond).toMatchObject({ status: 416 });
    const missing = (await blobs()).getBlobClient('missing');
    const absent = await readBlobInto(missing, 0, new Uint8Array(20), signal()).catch(storageFailure);
    expect(absent).toMatchObject({ status: 404 });
  });

  it('are asked for again by the SDK when a connection breaks in the body', async () => {
    let cuts = 1;
    const proxy = await startFaultProxy(Number(new URL(storage.blobServiceUrl).port), ({ method }) =>
      method === 'GET' && cuts-- > 0 ? { kind: 'cut-body' } : undefined,
    );
    try {
      const blob = (await blobs(proxy.port)).getBlockBlobClient('cut');
      const bytes = randomBytes(64 * KIB);
      await blob.upload(bytes, bytes.length);
      const into = new Uint8Array(bytes.length);
      await readBlobInto(blob, 0, into, signal());
      expect(Buffer.from(into).equals(bytes)).toBe(true);
      expect(cuts).toBeLessThanOrEqual(0);
    } finally {
      await proxy.close();
    }
  });
});
