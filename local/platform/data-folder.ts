import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { PlatformError } from './errors.ts';
import { readFileIfAny, writeFileAtomic } from './files.ts';

/** Where a platform keeps what survives a restart. */
export interface DataFolder {
  readonly path: string;
  readonly endpointsFile: string;
  readonly clockFile: string;
  readonly timerStatusFile: string;
  /** The ports of the first run: disks and snapshots are known by URLs that hold the one of storage. */
  readonly portsFile: string;
  readonly tlsFolder: string;
  readonly storageFolder: string;
  /** The environment of host processes, for workers that join. Holds keys: readable by its owner alone. */
  readonly hostEnvFile: string;
}

/** What a platform is to its clients: made at the first start, the same ever after. */
export interface PlatformIds {
  readonly subscriptionId: string;
  readonly tenantId: string;
  readonly functionKey: string;
  readonly masterKey: string;
}

const ids = z.object({
  subscriptionId: z.guid(),
  tenantId: z.guid(),
  functionKey: z.string().min(20),
  masterKey: z.string().min(20),
});

export function dataFolder(path: string): DataFolder {
  const root = resolve(path);
  return {
    path: root,
    endpointsFile: join(root, 'endpoints.json'),
    clockFile: join(root, 'clock.json'),
    timerStatusFile: join(root, 'timers.json'),
    portsFile: join(root, 'ports.json'),
    tlsFolder: join(root, 'tls'),
    storageFolder: join(root, 'storage'),
    hostEnvFile: join(root, 'host-env.json'),
  };
}

export function ensureIds(folder: DataFolder): PlatformIds {
  const path = join(folder.path, 'platform.json');
  const text = readFileIfAny(path);
  if (text !== undefined) {
    const parsed = ids.safeParse(tryJson(text));
    if (parsed.success) return parsed.data;
    throw new PlatformError(`${path} is damaged: delete the data folder to start afresh`);
  }
  const newKey = () => randomBytes(40).toString('base64url');
  const made = { subscriptionId: randomUUID(), tenantId: randomUUID(), functionKey: newKey(), masterKey: newKey() };
  writeFileAtomic(path, JSON.stringify(made, undefined, 2), 0o600);
  return made;
}

interface Lock {
  readonly pid: number;
  /** Tells the process from a later one with the same pid; absent where the system does not say. */
  readonly startedTicks: string | undefined;
}

/**
 * Makes the folders and takes them for this process until the returned function is called. The lock of a process that has died is
 * taken over.
 * @throws PlatformError when another platform has it, or it cannot be made
 */
export function lockFolder(folder: DataFolder): () => void {
  makeFolder(folder.storageFolder);
  const path = lockFile(folder);
  const mine: Lock = { pid: process.pid, startedTicks: startTicks(process.pid) };
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      writeFileSync(path, JSON.stringify(mine), { flag: 'wx' });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = folderHolder(folder);
    if (holder !== undefined)
      throw new PlatformError(
        `a platform is already running on ${folder.path} (pid ${holder}): stop it, or set STRATA_DATA to another folder`,
      );
    rmSync(path, { force: true });
  }
  throw new PlatformError(`another platform is starting on ${folder.path}`);
}

/** mkdir's own `recursive` never ends where a file system has no such folders, as below /proc. */
function makeFolder(path: string): void {
  try {
    mkdirSync(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return;
    if (code !== 'ENOENT' || existsSync(dirname(path)))
      throw new PlatformError(
        `the data folder cannot be used: ${message}; set STRATA_DATA to a folder that can be written`,
        { cause: error },
      );
    makeFolder(dirname(path));
    makeFolder(path);
  }
}

/** The pid of the process that runs a platform on this folder; undefined when none does. */
export function folderHolder(folder: DataFolder): number | undefined {
  const holder = tryJson(readFileIfAny(lockFile(folder)) ?? '') as Lock | undefined;
  return holder !== undefined && isAlive(holder) ? holder.pid : undefined;
}

function lockFile(folder: DataFolder): string {
  return join(folder.path, 'platform.lock');
}

function isAlive({ pid, startedTicks }: Lock): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is there, and somebody else's.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  const ticks = startTicks(pid);
  return ticks === undefined || startedTicks === undefined || ticks === startedTicks;
}

/** When a process started, in clock ticks since boot: field 22 of Linux' /proc/<pid>/stat. */
function startTicks(pid: number): string | undefined {
  try {
    const stat = readFileIfAny(`/proc/${pid}/stat`);
    return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
