/**
 * Storage for the local platform: Azurite in a process of its own.
 *
 * Azurite is bound by one core, and sharing an event loop with it costs both sides. The process ends with its parent; an
 * end by `stop()`, by SIGTERM or by the parent's death loses nothing that a client was told is stored.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface StorageAccount {
  account: string;
  kind: 'standard' | 'premium';
  /** Base64. */
  key: string;
}

export interface StoragePorts {
  blob: number;
  queue: number;
  table: number;
}

export interface StorageOptions {
  /** Made if absent; one storage process at a time. */
  dataDir: string;
  host?: '127.0.0.1';
  /** 0 lets the system choose. */
  ports: StoragePorts;
  accounts: readonly StorageAccount[];
  /** `stock` runs Azurite exactly as published, faults included. */
  mode: 'completed' | 'stock';
  /** Default true. False writes one line for every request to standard output. */
  silent?: boolean;
}

export interface StorageServer {
  blobPort: number;
  queuePort: number;
  tablePort: number;
  pid: number;
  /** Lets requests end, writes all metadata and ends the process; repeats safely. @throws if the end was not clean */
  stop(): Promise<void>;
  /** Resolves if the process ends although nobody called `stop()`. */
  exited: Promise<void>;
}

/** What this side sends to the storage process, and what it answers. */
export type ProcessRequest = { type: 'start'; options: Required<StorageOptions> } | { type: 'stop' };
export type ProcessReply = { type: 'ready'; ports: StoragePorts } | { type: 'failed'; message: string };

/** Generous: writing the metadata of some hundred thousand blobs takes seconds. */
const STOP_TIMEOUT_MS = 60_000;

const PROGRAM = fileURLToPath(new URL('process.ts', import.meta.url));

/** Starts storage and resolves when all three services listen. @throws with the reason: a taken port, a folder in use, ... */
export async function startStorage(options: StorageOptions): Promise<StorageServer> {
  checkAccounts(options.accounts);
  // A process group of its own, so that Ctrl-C in a terminal reaches the parent alone.
  const child = fork(PROGRAM, [], { execArgv: [], detached: true, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ended = once(child, 'exit') as Promise<[code: number | null, signal: string | null]>;
  let stopped: Promise<void> | undefined;

  const ports = await handshake(child, ended, {
    ...options,
    dataDir: resolve(options.dataDir),
    host: options.host ?? '127.0.0.1',
    silent: options.silent ?? true,
  });
  return {
    blobPort: ports.blob,
    queuePort: ports.queue,
    tablePort: ports.table,
    pid: child.pid as number,
    stop: () => (stopped ??= stopChild(child, ended)),
    exited: new Promise((tell) => {
      void ended.then(() => stopped ?? tell());
    }),
  };
}

async function handshake(
  child: ChildProcess,
  ended: Promise<[code: number | null, signal: string | null]>,
  options: Required<StorageOptions>,
): Promise<StoragePorts> {
  const answered = once(child, 'message') as Promise<[ProcessReply]>;
  // A child that is gone already is told by `ended`, with its exit code; the failed send would say less.
  child.send({ type: 'start', options } satisfies ProcessRequest, () => undefined);
  const first = await Promise.race([answered, ended.then(([code, signal]) => ({ code, signal }))]);
  if (!Array.isArray(first)) {
    throw new Error(`the storage process ended before it was ready (${first.signal ?? `exit code ${first.code}`})`);
  }
  const [message] = first;
  if (message.type === 'ready') return message.ports;
  await ended;
  throw new Error(`storage could not start: ${message.message}`);
}

async function stopChild(
  child: ChildProcess,
  ended: Promise<[code: number | null, signal: string | null]>,
): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.send({ type: 'stop' } satisfies ProcessRequest, () => undefined);
  const overdue = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  const [code, signal] = await ended;
  clearTimeout(overdue);
  if (code !== 0) throw new Error(`the storage process did not end cleanly (${signal ?? `exit code ${code}`})`);
}

function checkAccounts(accounts: readonly StorageAccount[]): void {
  if (accounts.length === 0) throw new Error('storage needs at least one account');
  for (const { account, key } of accounts) {
    if (!/^[a-z0-9]{3,24}$/.test(account)) {
      throw new Error(`"${account}" is not a storage account's name: 3 to 24 lowercase letters and digits`);
    }
    if (Buffer.from(key, 'base64').toString('base64') !== key || key === '') {
      throw new Error(`the key of storage account ${account} is not base64`);
    }
  }
}
