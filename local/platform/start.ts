import { rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openClock } from '../clock/clock.ts';
import type { HostOptions } from '../host/host.ts';
import { blobEndpoint, loadAccounts, queueEndpoint, tableEndpoint } from '../storage/accounts.ts';
import { startStorage, type StorageAccount, type StorageServer } from '../storage/server.ts';
import { ensureCertificates } from './certificates.ts';
import { dataFolder, ensureIds, lockFolder, type PlatformIds } from './data-folder.ts';
import type { Endpoints } from './endpoints.ts';
import { PlatformError } from './errors.ts';
import { writeFileAtomic } from './files.ts';
import { openFront, type Front, type Handler } from './front.ts';
import { type HostOutput, startHostChild, superviseHost, type SupervisedHost } from './host-child.ts';
import { DEFAULT_LOCATION, hostEnvironment } from './host-env.ts';
import { clockHandler } from './local-clock.ts';
import { guardLocalPaths, noSuchLocalPath } from './local-paths.ts';
import { choosePorts, keepPorts, firstPorts } from './ports.ts';
import { createServices } from './services.ts';
import type { JoinFile } from './worker.ts';

export { startWorker } from './worker.ts';
export type { Endpoints } from './endpoints.ts';

export interface PlatformOptions {
  /** Made if absent; everything that survives a restart is in it. */
  readonly dataDir: string;
  /** 0 for those of the first run or free ones, n for n to n+4; the well-known ones without it. */
  readonly portBase?: number | undefined;
  /** `stock` runs Azurite exactly as published. Default `completed`. */
  readonly storage?: 'completed' | 'stock';
  /** More settings for the Functions hosts; they win over everything else. */
  readonly env?: Record<string, string>;
  /** The function app: a folder with package.json, host.json and compiled functions. Default: this project. */
  readonly appDir?: string;
  /** Where a line about something unexpected goes. Default: standard output. */
  readonly say?: (line: string) => void;
  /** Hears what the Functions hosts print. Default: this process's own output. */
  readonly output?: HostOutput;
}

export interface Platform {
  readonly endpoints: Endpoints;
  /** The main host's process id; undefined while another one starts after a crash. */
  readonly hostPid: number | undefined;
  readonly storagePid: number;
  /** Resolves with the reason when a part of the platform is lost for good: stop it then. */
  readonly failed: Promise<PlatformError>;
  /** Stops everything cleanly; repeats safely. */
  stop(): Promise<void>;
}

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Starts a whole local platform: storage, the front, and the Functions host with the compiled app. Resolves when all of it
 * answers and `endpoints.json` is written.
 * @throws PlatformError in one line: folder or port taken, an app that does not load
 */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const started = new AsyncDisposableStack();
  try {
    return await start(options, started);
  } catch (error) {
    await started.disposeAsync();
    // The parts say in a plain Error what is wrong with a folder or a port; any other kind is a fault of the program.
    if (error instanceof Error && error.constructor === Error) throw new PlatformError(error.message, { cause: error });
    throw error;
  }
}

/** Starts the parts one after another; `started` learns how to undo each of them. */
async function start(options: PlatformOptions, started: AsyncDisposableStack): Promise<Platform> {
  const { say = console.log, env = {}, output } = options;
  const appDir = resolve(options.appDir ?? PROJECT);
  const folder = dataFolder(options.dataDir);
  started.defer(lockFolder(folder));
  rmSync(folder.endpointsFile, { force: true });
  const known = firstPorts(folder.portsFile);
  const ports = await choosePorts(options.portBase, known);
  const ids = ensureIds(folder);
  const tls = await ensureCertificates(folder.tlsFolder);
  const clock = openClock(folder.clockFile);

  const accounts = await loadAccounts(folder.path);
  const mode = options.storage ?? 'completed';
  const storage = await startStorage({ dataDir: folder.storageFolder, ports, accounts, mode });
  started.defer(() => storage.stop());

  // Until the host is ready the front answers 503, but serves the host's own calls to the platform.
  const handlers: Handler[] = [];
  let host: SupervisedHost | undefined;
  const front = await openFront({
    httpPort: ports.http,
    httpsPort: ports.https,
    tls,
    handlers,
    hostPort: () => host?.current?.port,
  });
  started.defer(() => front.close());
  const { blobPort, queuePort, tablePort } = storage;
  if (known === undefined)
    keepPorts(folder.portsFile, {
      http: front.httpPort,
      https: front.httpsPort,
      blob: blobPort,
      queue: queuePort,
      table: tablePort,
    });
  else if (known.blob !== blobPort)
    say(
      `warning: storage is on port ${blobPort}, and was on ${known.blob} when the folder was made: disks known by URLs with that port cannot be reached until it is free and the platform starts on it again`,
    );

  const endpoints = endpointsOf(front, tls.caFile, ids, accounts, storage);
  const location = env['STRATA_LOCATION'] ?? process.env['STRATA_LOCATION'] ?? DEFAULT_LOCATION;
  const services = await createServices({
    dataDir: folder.path,
    endpoints,
    location,
    clock,
    serverCopies: mode === 'completed',
  });
  const advance = async (targetMs: number): Promise<number> => {
    if (host?.current === undefined) throw new PlatformError('the Functions host is starting');
    return host.current.advanceClock(targetMs);
  };
  handlers.push(guardLocalPaths, clockHandler(clock, advance), ...services.handlers, noSuchLocalPath);

  const hostEnv = hostEnvironment({
    appDir,
    processEnv: process.env,
    endpoints,
    accounts,
    storagePorts: storage,
    clockFile: folder.clockFile,
    servicesEnv: services.env,
    extra: env,
  });
  const { clockFile, timerStatusFile } = folder;
  const { functionKey, masterKey } = ids;
  const hostOptions: HostOptions = {
    appDir,
    role: 'main',
    clockFile,
    timerStatusFile,
    keys: { functionKey, masterKey },
  };
  const supervised = await superviseHost(
    () => startHostChild(hostOptions, { ...process.env, ...hostEnv }, output),
    say,
  );
  host = supervised;
  started.defer(() => supervised.stop());

  const join: JoinFile = { hostOptions: { ...hostOptions, role: 'worker' }, env: hostEnv };
  publish(started, folder.hostEnvFile, join);
  publish(started, folder.endpointsFile, endpoints);

  const storageLost = storage.exited.then(() => new PlatformError('the storage process ended unexpectedly'));
  return {
    endpoints,
    get hostPid() {
      return supervised.current?.pid;
    },
    storagePid: storage.pid,
    failed: Promise.race([supervised.failed, storageLost]),
    stop: onlyOnce(() => started.disposeAsync()),
  };
}

function endpointsOf(
  front: Front,
  caFile: string,
  { subscriptionId, tenantId, functionKey }: PlatformIds,
  accounts: readonly StorageAccount[],
  storage: StorageServer,
): Endpoints {
  return {
    http: `http://127.0.0.1:${front.httpPort}`,
    https: `https://127.0.0.1:${front.httpsPort}`,
    caFile,
    subscriptionId,
    tenantId,
    functionKey,
    storage: accounts.map(({ account, kind, key }) => ({
      account,
      kind,
      blob: blobEndpoint(account, storage),
      queue: queueEndpoint(account, storage),
      table: tableEndpoint(account, storage),
      key,
    })),
  };
}

/** Leaves a file for others, readable by its owner alone because of the keys in it, as long as the platform runs. */
function publish(started: AsyncDisposableStack, path: string, content: object): void {
  writeFileAtomic(path, `${JSON.stringify(content, undefined, 2)}\n`, 0o600);
  started.defer(() => rmSync(path, { force: true }));
}

/** Whoever asks again waits for the same end. */
function onlyOnce(act: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => (done ??= act());
}
