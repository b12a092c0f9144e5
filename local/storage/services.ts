/**
 * Azurite's blob, queue and table services in this process, on one data folder.
 *
 * `completed` mends what Azurite answers wrongly and keeps its metadata safer; `stock` is Azurite as published. Both run
 * with telemetry off, strict checks on, any service version accepted, and URLs of the form
 * `http://127.0.0.1:port/account/container/blob`.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { answerAccountKinds } from './account-kinds.ts';
import { type Azurite, type AzuriteServer, loadAzurite } from './azurite-modules.ts';
import { adoptExtents, databasesOf, flush, keepSaved } from './durability.ts';
import { completePageRanges } from './get-page-ranges.ts';
import { separatePageBlobCopies } from './page-blob-copies.ts';
import { leaveOutUnaskedReads } from './read-checksums.ts';
import { readShortRangesAtOnce } from './short-reads.ts';
import { leaveOutUnaskedChecksums } from './write-checksums.ts';
import { reviveTimes } from './reloaded-times.ts';
import type { StorageOptions, StoragePorts } from './server.ts';

/** Azurite's default: an idle connection is closed after 5 s, which a client may notice only by losing a request. */
const STOCK_KEEP_ALIVE_SECONDS = 5;

/** Longer than any client rests between two requests. */
const COMPLETED_KEEP_ALIVE_SECONDS = 3600;

/** How long requests under way may take to end when the services stop. */
const STOP_GRACE_MS = 5_000;

const SERVICES = ['blob', 'queue', 'table'] as const;
type Service = (typeof SERVICES)[number];

export interface RunningServices {
  ports: StoragePorts;
  /** Rejects when a service has ended by itself: Azurite closes one whose data it cannot sweep. */
  failed: Promise<never>;
  /** Lets requests end, closes the services and writes all metadata. */
  stop(): Promise<void>;
}

/** @throws if a port is taken, naming it; services started before are stopped again */
export async function startServices(options: Required<StorageOptions>): Promise<RunningServices> {
  await mkdir(options.dataDir, { recursive: true });
  process.env['AZURITE_ACCOUNTS'] = options.accounts.map(({ account, key }) => `${account}:${key}`).join(';');
  const azurite = loadAzurite();
  azurite.logging.configLogger(false);
  azurite.telemetry.AzuriteTelemetryClient.init(options.dataDir, false, undefined);

  const servers = createServers(azurite, options);
  if (options.mode === 'completed') {
    separatePageBlobCopies(azurite);
    leaveOutUnaskedChecksums(azurite);
    leaveOutUnaskedReads(azurite);
    readShortRangesAtOnce(azurite);
    completePageRanges(azurite, () => portOf(servers.blob));
    answerAccountKinds(azurite, options.accounts);
  }

  const started: AzuriteServer[] = [];
  try {
    for (const service of SERVICES) {
      await startOne(service, servers[service], options);
      started.push(servers[service]);
    }
  } catch (error) {
    await stopAll(started);
    throw error;
  }

  const stopping = new AbortController();
  const saving =
    options.mode === 'completed' ? keepSaved(databasesOf(started), stopping.signal) : Promise.resolve(undefined);
  return {
    ports: { blob: portOf(servers.blob), queue: portOf(servers.queue), table: portOf(servers.table) },
    failed: rejectWhenOneEnds(servers, stopping.signal),
    async stop() {
      stopping.abort();
      await saving;
      await stopAll(started);
    },
  };
}

function createServers(azurite: Azurite, options: Required<StorageOptions>): Record<Service, AzuriteServer> {
  const { host, ports, dataDir, silent } = options;
  const keepAlive = options.mode === 'completed' ? COMPLETED_KEEP_ALIVE_SECONDS : STOCK_KEEP_ALIVE_SECONDS;
  const accessLog = [!silent, undefined] as const;
  const common = [
    false, // debug log
    undefined, // debug log's path
    false, // loose
    true, // skip the check of the service version
    '', // certificate
    '', // certificate's key
    '', // certificate's password
    undefined, // OAuth
    true, // no product-style URLs
    false, // not in memory
  ] as const;
  const at = (name: string): string => join(dataDir, name);
  const { DEFAULT_BLOB_PERSISTENCE_ARRAY } = azurite.blobConstants;
  const blobs = DEFAULT_BLOB_PERSISTENCE_ARRAY.map((path) => ({ ...path, locationPath: at('__blobstorage__') }));
  const { DEFAULT_QUEUE_PERSISTENCE_ARRAY } = azurite.queueConstants;
  const messages = DEFAULT_QUEUE_PERSISTENCE_ARRAY.map((path) => ({ ...path, locationPath: at('__queuestorage__') }));
  const blobDatabases = [at('__azurite_db_blob__.json'), at('__azurite_db_blob_extent__.json')] as const;
  const queueDatabases = [at('__azurite_db_queue__.json'), at('__azurite_db_queue_extent__.json')] as const;

  const servers = {
    blob: new azurite.BlobServer(
      new azurite.BlobConfiguration(host, ports.blob, keepAlive, ...blobDatabases, blobs, ...accessLog, ...common),
    ),
    queue: new azurite.QueueServer(
      new azurite.QueueConfiguration(
        host,
        ports.queue,
        keepAlive,
        ...queueDatabases,
        messages,
        ...accessLog,
        ...common,
      ),
    ),
    table: new azurite.TableServer(
      // The table service takes the two log switches in the other order.
      new azurite.TableConfiguration(
        host,
        ports.table,
        keepAlive,
        at('__azurite_db_table__.json'),
        false,
        ...accessLog,
        ...common.slice(1),
      ),
    ),
  };
  if (options.mode === 'completed') {
    for (const location of blobs) adoptExtents(servers.blob, location);
    for (const location of messages) adoptExtents(servers.queue, location);
    reviveTimes(servers.blob);
    reviveTimes(servers.queue);
  }
  return servers;
}

async function startOne(service: Service, server: AzuriteServer, options: Required<StorageOptions>): Promise<void> {
  try {
    await server.start();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
      throw new Error(
        `port ${options.ports[service]} on ${options.host}, meant for the ${service} service, is taken: ` +
          'stop the program that listens there, or choose another port',
        { cause: error },
      );
    }
    throw error;
  }
}

/** Lets requests end, then lets Azurite close, then writes what Azurite's close may have left behind. */
async function stopAll(servers: readonly AzuriteServer[]): Promise<void> {
  await Promise.all(servers.map(({ httpServer }) => endRequests(httpServer)));
  for (const server of servers) {
    if (server.getStatus() === 'Running') await server.close();
  }
  await flush(databasesOf(servers));
}

async function endRequests(httpServer: AzuriteServer['httpServer']): Promise<void> {
  if (!httpServer.listening) return;
  const closed = once(httpServer, 'close');
  httpServer.close();
  httpServer.closeIdleConnections();
  await Promise.race([closed, sleep(STOP_GRACE_MS, undefined, { ref: false })]);
  httpServer.closeAllConnections();
}

async function rejectWhenOneEnds(servers: Record<Service, AzuriteServer>, signal: AbortSignal): Promise<never> {
  for (;;) {
    await sleep(1000, undefined, { ref: false });
    if (signal.aborted) await new Promise(() => undefined);
    const ended = SERVICES.find((service) => servers[service].getStatus() !== 'Running');
    if (ended !== undefined) throw new Error(`the ${ended} service has ended by itself`);
  }
}

function portOf(server: AzuriteServer): number {
  return (server.httpServer.address() as AddressInfo).port;
}
