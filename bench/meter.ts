import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFile } from 'node:fs/promises';
import type { ClientRequest } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { BODY_REQUESTS } from '../shared/azure/body-sockets.ts';
import type { StorageServer } from '../local/storage/server.ts';

/** What something cost. */
export interface Cost {
  readonly seconds: number;
  /** CPU seconds of this process, all threads. */
  readonly cpuSeconds: number;
  /** CPU seconds of the storage process; undefined where the system does not tell. */
  readonly storageCpuSeconds: number | undefined;
  /** The process's peak resident memory, looked at ten times a second, after a collection at the start. */
  readonly peakRssBytes: number;
  /** HTTP requests that left this process, repeated ones too, by what they ask for. */
  readonly requests: Readonly<Record<string, number>>;
}

const LOOK_MS = 100;
/** USER_HZ, which Linux fixes at 100 for what /proc shows. */
const TICKS_PER_SECOND = 100;

setFlagsFromString('--expose-gc');
export const collectGarbage = runInNewContext('gc') as () => void;

/** Runs `work` and answers what it cost, with its result. */
export async function measured<Result>(
  server: StorageServer,
  work: () => Promise<Result>,
): Promise<{ cost: Cost; result: Result }> {
  collectGarbage();
  const requests: Record<string, number> = {};
  const add = (kind: string): void => void (requests[kind] = (requests[kind] ?? 0) + 1);
  const count = (message: unknown): void => {
    const { request } = message as { request: ClientRequest };
    add(kindOf(request.method, request.path, String(request.getHeader('host')), server));
  };
  const countBody = (message: unknown): void => {
    const { url } = message as { url: URL };
    add(kindOf('GET', url.pathname + url.search, url.host, server));
  };
  let peakRssBytes = process.memoryUsage.rss();
  const look = setInterval(() => (peakRssBytes = Math.max(peakRssBytes, process.memoryUsage.rss())), LOOK_MS);
  const storageBefore = await cpuSecondsOf(server.pid);
  const cpuBefore = process.cpuUsage();
  subscribe('http.client.request.start', count);
  subscribe(BODY_REQUESTS, countBody);
  const startedAt = performance.now();
  try {
    const result = await work();
    const seconds = (performance.now() - startedAt) / 1_000;
    const { user, system } = process.cpuUsage(cpuBefore);
    const storageAfter = await cpuSecondsOf(server.pid);
    return {
      result,
      cost: {
        seconds,
        cpuSeconds: (user + system) / 1e6,
        storageCpuSeconds:
          storageAfter === undefined || storageBefore === undefined ? undefined : storageAfter - storageBefore,
        peakRssBytes,
        requests,
      },
    };
  } finally {
    clearInterval(look);
    unsubscribe('http.client.request.start', count);
    unsubscribe(BODY_REQUESTS, countBody);
  }
}

/** CPU time of a process from /proc/<pid>/stat, fields 14 and 15 (proc_pid_stat(5)); undefined where there is no /proc. */
export async function cpuSecondsOf(pid: number): Promise<number | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return undefined;
  }
}

/** What a request asks for, in the words of the storage services' REST references. */
function kindOf(method: string, path: string, host: string, server: StorageServer): string {
  const port = Number(host.split(':')[1]);
  if (port === server.tablePort) return method === 'GET' ? 'table read' : 'table write';
  if (port !== server.blobPort) return 'other';
  const query = new URL(path, 'http://storage').searchParams;
  const comp = query.get('comp');
  if (comp === 'page') return 'put page';
  if (comp === 'pagelist') return query.has('prevsnapshot') ? 'page range diff' : 'page ranges';
  if (comp === 'list') return 'list';
  if (comp !== null) return comp;
  if (query.get('restype') === 'container') return 'container';
  switch (method) {
    case 'GET':
      return query.has('snapshot') ? 'get snapshot bytes' : 'get blob';
    case 'PUT':
      return 'put blob';
    case 'HEAD':
      return 'head';
    default:
      return method.toLowerCase();
  }
}
