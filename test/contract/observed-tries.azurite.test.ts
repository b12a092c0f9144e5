import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isBackupError } from '../../shared/domain/errors.ts';
import { pageBlobSnapshots } from '../../shared/disk/page-blob-snapshots.ts';
import { startTestStorage } from '../support/azurite.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { pageBlobOwner } from '../support/page-blob-owner.ts';

/* Whoever paces reads must see each refusal, those too that the SDK tries again by itself. */
describe('tries of a request to a page blob', () => {
  let storage: Awaited<ReturnType<typeof startTestStorage>>;
  let proxy: FaultProxy;
  let refusals: { status: 429 | 503; retryAfterSeconds?: number }[] = [];
  const seen: string[] = [];
  let held: Promise<void> = Promise.resolve();
  beforeAll(async () => {
    storage = await startTestStorage('completed');
    const port = Number(new URL(storage.blobServiceUrl).port);
    proxy = await startFaultProxy(port, ({ method }) => {
      const refusal = method === 'GET' ? refusals.shift() : undefined;
      return refusal && { kind: 'throttle', ...refusal };
    });
  });
  afterAll(async () => {
    await proxy?.close();
    await storage?.stop();
  });

  async function disk() {
    const serviceUrl = storage.blobServiceUrl.replace(/:\d+/, `:${proxy.port}`);
    const owner = pageBlobOwner(serviceUrl, storage.credential);
    const url = owner.newUrl();
    await owner.create(url, 1_048_576);
    await owner.write(url, 512, new Uint8Array(512).fill(7));
    const snapshots = pageBlobSnapshots({
      credentialFor: () => storage.credential,
      retryOptions: { maxTries: 5, retryDelayInMs: 1, maxRetryDelayInMs: 2 },
      tries: {
        async ready() {
          await held;
          seen.push('ready');
        },
        answered: (from, status, retryAfterMs) => {
          expect(from.startsWith(url)).toBe(true);
          seen.push(`${status}${retryAfterMs === undefined ? '' : ` ${retryAfterMs}`}`);
        },
      },
    });
    const snapshot = await snapshots.take(url, {});
    seen.length = 0;
    return { snapshots, snapshot, url };
  }

  it('are all told, each after it was allowed, with what the storage says of the next', async () => {
    const { snapshots, snapshot } = await disk();
    refusals = [{ status: 503 }, { status: 503, retryAfterSeconds: 3 }];
    const before = proxy.seen.requests;
    expect(await snapshots.read(snapshot, { start: 0, end: 1024 })).toEqual(
      new Uint8Array([...new Uint8Array(512), ...new Uint8Array(512).fill(7)]),
    );
    expect(seen).toEqual(['ready', '503', 'ready', '503 3000', 'ready', '206']);
    expect(proxy.seen.requests - before).toBe(3);
  });

  it('wait for the one who paces them', async () => {
    const { snapshots, snapshot } = await disk();
    let letGo = (): void => undefined;
    held = new Promise((then) => (letGo = then));
    const before = proxy.seen.requests;
    const listing = Array.fromAsync(snapshots.allocated(snapshot, { start: 0, end: 1_048_576 }));
    await new Promise((then) => setImmediate(then));
    expect(proxy.seen.requests).toBe(before);
    letGo();
    expect(await listing).toEqual([{ start: 512, end: 1024 }]);
    expect(seen).toEqual(['ready', '200']);
  });

  it('are told of a 429 too, which is asked again once, when that is allowed', async () => {
    const { snapshots, snapshot } = await disk();
    refusals = [{ status: 429, retryAfterSeconds: 1 }, { status: 429 }];
    const failed = await snapshots.read(snapshot, { start: 0, end: 512 }).catch((error: unknown) => error);
    expect(isBackupError(failed, 'StorageUnavailable')).toBe(true);
    expect(seen).toEqual(['ready', '429 1000', 'ready', '429']);
  });

  it('that take a snapshot wait for nobody', async () => {
    const { snapshots, url } = await disk();
    held = new Promise(() => undefined);
    await snapshots.take(url, {});
    expect(seen).toEqual(['201']);
    held = Promise.resolve();
  });
});
