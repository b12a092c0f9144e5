import { createHash } from 'node:crypto';
import { QueueServiceClient } from '@azure/storage-queue';
import { PageBlobClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { blobEndpoint, connectionString, loadAccounts } from '../../local/storage/accounts.ts';
import type { StorageServer } from '../../local/storage/server.ts';
import { compose } from '../../shared/app/compose.ts';
import { parseConfig } from '../../shared/app/config.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { QUEUE_OF, type Step } from '../../shared/queue/steps.ts';
import type { Ports, Settings } from '../../shared/services/ports.ts';
import { openVault } from '../../shared/services/vault-of.ts';
import { type Delivery, type Life, ManualClock, type Onlooker, VAULT, createLife } from './life.ts';
import { startTestStorage } from './local-storage.ts';
import { memoryCompute } from './memory-compute.ts';

/** A life over the real adapters, as the app composes them, and a storage server of its own; only Compute is in memory. */
export interface RealWorld extends Life {
  /** A disk by its URL. */
  disk(url: string): PageBlobClient;
  /** Everything in the vault's container. */
  vaultBlobs(): Promise<Map<string, { body: Buffer }>>;
  /** The ids of the snapshots that a disk has. */
  snapshotsOf(url: string): Promise<string[]>;
  /** How many messages there are on the steps' queues, poison and delayed ones included. */
  messages(): Promise<number>;
  /** What the services have told operators. */
  readonly lines: readonly string[];
  stop(): Promise<void>;
}

type ServerPorts = Pick<StorageServer, 'blobPort' | 'queuePort' | 'tablePort'>;

export interface RealWorldOptions extends Onlooker {
  readonly regionBytes?: number;
  readonly compaction?: Settings['compaction'];
  /** Stands between the app and the storage server: answers the ports that the app is told. The test's own hands go past it. */
  readonly between?: (server: ServerPorts) => Promise<ServerPorts>;
  /** Stands between the handlers of messages and their ports. */
  readonly wrapHandlers?: (ports: Ports) => Ports;
}

const APP_ACCOUNT = 'devstoreaccount1';
const DISK_ACCOUNTS = ['stratadisks1', 'stratadisks2'];

export async function createRealWorld(options: RealWorldOptions = {}): Promise<RealWorld> {
  const { regionBytes = 4 * BLOCK_BYTES, compaction, wrapHandlers = (ports: Ports): Ports => ports } = options;
  const storage = await startTestStorage('completed');
  const accounts = await loadAccounts(storage.dataDir);
  const server = (await options.between?.(storage.server)) ?? storage.server;
  const connection = connectionString(
    accounts.find(({ account }) => account === APP_ACCOUNT)!,
    server,
  );
  const config = parseConfig({
    AzureWebJobsStorage: connection,
    STRATA_VAULT_STORAGE: connection,
    STRATA_STORAGE_ACCOUNTS: JSON.stringify(
      accounts.map(({ account, kind, key }) => ({ account, kind, key, blob: blobEndpoint(account, server) })),
    ),
    STRATA_SUBSCRIPTION_ID: 'not asked for',
    STRATA_TOKEN_AUDIENCE: 'not asked for',
    STRATA_ON_THE_SPOT_MIB: '0',
    STRATA_DELETE_GRACE_SECONDS: '60',
    STRATA_SWEEP_GRACE_SECONDS: '3600',
  });
  const lines: string[] = [];
  const clock = new ManualClock();
  const compute = memoryCompute();
  const real = compose(config, (line) => void lines.push(line));
  const queue = clockedQueue(real, storage.connection(APP_ACCOUNT), clock);
  let named = 0;
  const hex = (digits: number): string => createHash('sha256').update(`${named++}`).digest('hex').slice(0, digits);
  const ports: Ports = {
    ...real,
    compute,
    clock,
    queue,
    ids: { hex, guid: () => hex(32).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-') },
    settings: { ...config, geometry: { regionBytes }, ...(compaction === undefined ? {} : { compaction }) },
  };
  /** Where the test finds what the app knows by `url`, and who it is. */
  const past = (url: string): string => url.replace(`:${server.blobPort}/`, `:${storage.server.blobPort}/`);
  const disk = (url: string): PageBlobClient => {
    const { account, key } = accounts.find((each) => url.startsWith(`${blobEndpoint(each.account, server)}/`))!;
    return new PageBlobClient(past(url), new StorageSharedKeyCredential(account, key));
  };
  const life = await createLife(
    {
      ports,
      handlerPorts: wrapHandlers(ports),
      clock,
      compute,
      targetAccount: DISK_ACCOUNTS[1]!,
      async createDisk(vm, index, sizeBytes) {
        const account = DISK_ACCOUNTS[index % 2]!;
        const name = `${vm}-${index}.vhd`;
        await (await storage.container('vhds', account)).getPageBlobClient(name).create(sizeBytes);
        return `${blobEndpoint(account, server)}/vhds/${name}`;
      },
      readDisk: (url) => disk(url).downloadToBuffer(),
      async disksIn(containerUrl) {
        const [, account, name] = new URL(containerUrl).pathname.split('/');
        const container = await storage.container(name!, account);
        const urls: string[] = [];
        for await (const { name: blob } of container.listBlobsFlat())
          if (blob.endsWith('.vhd')) urls.push(`${containerUrl}/${blob}`);
        return urls;
      },
      next: () => queue.next(),
    },
    options,
  );
  return {
    ...life,
    disk,
    async vaultBlobs() {
      const container = await storage.container((await openVault(real, VAULT)).row.containerName, APP_ACCOUNT);
      const names: string[] = [];
      for await (const { name } of container.listBlobsFlat()) names.push(name);
      const bodies = await Promise.all(names.map((name) => container.getBlobClient(name).downloadToBuffer()));
      return new Map(names.map((name, i) => [name, { body: bodies[i]! }]));
    },
    async snapshotsOf(url) {
      const ids: string[] = [];
      const [, account, container, name] = new URL(url).pathname.split('/');
      const listed = (await storage.container(container!, account)).listBlobsFlat({
        prefix: name!,
        includeSnapshots: true,
      });
      for await (const { snapshot } of listed) if (snapshot !== undefined && snapshot !== '') ids.push(snapshot);
      return ids;
    },
    lines,
    messages: () => queue.count(),
    stop: () => storage.remove(),
  };
}

/**
 * The steps' queues with delays that run by the clock: a message is on its queue at once, and is taken when the clock says so, the
 * clock being moved on where nothing is due before.
 */
function clockedQueue(real: Ports, connection: string, clock: ManualClock) {
  const service = QueueServiceClient.fromConnectionString(connection);
  let sent = 0;
  let waiting: { queue: string; dueMs: number; order: number }[] = [];
  const expect = (queue: string, delaySeconds: number): void => {
    waiting.push({ queue, dueMs: clock.now() + delaySeconds * 1000, order: sent++ });
    waiting.sort((a, b) => a.dueMs - b.dueMs || a.order - b.order);
  };
  return {
    async send(step: Step, delaySeconds = 0): Promise<void> {
      await real.queue.send(step);
      expect(QUEUE_OF[step.step], delaySeconds);
    },
    async next(): Promise<Delivery | undefined> {
      for (;;) {
        const first = waiting[0];
        if (first === undefined) return undefined;
        waiting = waiting.slice(1);
        clock.advance(Math.max(0, first.dueMs - clock.now()));
        const queue = service.getQueueClient(first.queue);
        const [message] = (await queue.receiveMessages({ visibilityTimeout: 600 })).receivedMessageItems;
        if (message === undefined) throw new Error(`a message that was sent is not on ${first.queue}`);
        return {
          step: JSON.parse(Buffer.from(message.messageText, 'base64').toString()) as Step,
          deliveries: message.dequeueCount,
          done: async () => void (await queue.deleteMessage(message.messageId, message.popReceipt)),
          async putBack() {
            await queue.updateMessage(message.messageId, message.popReceipt, undefined, 0);
            expect(first.queue, 0);
          },
        };
      }
    },
    async count(): Promise<number> {
      let count = 0;
      for await (const { name } of service.listQueues())
        count += (await service.getQueueClient(name).getProperties()).approximateMessagesCount ?? 0;
      return count;
    },
  };
}
