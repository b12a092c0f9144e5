import { randomUUID } from 'node:crypto';
import {
  Agent,
  createServer as createHttp,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { MAX_BODY_BYTES, readBody } from '../host/body.ts';
import { PlatformError } from './errors.ts';

/** Answers a request of the Fetch API, or undefined, with the body unread, when the request is somebody else's. */
export type Handler = (request: Request) => Promise<Response | undefined>;

export interface Front {
  readonly httpPort: number;
  readonly httpsPort: number;
  close(): Promise<void>;
}

/**
 * Listens on 127.0.0.1 with and without TLS. Each request is offered to `handlers` in order; one that nobody takes goes to the
 * Functions host at `hostPort()`, or is answered with 503 while there is none. `handlers` may be filled after the start.
 */
export async function openFront(options: {
  httpPort: number;
  httpsPort: number;
  tls: { cert: string; key: string };
  handlers: readonly Handler[];
  hostPort: () => number | undefined;
}): Promise<Front> {
  const { handlers, hostPort, tls } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: 256, timeout: 0 });
  const serve = (proto: 'http' | 'https') => (request: IncomingMessage, response: ServerResponse) => {
    answer(request, response, proto).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else sendError(response, 500, 'InternalServerError', error instanceof Error ? error.message : String(error));
    });
  };
  const answer = async (request: IncomingMessage, response: ServerResponse, proto: 'http' | 'https'): Promise<void> => {
    setIds(request, response);
    const body = await readBody(request);
    if (body === undefined)
      return sendError(response, 413, 'RequestEntityTooLarge', `a body may have ${MAX_BODY_BYTES} bytes`);
    const asked = toFetchRequest(request, proto, body);
    if (asked === undefined)
      return sendError(response, 400, 'InvalidRequest', 'the request target or method is not valid');
    for (const handler of handlers) {
      const answered = await handler(asked);
      if (answered !== undefined) return sendFetchResponse(request, response, answered);
    }
    const port = hostPort();
    if (port === undefined)
      return sendError(response, 503, 'ServiceUnavailable', 'the Functions host is starting', { 'retry-after': '1' });
    await proxy(request, response, proto, body, port, agent);
  };

  const http = createHttp(serve('http'));
  const https = createHttps(tls, serve('https'));
  for (const server of [http, https]) {
    // Clients that pool connections for a minute must not meet a connection that this side is closing.
    server.keepAliveTimeout = 65_000;
    server.requestTimeout = 0;
  }
  const httpPort = await listen(http, options.httpPort);
  try {
    const httpsPort = await listen(https, options.httpsPort);
    return {
      httpPort,
      httpsPort,
      async close() {
        await Promise.all([http, https].map(close));
        agent.destroy();
      },
    };
  } catch (error) {
    await close(http);
    throw error;
  }
}

async function listen(server: Server, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen(port, '127.0.0.1', resolve);
  try {
    await promise;
  } catch (error) {
    throw new PlatformError(`port ${port} cannot be used: ${(error as Error).message}`, { cause: error });
  }
  return (server.address() as AddressInfo).port;
}

function close(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeIdleConnections();
  setTimeout(() => server.closeAllConnections(), 1_000).unref();
  return promise;
}

/** Every answer has a request id, also where neither the app nor a handler gives it one; theirs go before. */
function setIds(request: IncomingMessage, response: ServerResponse): void {
  const requestId = randomUUID();
  const given = request.headers['x-ms-correlation-request-id'];
  const isId = typeof given === 'string' && /^[0-9a-f-]{1,64}$/i.test(given);
  response.setHeader('x-ms-request-id', requestId);
  response.setHeader('x-ms-correlation-request-id', isId ? given : requestId);
}

/** Undefined for what the Fetch API cannot express: a target that is no path, TRACE and CONNECT. */
function toFetchRequest(request: IncomingMessage, proto: string, body: Buffer<ArrayBuffer>): Request | undefined {
  const method = request.method ?? 'GET';
  const hasBody = body.length > 0 && method !== 'GET' && method !== 'HEAD';
  const headers = new Headers();
  for (const [name, values] of Object.entries(request.headersDistinct))
    for (const value of values ?? []) headers.append(name, value);
  try {
    const url = new URL(`${proto}://${request.headers.host ?? '127.0.0.1'}${request.url}`);
    return new Request(url, { method, headers, ...(hasBody ? { body: streamOf(body), duplex: 'half' } : {}) });
  } catch {
    return undefined;
  }
}

/** A stream that hands `body` over without copying it: most requests go on to the host, and nobody reads this one. */
function streamOf(body: Buffer<ArrayBuffer>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(body);
      controller.close();
    },
  });
}

async function sendFetchResponse(request: IncomingMessage, response: ServerResponse, answer: Response): Promise<void> {
  const body = Buffer.from(await answer.arrayBuffer());
  const headers: Record<string, string | string[]> = Object.fromEntries(answer.headers);
  const cookies = answer.headers.getSetCookie();
  if (cookies.length > 0) headers['set-cookie'] = cookies;
  if (answer.status !== 204 && answer.status !== 304) headers['content-length'] = String(body.length);
  response.writeHead(answer.status, headers).end(request.method === 'HEAD' ? undefined : body);
}

/** Hands a request to the Functions host and its answer back as it is. */
async function proxy(
  request: IncomingMessage,
  response: ServerResponse,
  proto: string,
  body: Buffer,
  port: number,
  agent: Agent,
): Promise<void> {
  const headers: Record<string, string | string[] | undefined> = { ...request.headers };
  for (const name of ['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'expect']) delete headers[name];
  headers['content-length'] = String(body.length);
  headers['x-forwarded-proto'] = proto;
  headers['x-forwarded-host'] = request.headers.host;
  headers['x-forwarded-for'] = request.socket.remoteAddress;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = httpRequest({ host: '127.0.0.1', port, method: request.method, path: request.url, headers, agent });
  outgoing.once('response', resolve).once('error', reject).end(body);
  let incoming: IncomingMessage;
  try {
    incoming = await promise;
  } catch {
    return sendError(response, 503, 'ServiceUnavailable', 'the Functions host is restarting', { 'retry-after': '1' });
  }
  const answered = { ...incoming.headers };
  for (const name of ['connection', 'keep-alive', 'transfer-encoding']) delete answered[name];
  response.writeHead(incoming.statusCode ?? 502, answered);
  await pipeline(incoming, response);
}

/** An error in ARM's form, which every client of this front understands. */
function sendError(
  response: ServerResponse,
  status: number,
  code: string,
  message: string,
  headers: Record<string, string> = {},
): void {
  const body = JSON.stringify({ error: { code, message } });
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers })
    .end(body);
}
