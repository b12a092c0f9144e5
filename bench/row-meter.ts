import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ClientRequest, IncomingMessage } from 'node:http';

/** What was asked of tables while something ran. */
export interface RowCounts {
  /** All of them, listings included. */
  readonly requests: number;
  /** Writes that somebody else's write had come before: 409 and 412. */
  readonly conflicts: number;
  /** The rows that were read and written most often, as their tables name them. */
  readonly mostRead: HotRow;
  readonly mostWritten: HotRow;
}

export interface HotRow {
  readonly row: string;
  readonly times: number;
}

/** Runs `work` and counts its requests to the service at `tablePort`, by row. */
export async function countingRows<Result>(
  tablePort: number,
  work: () => Promise<Result>,
): Promise<{ rows: RowCounts; result: Result }> {
  const read = new Map<string, number>();
  const written = new Map<string, number>();
  let conflicts = 0;
  let requests = 0;
  const count = (message: unknown): void => {
    const { request, response } = message as { request: ClientRequest; response: IncomingMessage };
    if (Number(String(request.getHeader('host')).split(':')[1]) !== tablePort) return;
    requests++;
    if (response.statusCode === 409 || response.statusCode === 412) conflicts++;
    const row = rowOf(request.path);
    if (row === undefined) return;
    const times = request.method === 'GET' ? read : written;
    times.set(row, (times.get(row) ?? 0) + 1);
  };
  subscribe('http.client.response.finish', count);
  try {
    const result = await work();
    return { rows: { requests, conflicts, mostRead: most(read), mostWritten: most(written) }, result };
  } finally {
    unsubscribe('http.client.response.finish', count);
  }
}

/** The table of a path that names one row, and what tells its rows apart for a reader; undefined for listings and inserts. */
function rowOf(path: string): string | undefined {
  const [, table, keys] = /\/([A-Za-z]+)\((PartitionKey=.*)\)/.exec(decodeURIComponent(path)) ?? [];
  return table === undefined || keys === undefined ? undefined : `${table} ${keys}`;
}

function most(counts: ReadonlyMap<string, number>): HotRow {
  const [row = 'none', times = 0] = [...counts].sort(([, a], [, b]) => b - a)[0] ?? [];
  return { row: row.split(' ')[0]!, times };
}
