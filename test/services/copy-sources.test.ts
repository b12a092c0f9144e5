import { BlobServiceClient, StorageSharedKeyCredential, newPipeline } from '@azure/storage-blob';
import { describe, expect, it } from 'vitest';
import { copySources } from '../../shared/vault/copy-sources.ts';

/*
 * What Azure itself would have to answer is answered here, below the SDK: Azurite gives no user delegation keys without TLS. The
 * storage's clock is five years ahead of this machine's.
 */

const STORAGE_NOW = Date.UTC(2031, 5, 1, 12);
const iso = (ms: number): string => new Date(ms).toISOString().replace('.000', '');

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly body: string;
}

function storage(credential: Parameters<typeof newPipeline>[0], status = 200) {
  const asked: Asked[] = [];
  const pipeline = newPipeline(credential, {
    retryOptions: { maxTries: 1 },
    httpClient: {
      async sendRequest(request) {
        const body = typeof request.body === 'string' ? request.body : '';
        asked.push({ method: request.method, url: request.url, body });
        const headers = request.headers.clone();
        for (const name of headers.headerNames()) headers.remove(name);
        headers.set('date', new Date(STORAGE_NOW).toUTCString());
        const keys = request.url.includes('comp=userdelegationkey');
        const [, start = '', end = ''] = /<Start>(.*?)<.*<Expiry>(.*?)</.exec(body) ?? [];
        const key =
          '<?xml version="1.0" encoding="utf-8"?><UserDelegationKey><SignedOid>oid</SignedOid><SignedTid>tid</SignedTid>' +
          `<SignedStart>${start}</SignedStart><SignedExpiry>${end}</SignedExpiry><SignedService>b</SignedService>` +
          '<SignedVersion>2025-01-05</SignedVersion><Value>c2VjcmV0</Value></UserDelegationKey>';
        if (keys) headers.set('content-type', 'application/xml');
        return { request, headers, status: keys ? status : 200, bodyAsText: keys && status === 200 ? key : '' };
      },
    },
  });
  const service = new BlobServiceClient('https://vaults.blob.core.windows.net', pipeline);
  const container = service.getContainerClient('vault-one');
  return { asked, sources: copySources(service, container, () => AbortSignal.timeout(5_000)) };
}

const token = { getToken: async () => ({ token: 'x', expiresOnTimestamp: Date.now() + 3_600_000 }) };

describe('the sources of copies', () => {
  it("are signed with a key of the app's identity, by the storage's time, for reading one blob", async () => {
    const { asked, sources } = storage(token);
    const url = new URL(await sources.url('v1/items/größe/a b.pack'));
    expect(url.origin).toBe('https://vaults.blob.core.windows.net');
    expect(decodeURIComponent(url.pathname)).toBe('/vault-one/v1/items/größe/a b.pack');
    const query = Object.fromEntries(url.searchParams);
    expect(query).toMatchObject({ sr: 'b', sp: 'r', skoid: 'oid', sktid: 'tid' });
    expect(query['sig']).toMatch(/^[A-Za-z0-9+/]{43}=$/);
    expect(Math.abs(Date.parse(query['se']!) - STORAGE_NOW - 3_600_000)).toBeLessThan(60_000);
    // The key is valid a little before, since the storage's machines do not agree on the time, and for some hours.
    expect(asked[1]!.body).toContain(`<Start>${iso(STORAGE_NOW - 300_000)}</Start>`);
    expect(asked[1]!.body).toContain(`<Expiry>${iso(STORAGE_NOW + 6 * 3_600_000)}</Expiry>`);
  });

  it('cost two requests in hours, however many there are', async () => {
    const { asked, sources } = storage(token);
    const urls = new Set<string>();
    await Promise.all(Array.from({ length: 50 }, async (_, n) => urls.add(await sources.url(`pack-${n}`))));
    expect(urls.size).toBe(50);
    expect(asked.map(({ method }) => method)).toEqual(['GET', 'POST']);
  });

  it('fail where the identity may not have such a key, and are asked for again the next time', async () => {
    const { asked, sources } = storage(token, 403);
    await expect(sources.url('pack')).rejects.toMatchObject({ statusCode: 403 });
    await expect(sources.url('pack')).rejects.toMatchObject({ statusCode: 403 });
    expect(asked).toHaveLength(4);
  });

  it("are signed with the account's key where that opens the container", async () => {
    const { asked, sources } = storage(new StorageSharedKeyCredential('vaults', 'c2VjcmV0'));
    const query = Object.fromEntries(new URL(await sources.url('pack')).searchParams);
    expect(query).toMatchObject({ sr: 'b', sp: 'r' });
    expect(Math.abs(Date.parse(query['se']!) - STORAGE_NOW - 3_600_000)).toBeLessThan(60_000);
    expect(query).not.toHaveProperty('skoid');
    expect(asked).toHaveLength(1);
  });
});
