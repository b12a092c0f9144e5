import { z } from 'zod';
import type { HostOptions } from '../host/host.ts';
import { dataFolder, folderHolder } from './data-folder.ts';
import { parseJoined, readEndpoints } from './endpoints.ts';
import { PlatformError } from './errors.ts';
import { readFileIfAny } from './files.ts';
import { type HostOutput, startHostChild, superviseHost, type SupervisedHost } from './host-child.ts';

/** What a running platform leaves in its data folder for workers that join. */
export interface JoinFile {
  readonly hostOptions: HostOptions;
  /** What the platform adds to a host's environment. */
  readonly env: Record<string, string>;
}

const joinFile = z.object({
  hostOptions: z.custom<HostOptions>((value) => typeof value === 'object' && value !== null),
  env: z.record(z.string(), z.string()),
});

export interface Worker {
  readonly pid: number;
  /** Ends it cleanly. */
  stop(): Promise<void>;
  /** Ends it as a crash would; resolves when it is gone. */
  kill(): Promise<void>;
  /** Resolves when the process has ended, whoever ended it. */
  readonly ended: Promise<unknown>;
}

export interface WorkerOptions {
  /** The data folder of a running platform. */
  readonly dataDir: string;
  /** More settings for this host alone. */
  readonly env?: Record<string, string>;
  /** Hears what the host prints. Default: this process's own output. */
  readonly output?: HostOutput;
}

/**
 * Starts one more Functions host beside a running platform: it works on queues alone.
 * @throws PlatformError when no platform runs on the folder
 */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const child = await startWorkerHost(options);
  return {
    pid: child.pid,
    ended: child.ended,
    stop: () => child.stop(),
    async kill() {
      child.kill();
      await child.ended;
    },
  };
}

/** A worker that is started again when it ends by itself, as `STRATA_ROLE=worker npm start` runs it. */
export function superviseWorker(options: WorkerOptions, say: (line: string) => void): Promise<SupervisedHost> {
  return superviseHost(() => startWorkerHost(options), say);
}

const WATCH_MS = 1_000;

/** Resolves when the platform on this folder has stopped or died. */
export function platformGone(dataDir: string): Promise<void> {
  const folder = dataFolder(dataDir);
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setInterval(() => {
    if (folderHolder(folder) !== undefined && readFileIfAny(folder.endpointsFile) !== undefined) return;
    clearInterval(timer);
    resolve();
  }, WATCH_MS);
  return promise;
}

function startWorkerHost({ dataDir, env = {}, output }: WorkerOptions) {
  const folder = dataFolder(dataDir);
  readEndpoints(folder.endpointsFile);
  const text = readFileIfAny(folder.hostEnvFile);
  if (text === undefined || folderHolder(folder) === undefined)
    throw new PlatformError(`the platform on ${folder.path} is not running any more: start it again`);
  const joined = parseJoined(folder.hostEnvFile, text, joinFile);
  const own = process.env['STRATA_LOG'];
  const log = own === undefined ? {} : { STRATA_LOG: own };
  return startHostChild(joined.hostOptions, { ...process.env, ...joined.env, ...log, ...env }, output);
}
