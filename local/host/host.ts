import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { openClock } from '../clock/clock.ts';
import { loadApp } from './app.ts';
import { indexFunction, type IndexedFunction } from './bindings.ts';
import { createRegistry, installCoreModule } from './core-module.ts';
import { createHttpServer, type HostKeys } from './http.ts';
import { createInvoker } from './invoke.ts';
import { createHostLog, type HostLog } from './log.ts';
import { createQueueClients, sendQueueOutputs } from './outputs.ts';
import { listenToQueue, type QueueListener } from './queue-listener.ts';
import type { RpcInvocationResponse } from './rpc.ts';
import { readHostSettings } from './settings.ts';
import { startTimers } from './timers.ts';

export interface HostOptions {
  /** The folder with package.json and host.json. */
  readonly appDir: string;
  /** `main` serves HTTP, timers and queues; a `worker` only queues, beside a main host on the same storage. */
  readonly role: 'main' | 'worker';
  readonly clockFile: string;
  /** Where the timers' due times are kept over restarts. */
  readonly timerStatusFile: string;
  readonly keys: HostKeys;
}

export interface FunctionsHost {
  /** Where HTTP functions answer on 127.0.0.1; undefined in a worker. */
  readonly port: number | undefined;
  /** Moves the clock forward; resolves how many timer runs fell due on the way. A worker has no timers and refuses. */
  advanceClock(targetMs: number): Promise<number>;
  /** Takes nothing new, waits up to 10 s for what runs and hands the rest back to its queues. */
  stop(): Promise<void>;
}

const STOP_TIMEOUT_MS = 10_000;
/** How long it may take to hand messages back when their functions were given up. */
const RELEASE_TIMEOUT_MS = 5_000;

/**
 * Loads the app and starts its triggers. Once per process, because what an app registers goes to the process's one
 * `@azure/functions-core` module. Settings are read from `process.env`.
 *
 * `onRecycle` is called when only a new process can go on: a function ran past its timeout. What ran then has been handed back.
 * @throws AppLoadError, BindingError, or an Error about host.json
 */
export async function startHost(options: HostOptions, onRecycle: (reason: string) => void): Promise<FunctionsHost> {
  const { appDir, role } = options;
  const settings = readHostSettings(join(appDir, 'host.json'), process.env);
  const log = createHostLog(settings.logLevel, process.env['STRATA_LOG'] || undefined);
  const app = createRegistry((level, message) => log.write(level, 'Host.Worker', 'host', message));
  const appHookData = {};
  installCoreModule(app);
  await loadApp(appDir, app, appHookData);
  const functions = [...app.functions.values()].map((fn) => indexFunction(fn, settings.routePrefix, process.env));
  checkRoutes(functions);

  const invoker = createInvoker({
    app,
    appHookData,
    log,
    timeoutMs: settings.functionTimeoutMs,
    onTimeout: (error) => void recycle(error.message),
  });
  const queueClient = createQueueClients();
  const sendOutputs = (fn: IndexedFunction, response: RpcInvocationResponse) =>
    sendQueueOutputs(fn, response, queueClient, settings.queues.messageEncoding, onEnqueued);

  const queues: QueueListener[] = [];
  const onEnqueued = (queueName: string): void => {
    for (const queue of queues) if (queue.queueName === queueName) queue.wake();
  };
  const queueOptions = { settings: settings.queues, queueClient, invoker, log, sendOutputs, onEnqueued };
  for (const fn of functions) if (fn.kind === 'queue') queues.push(listenToQueue({ fn, ...queueOptions }));
  const timers =
    role === 'main'
      ? startTimers({
          functions: functions.filter((fn) => fn.kind === 'timer'),
          clock: openClock(options.clockFile),
          statusFile: options.timerStatusFile,
          invoker,
          log,
          sendOutputs,
        })
      : undefined;
  const http = functions.filter((fn) => fn.kind === 'http');
  const server =
    role === 'main' ? createHttpServer({ functions: http, keys: options.keys, invoker, log, sendOutputs }) : undefined;
  if (server !== undefined) {
    server.listen(0, '127.0.0.1');
    await new Promise<void>((resolve, reject) => server.once('listening', resolve).once('error', reject));
  }
  // Whoever was told that the host is ready finds its queues.
  await Promise.all(queues.map(({ started }) => started));
  announce(functions, role, log);

  const stopTriggers = async (): Promise<void> => {
    timers?.stop();
    await Promise.all(queues.map((queue) => queue.stop()));
  };
  const release = async (reason: string): Promise<void> => {
    invoker.abandon(reason);
    const settled = Promise.all(queues.map((queue) => queue.settled()));
    await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, RELEASE_TIMEOUT_MS).unref())]);
  };
  const recycle = async (reason: string): Promise<void> => {
    await stopTriggers();
    await release('another function ran past its timeout');
    onRecycle(reason);
  };

  return {
    port: (server?.address() as AddressInfo | undefined)?.port,
    advanceClock(targetMs) {
      if (timers === undefined) return Promise.reject(new Error('a worker does not move the clock'));
      return timers.advanceTo(targetMs);
    },
    async stop() {
      const closed = server === undefined ? undefined : closing(server);
      await stopTriggers();
      if (!(await invoker.idle(STOP_TIMEOUT_MS)))
        log.write('warning', 'Host', 'host', `stopping while ${invoker.running} functions run; their messages go back`);
      await release('the Functions host stops');
      await closed;
      for (const hook of app.hooks.appTerminate) await hook({ hookData: {}, appHookData });
    },
  };
}

/** Takes no more requests; resolves when the last answer is out, or the functions have had their time for it. */
function closing(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  const overdue = setTimeout(() => server.closeAllConnections(), STOP_TIMEOUT_MS + RELEASE_TIMEOUT_MS);
  return promise.finally(() => clearTimeout(overdue));
}

function checkRoutes(functions: readonly IndexedFunction[]): void {
  const seen = new Map<string, string>();
  for (const fn of functions) {
    if (fn.kind !== 'http') continue;
    for (const method of fn.methods) {
      const key = `${method} /${fn.route.template.toLowerCase()}`;
      const other = seen.get(key);
      if (other !== undefined) throw new Error(`${fn.functionName} and ${other} both serve ${key}`);
      seen.set(key, fn.functionName);
    }
  }
}

function announce(functions: readonly IndexedFunction[], role: HostOptions['role'], log: HostLog): void {
  const count = (kind: IndexedFunction['kind']) => functions.filter((fn) => fn.kind === kind).length;
  const served =
    role === 'main'
      ? `${count('http')} HTTP, ${count('queue')} queue, ${count('timer')} timer`
      : `${count('queue')} queue`;
  log.always(`[host] Functions host (${role}, pid ${process.pid}): ${served} functions`);
  for (const fn of functions) log.write('debug', 'Host.Startup', fn.functionName, describe(fn));
}

function describe(fn: IndexedFunction): string {
  if (fn.kind === 'http') return `${[...fn.methods].join(',')} /${fn.route.template} (${fn.authLevel})`;
  return fn.kind === 'queue' ? `queue ${fn.queueName}` : `timer ${fn.expression}`;
}
