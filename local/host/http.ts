import { timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { HttpFunction } from './bindings.ts';
import { readBody } from './body.ts';
import { cookieHeader } from './cookies.ts';
import type { Invoker } from './invoke.ts';
import type { HostLog } from './log.ts';
import { decodePath } from './routes.ts';
import type { RpcHttpData, RpcInvocationResponse } from './rpc.ts';

export interface HostKeys {
  /** The host's default key: opens functions of level `function`. */
  readonly functionKey: string;
  /** The master key: opens everything. */
  readonly masterKey: string;
}

/**
 * Serves HTTP-triggered functions. Unknown paths and methods get 404, missing or wrong keys 401, a function that throws 500, one
 * that returns nothing 204.
 */
export function createHttpServer(options: {
  functions: readonly HttpFunction[];
  keys: HostKeys;
  invoker: Invoker;
  log: HostLog;
  sendOutputs: (fn: HttpFunction, response: RpcInvocationResponse) => Promise<void>;
}): Server {
  const { keys, invoker, log, sendOutputs } = options;
  const functions = [...options.functions].sort((a, b) =>
    a.route.precedence < b.route.precedence ? -1 : a.route.precedence > b.route.precedence ? 1 : 0,
  );

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = requestUrl(request);
    const found = url === undefined ? undefined : findFunction(functions, request.method ?? 'GET', url.pathname);
    if (url === undefined || found === undefined) return end(response, url === undefined ? 400 : 404);
    const { fn, params } = found;
    if (!isAuthorized(fn, request, url, keys)) return end(response, 401);
    const body = await readBody(request);
    if (body === undefined) return end(response, 413);
    let answer: RpcInvocationResponse;
    try {
      const http = toRpcHttp(request, url, params, body);
      answer = await invoker.invoke(fn.fn, { name: fn.bindingName, data: { http } }, {});
      await sendOutputs(fn, answer);
    } catch {
      // The invoker has logged it; the caller learns as little as on Azure.
      return end(response, 500);
    }
    sendAnswer(request, response, answer.returnValue?.http ?? undefined);
  };

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      log.write('warning', 'Host.Http', 'http', `${request.method} ${request.url}: ${String(error)}`);
      response.destroy();
    });
  });
  // The front keeps its connections: this side must not be the first to close them.
  server.keepAliveTimeout = 120_000;
  server.requestTimeout = 0;
  return server;
}

function findFunction(functions: readonly HttpFunction[], method: string, path: string) {
  for (const fn of functions) {
    if (!fn.methods.has(method)) continue;
    const params = fn.route.match(path);
    if (params !== undefined) return { fn, params };
  }
  return undefined;
}

function isAuthorized(fn: HttpFunction, request: IncomingMessage, url: URL, keys: HostKeys): boolean {
  if (fn.authLevel === 'anonymous') return true;
  const header = request.headers['x-functions-key'];
  const given = (typeof header === 'string' ? header : undefined) ?? url.searchParams.get('code') ?? '';
  const accepted = fn.authLevel === 'admin' ? [keys.masterKey] : [keys.functionKey, keys.masterKey];
  return accepted.some((key) => isSame(given, key));
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

/** The URL as the client sees it: what a proxy in front says comes first. Undefined for a target that is no URL. */
function requestUrl(request: IncomingMessage): URL | undefined {
  const proto = firstOf(request.headers['x-forwarded-proto']) ?? 'http';
  const host = firstOf(request.headers['x-forwarded-host']) ?? request.headers.host ?? 'localhost';
  const target = request.url ?? '/';
  return URL.parse(target.startsWith('/') ? `${proto}://${host}${target}` : target) ?? undefined;
}

function firstOf(header: string | string[] | undefined): string | undefined {
  return (Array.isArray(header) ? header[0] : header)?.split(',')[0]?.trim();
}

/** Headers and query values that occur several times are joined with commas, as the Functions host hands them over. */
function toRpcHttp(request: IncomingMessage, url: URL, params: Record<string, string>, body: Buffer): RpcHttpData {
  const headers: Record<string, { value: string }> = {};
  for (const [name, values] of Object.entries(request.headersDistinct))
    if (values !== undefined) headers[name] = { value: values.join(',') };
  const query: Record<string, { value: string }> = {};
  const casing = new Map<string, string>();
  for (const [name, value] of url.searchParams) {
    const key = casing.get(name.toLowerCase()) ?? name;
    casing.set(name.toLowerCase(), key);
    const before = query[key];
    query[key] = { value: before === undefined ? value : `${before.value},${value}` };
  }
  const nullableParams = Object.fromEntries(Object.entries(params).map(([name, value]) => [name, { value }]));
  return {
    method: request.method ?? 'GET',
    url: `${url.origin}${encodePath(decodePath(url.pathname))}${url.search}`,
    nullableHeaders: headers,
    nullableQuery: query,
    nullableParams,
    body: { bytes: body },
  };
}

/** Escapes a decoded path as ASP.NET Core's PathString does, so that a function sees `;` and `%2F` the way it will on Azure. */
function encodePath(path: string): string {
  return path.replace(/%(?![0-9a-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]+/gi, (text) => encodeURIComponent(text));
}

function sendAnswer(request: IncomingMessage, response: ServerResponse, http: RpcHttpData | undefined): void {
  if (http === undefined) return end(response, 204);
  for (const [name, value] of Object.entries(http.headers ?? {})) response.setHeader(name, value);
  if (http.cookies !== undefined && http.cookies.length > 0)
    response.setHeader('set-cookie', http.cookies.map(cookieHeader));
  response.statusCode = Number(http.statusCode ?? 200);
  const body = http.body?.bytes ?? Buffer.alloc(0);
  const isBodiless = response.statusCode === 204 || response.statusCode === 304;
  if (!isBodiless && request.method !== 'HEAD') response.setHeader('content-length', body.length);
  response.end(isBodiless || request.method === 'HEAD' ? undefined : body);
}

function end(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  response.writeHead(status, status === 204 ? headers : { 'content-length': '0', ...headers }).end();
}
