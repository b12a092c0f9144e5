import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { ComputeManagementClient } from '@azure/arm-compute';
import {
  AnonymousCredential,
  BlobServiceClient,
  PageBlobClient,
  StorageSharedKeyCredential,
} from '@azure/storage-blob';
import { createNeighbours } from '../../local/arm/neighbours.ts';
import { createComputeEmulator } from '../../local/compute/emulator.ts';
import { fixedFooter } from '../../shared/domain/vhd-footer.ts';
import { createIdentity, type Identity } from '../../local/identity/issuer.ts';
import { ensureCertificates } from '../../local/platform/certificates.ts';
import { openFront, type Front } from '../../local/platform/front.ts';
import { blobEndpoint, loadAccounts } from '../../local/storage/accounts.ts';
import { startStorage } from '../../local/storage/server.ts';

export const SUBSCRIPTION = '6a2c1e5e-0000-4000-8000-000000000001';
export const TENANT = '6a2c1e5e-0000-4000-8000-00000000000a';
export const LOCATION = 'westeurope';

export interface StorageUnderTest {
  account: string;
  kind: 'standard' | 'premium';
  blob: string;
  key: string;
}

/** The emulator, its neighbours and the issuer over real storage and real TLS. */
export interface Rig {
  dataDir: string;
  base: string;
  caFile: string;
  identity: Identity;
  storage: StorageUnderTest[];
  client: ComputeManagementClient;
  /** Milliseconds since 1970; what the emulator takes for the time. */
  clock: { nowMs: number };
  /** Reads the emulator's state from the data folder again, as after a restart; by default storage copies. */
  restart(serverCopies?: boolean): void;
  /** A request with a token of a contributor, unless `authorization` says otherwise. */
  fetch(path: string, init?: { method?: string; body?: unknown; authorization?: string | null }): Promise<Answer>;
  stop(): Promise<void>;
}

export interface Answer {
  status: number;
  headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- whatever JSON came; the assertions say what it must be
  body: any;
}

export async function startRig(): Promise<Rig> {
  const dataDir = await mkdtemp(join(tmpdir(), 'strata-compute-'));
  const accounts = await loadAccounts(dataDir);
  const server = await startStorage({
    dataDir,
    ports: { blob: 0, queue: 0, table: 0 },
    accounts,
    mode: 'completed',
  });
  const storage = accounts.map((account) => ({ ...account, blob: blobEndpoint(account.account, server) }));
  const tls = await ensureCertificates(join(dataDir, 'tls'));
  const identity = await createIdentity({ dataDir, tenantId: TENANT });
  const clock = { nowMs: Date.UTC(2026, 11, 1, 3) };
  const open = (serverCopies = true) => {
    const compute = createComputeEmulator({
      dataDir,
      subscriptionId: SUBSCRIPTION,
      location: LOCATION,
      storage,
      now: () => clock.nowMs,
      serverCopies,
      verify: identity.verify,
    });
    const neighbours = createNeighbours({
      subscriptionId: SUBSCRIPTION,
      tenantId: TENANT,
      location: LOCATION,
      storage,
      resourceGroups: compute.resourceGroups,
      audience: identity.audience,
      verify: identity.verify,
    });
    return [identity.handle, compute.handle, neighbours];
  };
  const handlers = open();
  const front: Front = await openFront({ httpPort: 0, httpsPort: 0, tls, handlers, hostPort: () => undefined });
  const base = `https://127.0.0.1:${front.httpsPort}`;
  const token = await identity.mint({ roles: ['Backup Contributor'], subject: 'contract-test' });
  const client = new ComputeManagementClient(
    { getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3_600_000 }) },
    SUBSCRIPTION,
    { endpoint: base, tlsOptions: { ca: readFileSync(tls.caFile) }, retryOptions: { maxRetries: 0 } },
  );
  return {
    dataDir,
    base,
    caFile: tls.caFile,
    identity,
    storage,
    client,
    clock,
    restart: (serverCopies) => {
      handlers.splice(0, handlers.length, ...open(serverCopies));
    },
    async fetch(path, init = {}) {
      const headers = new Headers();
      if (init.authorization !== null) headers.set('authorization', init.authorization ?? `Bearer ${token}`);
      // The http front has the same handlers; TLS is the SDK's part of these tests.
      const response = await fetch(`http://127.0.0.1:${front.httpPort}${path}`, {
        method: init.method ?? 'GET',
        headers,
        ...(init.body === undefined
          ? {}
          : { body: typeof init.body === 'string' ? init.body : JSON.stringify(init.body) }),
      });
      const text = await response.text();
      let body: unknown = text;
      if (response.headers.get('content-type')?.includes('json')) body = JSON.parse(text);
      return { status: response.status, headers: response.headers, body };
    },
    async stop() {
      await front.close();
      await server.stop();
      await rm(dataDir, { recursive: true });
    },
  };
}

/** A container client with the account's key. */
export function containerOf(rig: Rig, account: string, container: string) {
  const found = rig.storage.find((one) => one.account === account);
  if (found === undefined) throw new Error(`no account ${account}`);
  const credential = new StorageSharedKeyCredential(found.account, found.key);
  return new BlobServiceClient(found.blob, credential).getContainerClient(container);
}

/** Creates a fixed VHD of `sizeBytes` with `content` at its beginning, and answers its plain URL. */
export async function seedVhd(rig: Rig, account: string, name: string, sizeBytes: number, content = pattern(512, 1)) {
  const container = containerOf(rig, account, 'vhds');
  await container.createIfNotExists();
  const blob = container.getPageBlobClient(name);
  await blob.create(sizeBytes + 512);
  await blob.uploadPages(content, 0, content.length);
  await blob.uploadPages(fixedFooter(sizeBytes, 0), sizeBytes, 512);
  return blob.url;
}

/** Bytes that differ by seed and place, none of them a run of zeros. */
export function pattern(count: number, seed: number): Buffer {
  const bytes = Buffer.alloc(count);
  for (let index = 0; index < count; index += 1) bytes[index] = ((index * 31 + seed * 101) % 255) + 1;
  return bytes;
}

/** The error that a call of the SDK ends with. @throws when it does not fail */
export async function failure(
  call: PromiseLike<unknown>,
): Promise<{ statusCode: number; code: string; message: string }> {
  try {
    await call;
  } catch (error) {
    const { statusCode, code, message } = error as { statusCode: number; code: string; message: string };
    return { statusCode, code, message };
  }
  throw new Error('the call succeeded, but it had to fail');
}

/** A client for a URL that carries its own SAS. */
export function sasBlob(url: string | undefined): PageBlobClient {
  if (url === undefined) throw new Error('no SAS was granted');
  return new PageBlobClient(url, new AnonymousCredential());
}

/** All that a listing yields. */
export async function collect<T>(listing: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of listing) all.push(one);
  return all;
}
