import { ComputeManagementClient } from '@azure/arm-compute';
import type { TokenCredential } from '@azure/identity';
import type { PageBlobClient } from '@azure/storage-blob';
import { createComputeEmulator } from '../../local/compute/emulator.ts';
import type { Handler } from '../../local/platform/front.ts';
import { createIdentity } from '../../local/identity/issuer.ts';
import { blobEndpoint, loadAccounts } from '../../local/storage/accounts.ts';
import { serveArm } from './arm-server.ts';
import type { DiskOwner } from './disk-owner.ts';
import { type Mode, startTestStorage, type TestStorage } from './local-storage.ts';

const SUBSCRIPTION = '6a2c1e5e-0000-4000-8000-000000000001';
const LOCATION = 'westeurope';

/** Where managed disks lie: the first account that the emulator is given. */
const DISK_ACCOUNT = 'stratadisks1';

/** Compute and storage as the local platform has them, with managed disks and whoever handles them. */
export interface ManagedPlatform {
  /** Where ARM answers, as it is. */
  readonly endpoint: string;
  readonly credential: TokenCredential;
  readonly client: ComputeManagementClient;
  readonly subscriptionId: string;
  readonly location: string;
  readonly storage: TestStorage;
  /** Disks by their resource ids. The guest that writes one is played by the account's key. */
  readonly owner: DiskOwner;
  /** The page blob behind a managed disk. */
  blobOf(place: string): Promise<PageBlobClient>;
  /** A second front, for ARM and for the SAS that it answers, that counts what passes and can stop it. */
  readonly gate: Gate;
  /** Stops the storage, and goes on with it and with Compute when `between` is done; URLs of before are good for nothing then. */
  restart(between: () => Promise<void>): Promise<void>;
  stop(): Promise<void>;
}

export interface Gate {
  readonly endpoint: string;
  /** From the `n`th request on (from 1) nothing is heard any more: it is not done, or done and its answer lost. */
  crashAt(n: number, when: 'before' | 'after'): void;
  /** Before the `n`th request is passed on, `meanwhile` happens. */
  pauseAt(n: number, meanwhile: () => Promise<void>): void;
  /** Answers some requests itself. Takes the place of crash and pause. */
  answerWith(answer: (request: Request) => Response | undefined): void;
  /** Requests since the last of these calls: method and path. */
  readonly seen: readonly string[];
}

export async function startManagedPlatform(mode: Mode, now: () => number = () => Date.now()): Promise<ManagedPlatform> {
  const storage = await startTestStorage(mode);
  const identity = await createIdentity({ dataDir: storage.dataDir, tenantId: SUBSCRIPTION });
  const open = async (): Promise<Handler> => {
    const accounts = (await loadAccounts(storage.dataDir)).map((account) => ({
      ...account,
      blob: blobEndpoint(account.account, storage.server),
    }));
    return createComputeEmulator({
      dataDir: storage.dataDir,
      subscriptionId: SUBSCRIPTION,
      location: LOCATION,
      storage: accounts.toSorted((a, b) => Number(b.account === DISK_ACCOUNT) - Number(a.account === DISK_ACCOUNT)),
      now,
      serverCopies: mode === 'completed',
      verify: (token) => identity.verify(token),
    }).handle;
  };
  let emulator = await open();
  const handle: Handler = (request) => emulator(request);
  const server = await serveArm([handle]);
  const token = await identity.mint({ roles: ['Backup Contributor'], subject: 'contract' });
  const credential: TokenCredential = {
    getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3_600_000 }),
  };
  const client = new ComputeManagementClient(credential, SUBSCRIPTION, {
    endpoint: server.endpoint,
    retryOptions: { maxRetries: 0 },
  });
  const { gate, close } = await openGate(handle, () => `http://127.0.0.1:${storage.server.blobPort}`);
  const blobOf = async (place: string): Promise<PageBlobClient> => {
    const [group, name] = partsOf(place);
    const { uniqueId } = await client.disks.get(group, name);
    return (await storage.container(`md-${uniqueId}`, DISK_ACCOUNT)).getPageBlobClient('abcd');
  };
  return {
    endpoint: server.endpoint,
    credential,
    client,
    subscriptionId: SUBSCRIPTION,
    location: LOCATION,
    storage,
    owner: ownerOf(client, storage, blobOf),
    blobOf,
    gate,
    async restart(between) {
      await storage.server.stop();
      await between();
      await storage.restart();
      emulator = await open();
    },
    async stop() {
      await close();
      await server.close();
      await storage.remove();
    },
  };
}

/** Resource group and name of a disk. */
function partsOf(place: string): [group: string, name: string] {
  const parts = place.split('/');
  return [parts[4]!, parts[8]!];
}

function ownerOf(
  client: ComputeManagementClient,
  storage: TestStorage,
  blobOf: (place: string) => Promise<PageBlobClient>,
): DiskOwner {
  let given = 0;
  const blobs = new Map<string, PageBlobClient>();
  const blob = async (place: string): Promise<PageBlobClient> => {
    const found = blobs.get(place) ?? (await blobOf(place));
    blobs.set(place, found);
    return found;
  };
  const never = async (): Promise<never> => {
    throw new Error('a managed disk has no such thing');
  };
  return {
    newUrl(name = 'disk') {
      given += 1;
      return `/subscriptions/${SUBSCRIPTION}/resourcegroups/set${given}/providers/microsoft.compute/disks/${name}`;
    },
    async create(place, sizeBytes, metadata = {}) {
      const [group, name] = partsOf(place);
      given += 1;
      const source = `${given}.vhd`;
      await client.disks.beginDeleteAndWait(group, name);
      blobs.delete(place);
      const vhd = (await storage.container('vhds', 'stratadisks2')).getPageBlobClient(source);
      await vhd.create(sizeBytes);
      await client.disks.beginCreateOrUpdateAndWait(group, name, {
        location: LOCATION,
        creationData: { createOption: 'Import', sourceUri: vhd.url },
        tags: { ...metadata },
      });
      await vhd.delete();
    },
    async write(place, offset, body) {
      const target = await blob(place);
      for (let at = 0; at < body.byteLength; at += 4_194_304) {
        const piece = body.subarray(at, at + 4_194_304);
        await target.uploadPages(piece, offset + at, piece.byteLength);
      }
    },
    async clear(place, { start, end }) {
      await (await blob(place)).clearPages(start, end - start);
    },
    async resize(place, sizeBytes) {
      const [group, name] = partsOf(place);
      await client.disks.beginUpdateAndWait(group, name, { diskSizeGB: sizeBytes / 1_073_741_824 });
    },
    async delete(place) {
      const [group, name] = partsOf(place);
      await client.disks.beginDeleteAndWait(group, name);
      blobs.delete(place);
    },
    async metadata(place) {
      const [group, name] = partsOf(place);
      for await (const disk of client.disks.listByResourceGroup(group))
        if (disk.name?.toLowerCase() === name.toLowerCase()) return { ...disk.tags };
      return undefined;
    },
    async isLeased(place) {
      const [group, name] = partsOf(place);
      const { diskState } = await client.disks.get(group, name);
      return diskState === 'ActiveUpload' || diskState === 'ReadyToUpload' || diskState === 'ActiveSAS';
    },
    putText: never,
    text: never,
    setMetadata: never,
    breakLease: never,
    lease: never,
  };
}

async function openGate(
  handle: Handler,
  storageOrigin: () => string,
): Promise<{ gate: Gate; close: () => Promise<void> }> {
  let fatal = Infinity;
  let lost: 'before' | 'after' = 'before';
  let pause: { at: number; meanwhile: () => Promise<void> } | undefined;
  let own: (request: Request) => Response | undefined = () => undefined;
  const seen: string[] = [];
  let origin = '';

  async function pass(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const answered = url.pathname.startsWith('/subscriptions/') ? await handle(request) : await toStorage(request, url);
    if (answered === undefined) return new Response(null, { status: 404 });
    if (!/begingetaccess$/i.test(url.pathname) || !answered.ok) return answered;
    const { accessSAS } = (await answered.json()) as { accessSAS: string };
    return Response.json({ accessSAS: accessSAS.replace(storageOrigin(), origin) });
  }

  async function toStorage(request: Request, url: URL): Promise<Response> {
    const headers = new Headers(request.headers);
    for (const name of ['host', 'connection', 'content-length']) headers.delete(name);
    const previous = headers.get('x-ms-previous-snapshot-url');
    if (previous !== null) headers.set('x-ms-previous-snapshot-url', previous.replace(origin, storageOrigin()));
    const body = ['GET', 'HEAD'].includes(request.method) ? {} : { body: await request.arrayBuffer() };
    const answer = await fetch(`${storageOrigin()}${url.pathname}${url.search}`, {
      method: request.method,
      headers,
      ...body,
    });
    const answered = new Headers(answer.headers);
    for (const name of ['connection', 'keep-alive', 'transfer-encoding', 'content-length']) answered.delete(name);
    return new Response(await answer.arrayBuffer(), { status: answer.status, headers: answered });
  }

  const server = await serveArm([
    async (request) => {
      seen.push(`${request.method} ${new URL(request.url).pathname}`);
      const number = seen.length;
      if (number > fatal || (number === fatal && lost === 'before')) return new Response(null, { status: 503 });
      const answer = own(request);
      if (answer !== undefined) return answer;
      if (number === pause?.at) await pause.meanwhile();
      const passed = await pass(request);
      if (number !== fatal) return passed;
      await passed.arrayBuffer();
      return new Response(null, { status: 503 });
    },
  ]);
  origin = server.endpoint;
  const start = (): void => {
    fatal = Infinity;
    pause = undefined;
    own = () => undefined;
    seen.length = 0;
  };
  const gate: Gate = {
    endpoint: server.endpoint,
    seen,
    crashAt(n, when) {
      start();
      fatal = n;
      lost = when;
    },
    pauseAt(n, meanwhile) {
      start();
      pause = { at: n, meanwhile };
    },
    answerWith(answer) {
      start();
      own = answer;
    },
  };
  return { gate, close: () => server.close() };
}
