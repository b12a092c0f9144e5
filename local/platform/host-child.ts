import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { HostOptions } from '../host/host.ts';
import { EXIT_BAD_APP, type FromHost, type ToHost } from '../host/messages.ts';
import { PlatformError } from './errors.ts';

const PROGRAM = fileURLToPath(new URL('../host/process.ts', import.meta.url));
/** A host waits 10 s for its functions and 5 s to hand messages back. */
const STOP_TIMEOUT_MS = 20_000;

/** A Functions host in a process of its own. */
export interface HostChild {
  readonly pid: number;
  /** Where its HTTP functions answer; undefined for a worker. */
  readonly port: number | undefined;
  /** Resolves how the process ended, whoever ended it. */
  readonly ended: Promise<HostEnd>;
  /** Moves the clock to `targetMs`; resolves how many timer runs that was. @throws when the host ends meanwhile */
  advanceClock(targetMs: number): Promise<number>;
  /** Ends it cleanly: running functions get 10 s. Repeats safely. */
  stop(): Promise<void>;
  /** Ends it at once, as a crash would: messages in work stay invisible until their lease is over. */
  kill(): void;
}

export interface HostEnd {
  readonly code: number | null;
  readonly signal: string | null;
}

/** Hears each line that the host of that process id prints; a host has ended only when its last line has been heard. */
export type HostOutput = (line: string, pid: number) => void;

/**
 * Starts a host with exactly the environment `env` and resolves when its triggers run. What it prints goes to this process's
 * own output, or to `output`.
 * @throws PlatformError with the reason when the app or its settings cannot be served
 */
export async function startHostChild(
  options: HostOptions,
  env: NodeJS.ProcessEnv,
  output?: HostOutput,
): Promise<HostChild> {
  const printed = output === undefined ? 'inherit' : 'pipe';
  const child = fork(PROGRAM, [], { env, execArgv: [], stdio: ['ignore', printed, printed, 'ipc'] });
  const ended = once(child, 'close').then(([code, signal]): HostEnd => ({ code, signal }));
  for (const stream of [child.stdout, child.stderr])
    if (stream !== null) createInterface(stream).on('line', (line) => output?.(line, child.pid as number));
  const pending = new Map<number, PromiseWithResolvers<number>>();
  const port = await ready(child, ended, options);

  child.on('message', (message: FromHost) => {
    if (message.kind !== 'advanced' && message.kind !== 'advance-failed') return;
    const waiting = pending.get(message.id);
    pending.delete(message.id);
    if (message.kind === 'advanced') waiting?.resolve(message.fired);
    else waiting?.reject(new PlatformError(message.message));
  });
  const giveUp = async (): Promise<void> => {
    await ended;
    for (const { reject } of pending.values()) reject(new PlatformError('the Functions host ended on the way'));
    pending.clear();
  };
  void giveUp();

  let nextId = 0;
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    const forced = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(forced);
  };
  return {
    pid: child.pid as number,
    port,
    ended,
    advanceClock(targetMs) {
      if (!child.connected) return Promise.reject(new PlatformError('the Functions host has ended'));
      const answer = Promise.withResolvers<number>();
      const id = nextId++;
      pending.set(id, answer);
      child.send({ kind: 'advance', id, targetMs } satisfies ToHost);
      return answer.promise;
    },
    stop: () => (stopped ??= stop()),
    kill: () => void child.kill('SIGKILL'),
  };
}

async function ready(child: ChildProcess, ended: Promise<HostEnd>, options: HostOptions): Promise<number | undefined> {
  const answered = Promise.withResolvers<number | undefined>();
  const onMessage = (message: FromHost): void => {
    if (message.kind === 'ready') answered.resolve(message.port);
    if (message.kind === 'failed') answered.reject(new PlatformError(message.message));
  };
  child.on('message', onMessage);
  child.once('error', (error) =>
    answered.reject(new PlatformError(`the Functions host does not start: ${error.message}`)),
  );
  void ended.then(({ code, signal }) =>
    answered.reject(new PlatformError(`the Functions host ended while it started (${signal ?? `exit code ${code}`})`)),
  );
  child.send({ kind: 'start', options } satisfies ToHost);
  try {
    return await answered.promise;
  } catch (error) {
    await ended;
    throw error;
  } finally {
    child.off('message', onMessage);
  }
}

const MAX_RESTARTS = 5;
const RESTART_WINDOW_MS = 60_000;

export interface SupervisedHost {
  /** The host that runs now; undefined while another one starts. */
  readonly current: HostChild | undefined;
  /** Resolves with the reason when the host cannot be kept running. */
  readonly failed: Promise<PlatformError>;
  stop(): Promise<void>;
}

/**
 * Starts a host and starts another one when it ends by itself, at most 5 times within a minute. A clean stop from outside (exit
 * code 0) is an end like any other.
 * @throws PlatformError when the first one does not start
 */
export async function superviseHost(
  start: () => Promise<HostChild>,
  say: (line: string) => void,
): Promise<SupervisedHost> {
  let current: HostChild | undefined = await start();
  let isStopping = false;
  let restarting = Promise.resolve();
  const failure = Promise.withResolvers<PlatformError>();
  const restarts: number[] = [];

  const watch = async (child: HostChild): Promise<void> => {
    const end = await child.ended;
    if (isStopping) return;
    current = undefined;
    restarting = restart(child.pid, end);
  };
  const restart = async (pid: number, { code, signal }: HostEnd): Promise<void> => {
    const how = `the Functions host (pid ${pid}) ended unexpectedly (${signal ?? `exit code ${code}`})`;
    const now = performance.now();
    while (restarts.length > 0 && now - (restarts[0] as number) > RESTART_WINDOW_MS) restarts.shift();
    if (code === EXIT_BAD_APP || restarts.length >= MAX_RESTARTS)
      return failure.resolve(
        new PlatformError(`${how} and is not started again after ${restarts.length} starts in a minute`),
      );
    restarts.push(now);
    say(`${how}; starting another one`);
    try {
      const child = await start();
      if (isStopping) return child.stop();
      current = child;
      void watch(child);
    } catch (error) {
      failure.resolve(new PlatformError(`${how}, and another one does not start: ${(error as Error).message}`));
    }
  };
  void watch(current);

  return {
    get current() {
      return current;
    },
    failed: failure.promise,
    async stop() {
      isStopping = true;
      await restarting;
      await current?.stop();
    },
  };
}
