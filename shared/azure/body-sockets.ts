import { channel } from 'node:diagnostics_channel';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** A GET whose body is to land in memory of the caller's. */
export interface BodyRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** The body has exactly this length, or the answer is not what was asked for. */
  readonly into: Uint8Array;
  readonly abortSignal: AbortSignal;
}

/** `isFilled`: status 206, and the body is in place. Everything else is somebody else's to ask again and to understand. */
export interface BodyAnswer {
  /** Undefined when there was no answer: the connection failed, broke off, or said what is no HTTP/1.1. */
  readonly status?: number;
  readonly isFilled: boolean;
  readonly retryAfterMs?: number;
}

/** Where requests are told as they leave, as Node tells those of `node:http` by `http.client.request.start`: `{ url: URL }`. */
export const BODY_REQUESTS = 'strata.body-request.start';
const leaving = channel(BODY_REQUESTS);

const NOTHING: BodyAnswer = { isFilled: false };
const HEAD_END = Buffer.from('\r\n\r\n');
/** More than any storage sends before a body. */
const MOST_HEAD_BYTES = 16 * 1024;
/** Connections kept for each host while nothing is asked, and how long: less than servers wait before they close one. */
const IDLE_KEPT = 16;
const IDLE_MS = 4_000;

/**
 * What all sockets are read through: a chunk is used up before the next one is read. `node:http` allocates each chunk twice, and V8
 * collects the whole heap for every 32 to 64 MiB of such memory: that costs more than the reading.
 */
const SCRATCH = Buffer.allocUnsafeSlow(256 * 1024);

const idle = new Map<string, Connection[]>();

/** How many hosts have connections that are kept. A managed disk has a host of its own, so none may stay for ever. */
export const idleHosts = (): number => idle.size;

/** Asks once, never throws, and keeps connections open for the next request. */
export async function requestBody(request: BodyRequest): Promise<BodyAnswer> {
  if (request.abortSignal.aborted) return NOTHING;
  leaving.publish({ url: request.url });
  const connection = kept(request.url.origin) ?? new Connection(request.url);
  const answer = await connection.ask(request);
  if (connection.isReusable) keep(request.url.origin, connection);
  return answer;
}

function kept(origin: string): Connection | undefined {
  for (let last = idle.get(origin)?.at(-1); last !== undefined; last = idle.get(origin)?.at(-1)) {
    forget(origin, last);
    if (last.isReusable && performance.now() - last.usedAt < IDLE_MS) return last;
    last.close();
  }
  return undefined;
}

function keep(origin: string, connection: Connection): void {
  const own = idle.get(origin) ?? [];
  if (own.length >= IDLE_KEPT) return connection.close();
  idle.set(origin, [...own, connection]);
  connection.rest(() => forget(origin, connection));
}

function forget(origin: string, connection: Connection): void {
  const left = idle.get(origin)?.filter((own) => own !== connection) ?? [];
  if (left.length > 0) idle.set(origin, left);
  else idle.delete(origin);
}

interface Exchange {
  readonly into: Uint8Array;
  readonly done: (answer: BodyAnswer) => void;
  /** What came before the end of the head was seen. */
  head: Buffer;
  /** Bytes of the body in place; undefined before the head was read. */
  filled: number | undefined;
  /** The server closes the connection after this answer. */
  isLast: boolean;
}

/** One socket: one request at a time, and none after an answer that was not read to its end. */
class Connection {
  usedAt = 0;
  readonly #socket: Socket;
  #exchange: Exchange | undefined;
  #gone: () => void = () => undefined;

  constructor({ protocol, hostname, port }: URL) {
    const host = hostname.replace(/^\[(.*)\]$/, '$1');
    const onread = {
      buffer: SCRATCH,
      callback: (length: number): boolean => {
        this.#take(SCRATCH.subarray(0, length));
        return true;
      },
    };
    const http = { host, port: Number(port || 80), onread };
    const https = { ...http, port: Number(port || 443), servername: nameFor(host), ALPNProtocols: ['http/1.1'] };
    this.#socket = protocol === 'https:' ? connectTls(https) : connect(http);
    this.#socket.setNoDelay(true);
    this.#socket.once('error', () => this.#end(NOTHING));
    this.#socket.once('close', () => {
      this.#end(NOTHING);
      this.#gone();
    });
    this.#socket.on('timeout', () => this.close());
  }

  get isReusable(): boolean {
    return !this.#socket.destroyed && this.#exchange === undefined;
  }

  async ask({ url, headers, into, abortSignal }: BodyRequest): Promise<BodyAnswer> {
    const abort = (): void => this.close();
    abortSignal.addEventListener('abort', abort, { once: true });
    this.#socket.ref();
    this.#socket.setTimeout(0);
    try {
      return await new Promise<BodyAnswer>((done) => {
        this.#exchange = { into, done, head: Buffer.alloc(0), filled: undefined, isLast: false };
        const lines = Object.entries({ Host: url.host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
        this.#socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1');
      });
    } finally {
      abortSignal.removeEventListener('abort', abort);
      this.usedAt = performance.now();
      // An idle connection keeps no process alive.
      this.#socket.unref();
    }
  }

  /** Waits for the next request, for a while; `gone` is told when it is over with the connection. */
  rest(gone: () => void): void {
    this.#gone = gone;
    this.#socket.setTimeout(IDLE_MS);
  }

  close(): void {
    this.#socket.destroy();
    this.#end(NOTHING);
  }

  #end(answer: BodyAnswer): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (!answer.isFilled) this.#socket.destroy();
    exchange?.done(answer);
  }

  #take(chunk: Buffer): void {
    const exchange = this.#exchange;
    // Nobody asked for these bytes: whatever comes next on this connection could not be told from them.
    if (exchange === undefined) return void this.#socket.destroy();
    if (exchange.filled !== undefined) return this.#fill(exchange, chunk);
    const head = exchange.head.length === 0 ? chunk : Buffer.concat([exchange.head, chunk]);
    const end = head.indexOf(HEAD_END);
    if (end < 0) {
      if (head.length > MOST_HEAD_BYTES) this.close();
      else exchange.head = Buffer.from(head);
      return;
    }
    const answer = readHead(head.toString('latin1', 0, end));
    if (answer.status !== 206 || answer.bodyBytes !== exchange.into.length) {
      const { status, retryAfterMs } = answer;
      return this.#end({
        isFilled: false,
        ...(status === undefined ? {} : { status }),
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      });
    }
    exchange.filled = 0;
    exchange.isLast = answer.isLast;
    this.#fill(exchange, head.subarray(end + HEAD_END.length));
  }

  #fill(exchange: Exchange, chunk: Buffer): void {
    const filled = exchange.filled! + chunk.length;
    if (filled > exchange.into.length) return this.close();
    exchange.into.set(chunk, exchange.filled);
    exchange.filled = filled;
    if (filled < exchange.into.length) return;
    this.#end({ status: 206, isFilled: true });
    if (exchange.isLast) this.#socket.destroy();
  }
}

/** TLS has names alone: an address is checked against the certificate, but not sent. */
const nameFor = (host: string): string => (/^[\d.]+$|:/.test(host) ? '' : host);

interface Head {
  readonly status?: number;
  /** Undefined when the body's length is not told beforehand, or the body comes in chunks. */
  readonly bodyBytes?: number;
  readonly retryAfterMs?: number;
  readonly isLast: boolean;
}

/** Status line and headers, as RFC 9112 has them. */
function readHead(text: string): Head {
  const [statusLine = '', ...lines] = text.split('\r\n');
  const status = /^HTTP\/1\.1 ([2-5]\d\d)(?: |$)/.exec(statusLine)?.[1];
  if (status === undefined) return { isLast: true };
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  const length = headers.get('content-length');
  const retryAfter = Number(headers.get('retry-after') ?? Number.NaN);
  return {
    status: Number(status),
    ...(length !== undefined && !headers.has('transfer-encoding') ? { bodyBytes: Number(length) } : {}),
    ...(Number.isFinite(retryAfter) ? { retryAfterMs: retryAfter * 1000 } : {}),
    isLast: headers.get('connection')?.toLowerCase() === 'close',
  };
}
