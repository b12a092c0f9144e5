import type { Readable } from 'node:stream';
import type { TokenCredential } from '@azure/identity';
import { type BlobClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { BackupError } from '../domain/errors.ts';
import { requestBody } from './body-sockets.ts';
import type { TryWatch } from './observed-tries.ts';

/** A version that all of Azure's clouds, Azurite and the headers below know. */
const API_VERSION = '2021-12-02';
const STORAGE_SCOPE = 'https://storage.azure.com/.default';
/** A token is fetched anew this long before it ends. */
const TOKEN_MARGIN_MS = 5 * 60_000;
/** The first try has this long, so that there is time left for the SDK's. */
const FIRST_TRY_MS = 30_000;
/** Where the SDK looks for a proxy, which the sockets of `requestBody` do not know. */
const isProxied = ['HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY'].some(
  (name) => process.env[name] !== undefined || process.env[name.toLowerCase()] !== undefined,
);

/**
 * Fills `into` with the blob's bytes from `offset`, and answers how many there were: fewer than asked for when the blob ends before,
 * and then nothing is filled.
 *
 * The first try goes over a socket of our own, straight into `into`: that takes a fifth of the SDK's processor time
 * (docs/performance.md). Whatever it answers but these very bytes, the SDK asks again, with its retries, and tells what is wrong.
 * @param tries may hold the first try back, and is told of its end; the SDK's own tries tell the pipeline's watch
 * @throws RestError as the SDK does; BackupError StorageUnavailable when a body breaks off
 */
export async function readBlobInto(
  client: BlobClient,
  offset: number,
  into: Uint8Array,
  abortSignal: AbortSignal,
  tries?: TryWatch,
): Promise<number> {
  const first = AbortSignal.any([abortSignal, AbortSignal.timeout(FIRST_TRY_MS)]);
  if (!isProxied && (await isReadDirectly(client, offset, into, first, tries))) return into.byteLength;
  const answer = await client.download(offset, into.byteLength, { abortSignal });
  const body = answer.readableStreamBody as Readable;
  const length = answer.contentLength ?? 0;
  if (length === into.byteLength) await collect(body, into);
  else body.resume();
  return length;
}

/** Copies a body of `into`'s length. By events: an async iterator costs small reads a third of their rate. */
export function collect(body: Readable, into: Uint8Array): Promise<void> {
  let filled = 0;
  return new Promise((resolve, reject) => {
    body.on('data', (piece: Buffer) => {
      into.set(piece.subarray(0, into.byteLength - filled), filled);
      filled += piece.length;
    });
    body.once('error', reject);
    body.once('end', () => {
      if (filled === into.byteLength) resolve();
      else
        reject(new BackupError('StorageUnavailable', `a body of ${into.byteLength} bytes broke off after ${filled}`));
    });
  });
}

async function isReadDirectly(
  client: BlobClient,
  offset: number,
  into: Uint8Array,
  abortSignal: AbortSignal,
  tries: TryWatch | undefined,
): Promise<boolean> {
  const url = new URL(client.url);
  const headers: Record<string, string> = {
    'x-ms-date': new Date().toUTCString(),
    'x-ms-range': `bytes=${offset}-${offset + into.byteLength - 1}`,
    'x-ms-version': API_VERSION,
  };
  const { credential } = client;
  if (credential instanceof StorageSharedKeyCredential) headers['Authorization'] = signature(credential, url, headers);
  else if ('getToken' in credential) {
    // The SDK fails to get one as well, and says why.
    const token = await tokenOf(credential, abortSignal).catch(() => undefined);
    if (token === undefined || url.protocol !== 'https:') return false;
    headers['Authorization'] = `Bearer ${token}`;
  }
  await tries?.ready(client.url);
  const answer = await requestBody({ url, headers, into, abortSignal });
  if (answer.status !== undefined) tries?.answered(client.url, answer.status, answer.retryAfterMs);
  return answer.isFilled;
}

/**
 * Signs a GET that has no headers but `headers`.
 * Source: https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
 */
function signature(
  credential: StorageSharedKeyCredential,
  url: URL,
  headers: Readonly<Record<string, string>>,
): string {
  const own = Object.entries(headers).map(([name, value]) => `${name}:${value}`);
  const query = [...url.searchParams].map(([name, value]) => `${name.toLowerCase()}:${value}`).toSorted();
  const resource = [`/${credential.accountName}${url.pathname}`, ...query];
  // After the verb eleven standard headers, none of which is sent.
  const text = ['GET', ...Array<string>(11).fill(''), ...own, ...resource].join('\n');
  return `SharedKey ${credential.accountName}:${credential.computeHMACSHA256(text)}`;
}

const tokens = new WeakMap<TokenCredential, { token: string; expiresOnTimestamp: number }>();

async function tokenOf(credential: TokenCredential, abortSignal: AbortSignal): Promise<string | undefined> {
  const known = tokens.get(credential);
  // By the real clock, as the service reads it.
  if (known !== undefined && known.expiresOnTimestamp - Date.now() > TOKEN_MARGIN_MS) return known.token;
  const fresh = await credential.getToken(STORAGE_SCOPE, { abortSignal });
  if (fresh === null) return undefined;
  tokens.set(credential, fresh);
  return fresh.token;
}
