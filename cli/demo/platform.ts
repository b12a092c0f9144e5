import { fork } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Endpoints } from '../../local/platform/start.ts';
import { DemoError } from './errors.ts';
import type { PlatformReply, StartRequest } from './platform-process.ts';

const PROGRAM = fileURLToPath(new URL('platform-process.ts', import.meta.url));
/** The platform waits up to 20 s for its host and 60 s for its storage. */
const STOP_TIMEOUT_MS = 90_000;
/** Lines of the platform's output that are kept to explain a failure. */
const KEPT_LINES = 40;

/** The local platform of this demo, in a process of its own. */
export interface DemoPlatform {
  readonly endpoints: Endpoints;
  /** Resolves with the reason when the platform ends by itself. */
  readonly failed: Promise<DemoError>;
  /** What it printed last. */
  output(): readonly string[];
  /** Ends it and deletes its folder. Repeats safely. */
  stop(): Promise<void>;
}

/** Starts a platform on free ports with its data in `dataDir`. @throws DemoError with the platform's own reason */
export async function startDemoPlatform(dataDir: string): Promise<DemoPlatform> {
  const child = fork(PROGRAM, [], { execArgv: [], detached: true, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  const lines: string[] = [];
  keepLines(child.stdout as Readable, lines);
  keepLines(child.stderr as Readable, lines);
  const ended = once(child, 'exit');
  const answered = Promise.withResolvers<Endpoints>();
  const failed = Promise.withResolvers<DemoError>();
  let stopped: Promise<void> | undefined;

  const fail = (message: string): void => {
    const error = new DemoError(`the local platform: ${message}`);
    answered.reject(error);
    if (stopped === undefined) failed.resolve(error);
  };
  child.on('message', (message: PlatformReply) => {
    if (message.type === 'ready') answered.resolve(message.endpoints);
    else fail(message.message);
  });
  void ended.then(() => fail(`its process ended${lines.length > 0 ? `: ${lines.at(-1)}` : ''}`));

  const stop = async (): Promise<void> => {
    if (child.connected) child.disconnect();
    const overdue = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(overdue);
    await rm(dataDir, { recursive: true, force: true });
  };
  const stopOnce = (): Promise<void> => (stopped ??= stop());
  child.send({ dataDir } satisfies StartRequest, () => undefined);
  try {
    const endpoints = await answered.promise;
    return { endpoints, failed: failed.promise, output: () => lines, stop: stopOnce };
  } catch (error) {
    await stopOnce();
    throw error;
  }
}

function keepLines(stream: Readable, lines: string[]): void {
  createInterface({ input: stream }).on('line', (line) => {
    lines.push(line);
    if (lines.length > KEPT_LINES) lines.shift();
  });
}
