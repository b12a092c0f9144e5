import { BackupError } from '../domain/errors.ts';
import type { Ports } from '../services/ports.ts';
import { withIds } from '../services/request-context.ts';
import { type Authenticate, authenticator, requireRole, type TokenRules } from './callers.ts';
import { errorAnswer, MethodNotAllowedError } from './errors.ts';
import { preconditionOf } from './etag.ts';
import { type ArmAnswer, type ArmRequest, publicBase } from './http.ts';
import { apiVersionOf } from './api-version.ts';
import { Query } from './query.ts';
import { checkLength, checkMediaType, readJson } from './request-body.ts';
import { type Call, findRoute, type Route, segmentsOf } from './route.ts';
import { ROUTES } from './routes.ts';
import { parseAs } from './schemas/common.ts';
import { nothingAt, unknownPath } from './unknown-path.ts';

/** What of a deployment's settings the API needs. */
export interface ArmSettings {
  readonly subscriptionId: string;
  readonly tokens: TokenRules;
  readonly publicUrl: string | undefined;
}

export interface ArmApp {
  readonly config: ArmSettings;
  readonly ports: Ports;
}

/** Paths that are ARM's: nobody else's are asked for a token. */
const ARM_ROOTS = ['subscriptions', 'providers'];
/**
 * The API's front door. In ARM's order: who calls, the api-version, the subscription, the resource, whether the caller may, what the
 * names, the query and the body are; then the route's handler, which sees nothing that its schemas have not passed. Every answer carries the request's ids, every failure an ARM error body.
 */
export function armApi(
  { config, ports }: ArmApp,
  authenticate: Authenticate = authenticator(config.tokens),
  routes: readonly Route[] = ROUTES,
): (request: ArmRequest) => Promise<ArmAnswer> {
  const serve = async (request: ArmRequest): Promise<ArmAnswer> => {
    const url = new URL(request.url);
    const segments = segmentsOf(url.pathname);
    if (segments === undefined) {
      throw new BackupError('InvalidRequest', `the path ${url.pathname} is not properly percent-encoded`, {
        target: 'path',
      });
    }
    const [root = '', subscription] = segments;
    if (!ARM_ROOTS.includes(root.toLowerCase())) throw nothingAt(segments);
    const caller = await authenticate(request.headers.get('authorization'));
    const query = new Query(url.searchParams);
    const apiVersion = apiVersionOf(query, ports.clock.now());
    if (root.toLowerCase() === 'subscriptions') checkSubscription(subscription ?? '', config.subscriptionId);
    const found = findRoute(routes, request.method, segments);
    if (found === undefined) throw unknownPath(routes, segments, apiVersion);
    if (!('route' in found)) throw new MethodNotAllowedError(request.method, found.allowed);
    const { route } = found;
    requireRole(caller, route.role, `${request.method} ${route.template.split('/').at(-1) ?? ''}`);
    const names = parseAs(route.params, found.params, 'InvalidResourceName') as Record<string, string>;
    if (route.refusal !== undefined) throw refusalOf(route, found.allowed);
    const asked = parseAs(route.query, query.pick(Object.keys(route.query.shape)));
    const body = await bodyOf(route, request);
    const link = linker(publicBase(request, config.publicUrl), apiVersion);
    const call: Call<string> = {
      ports,
      caller,
      params: 'subscription' in names ? { ...names, subscription: config.subscriptionId } : names,
      query: asked,
      body,
      apiVersion,
      precondition: preconditionOf(request.headers),
      link,
      pageLink: (path, skipToken) =>
        link(path, { $filter: query.get('$filter'), $top: query.get('$top'), $skipToken: skipToken }),
      requireRole: (role, what) => requireRole(caller, role, what),
    };
    return route.handler(call);
  };
  return (request) => withRequestIds(ports, request, () => serve(request));
}

/** Runs `serve` under the request's ids, which the answer and the log tell; its failures become error bodies. */
export async function withRequestIds(
  ports: Pick<Ports, 'ids' | 'log'>,
  request: ArmRequest,
  serve: () => Promise<ArmAnswer>,
): Promise<ArmAnswer> {
  const requestId = ports.ids.guid();
  const given = request.headers.get('x-ms-correlation-request-id');
  const correlationId = given !== null && /^[0-9a-f-]{1,64}$/i.test(given) ? given : requestId;
  const answer = await withIds({ requestId, correlationId }, async () => {
    try {
      return await serve();
    } catch (error) {
      return errorAnswer(error, requestId, ports.log);
    }
  });
  const ids = { 'x-ms-request-id': requestId, 'x-ms-correlation-request-id': correlationId };
  return { ...answer, headers: { 'cache-control': 'no-store', ...answer.headers, ...ids } };
}

/** What the route's schema makes of the body. Routes without one look at no body. */
async function bodyOf(route: Route, request: ArmRequest): Promise<unknown> {
  checkLength(request);
  if (route.body === undefined) return undefined;
  const json = await readJson(request, checkMediaType);
  return parseAs(route.body, json, route.bodyCode);
}

function refusalOf({ method, refusal }: Route, allowed: readonly string[]): BackupError {
  const { code, why } = refusal!;
  return code === 'MethodNotAllowed' ? new MethodNotAllowedError(method, allowed, why) : new BackupError(code, why);
}

/** @throws BackupError SubscriptionNotFound */
export function checkSubscription(given: string, own: string): void {
  if (given.toLowerCase() === own.toLowerCase()) return;
  throw new BackupError('SubscriptionNotFound', `The subscription '${given}' could not be found.`, {
    target: 'subscriptionId',
  });
}

/** Makes absolute links: a path, the api-version, and what else the query should say. */
export function linker(base: string, apiVersion: string): Call['link'] {
  return (path, query = {}) => {
    const encoded = path
      .split('/')
      .map((segment) => encodeURIComponent(segment).replaceAll('%3B', ';'))
      .join('/');
    const given = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined);
    // Names of OData options keep their $, values are encoded with %20: both spellings are what ARM itself writes.
    const rest = given.map(([name, value]) => `&${name}=${encodeURIComponent(value)}`).join('');
    return `${base}${encoded}?api-version=${apiVersion}${rest}`;
  };
}
