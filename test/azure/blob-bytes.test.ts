import { once } from 'node:events';
import type { TokenCredential } from '@azure/identity';
import { BlobClient } from '@azure/storage-blob';
import { expect, it } from 'vitest';
import { readBlobInto } from '../../shared/azure/blob-bytes.ts';

it('a read does not wait for its token beyond its deadline', { timeout: 10_000 }, async () => {
  const silent: TokenCredential = {
    async getToken(_, { abortSignal } = {}) {
      // Every credential ends like this when it is told to; one that is not told waits.
      const signal = abortSignal as AbortSignal;
      if (!signal?.aborted) await once(signal ?? new AbortController().signal, 'abort');
      throw new Error('no token was fetched in time');
    },
  };
  const client = new BlobClient('https://account.invalid/c/b', silent, { retryOptions: { maxTries: 1 } });
  const read = readBlobInto(client, 0, new Uint8Array(512), AbortSignal.timeout(50));
  await expect(read).rejects.toThrow();
});
