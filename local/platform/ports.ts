import { createServer } from 'node:net';
import { z } from 'zod';
import { PlatformError } from './errors.ts';
import { readFileIfAny, writeFileAtomic } from './files.ts';

export interface Ports {
  readonly http: number;
  readonly https: number;
  readonly blob: number;
  readonly queue: number;
  readonly table: number;
}

const WELL_KNOWN: Ports = { http: 7071, https: 7443, blob: 10000, queue: 10001, table: 10002 };

const FREE: Ports = { http: 0, https: 0, blob: 0, queue: 0, table: 0 };

/**
 * The ports of a platform: the well-known ones without `base`, else five from `base` on. For base 0 those of the first run, as far
 * as they are free, and free ones in place of the others (0: who listens finds one).
 * @throws PlatformError when `base` is no port or one of the ports is taken
 */
export async function choosePorts(base: number | undefined, before: Ports | undefined): Promise<Ports> {
  if (base === 0) {
    const free = await Promise.all(
      Object.entries(before ?? FREE).map(async ([name, port]) => [name, (await isFree(port)) ? port : 0]),
    );
    return Object.fromEntries(free) as Ports;
  }
  if (base !== undefined && (!Number.isInteger(base) || base < 1 || base > 65_531))
    throw new PlatformError(`STRATA_PORT_BASE must be 0 (free ports) or 1 to 65531; it is ${base}`);
  const ports: Ports =
    base === undefined ? WELL_KNOWN : { http: base, https: base + 1, blob: base + 2, queue: base + 3, table: base + 4 };
  for (const [name, port] of Object.entries(ports)) await requireFree(name, port as number);
  return ports;
}

const portsFile = z.object({
  http: z.int(),
  https: z.int(),
  blob: z.int(),
  queue: z.int(),
  table: z.int(),
});

/** The ports of the folder's first run; undefined when there was none, or its note cannot be read. */
export function firstPorts(path: string): Ports | undefined {
  try {
    return portsFile.parse(JSON.parse(readFileIfAny(path) ?? ''));
  } catch {
    return undefined;
  }
}

export function keepPorts(path: string, ports: Ports): void {
  writeFileAtomic(path, `${JSON.stringify(ports)}\n`);
}

async function isFree(port: number): Promise<boolean> {
  try {
    await requireFree('', port);
    return true;
  } catch {
    return false;
  }
}

async function requireFree(name: string, port: number): Promise<void> {
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen(port, '127.0.0.1', resolve);
  try {
    await promise;
  } catch (error) {
    throw new PlatformError(
      `port ${port} (${name}) cannot be used: ${(error as Error).message}; stop what uses it, or set STRATA_PORT_BASE=0`,
    );
  } finally {
    server.close();
  }
}
