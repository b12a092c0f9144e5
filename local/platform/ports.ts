import { createServer } from 'node:net';
import { PlatformError } from './errors.ts';

export interface Ports {
  readonly http: number;
  readonly https: number;
  readonly blob: number;
  readonly queue: number;
  readonly table: number;
}

const WELL_KNOWN: Ports = { http: 7071, https: 7443, blob: 10000, queue: 10001, table: 10002 };

/**
 * The ports of a platform: the well-known ones without `base`, free ones for base 0 (0 stays 0: who listens finds one), else
 * five from `base` on.
 * @throws PlatformError when `base` is no port or one of the ports is taken
 */
export async function choosePorts(base: number | undefined): Promise<Ports> {
  if (base === 0) return { http: 0, https: 0, blob: 0, queue: 0, table: 0 };
  if (base !== undefined && (!Number.isInteger(base) || base < 1 || base > 65_531))
    throw new PlatformError(`STRATA_PORT_BASE must be 0 (free ports) or 1 to 65531; it is ${base}`);
  const ports: Ports =
    base === undefined ? WELL_KNOWN : { http: base, https: base + 1, blob: base + 2, queue: base + 3, table: base + 4 };
  for (const [name, port] of Object.entries(ports)) await requireFree(name, port as number);
  return ports;
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
