import { BackupError } from '../domain/errors.ts';
import type { Ports } from '../services/ports.ts';
import { type Authenticate, authenticator, requireRole, type TokenRules } from './callers.ts';
import { errorAnswer, MethodNotAllowedError } from './errors.ts';
import { type ArmAnswer, type ArmRequest, publicBase } from './http.ts';
import { checkName } from './names.ts';
import { apiVersionOf, Query } from './query.ts';
import { type Call, findRoute, type Route, segmentsOf } from './route.ts';
import { ROUTES } from './routes.ts';

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
/** The largest body that any call here needs is a policy or a vault, of a few KiB. */
const MOST_BODY_CHARS = 256 * 1024;

/**
 * The API's front door. In ARM's order: who calls, the api-version, the subscription, the resource, whether the caller may, what the
 * names are; then the route's handler. Every answer carries the request's ids, every failure an ARM error body.
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
    if (!ARM_ROOTS.includes(root.toLowerCase())) throw unknownPath(url.pathname);
    const caller = await authenticate(request.headers.get('authorization'));
    const query = new Query(url.searchParams);
    const apiVersion = apiVersionOf(query);
    if (root.toLowerCase() === 'subscriptions') checkSubscription(subscription ?? '', config.subscriptionId);
    const found = findRoute(routes, request.method, segments);
    if (found === undefined) throw unknownPath(url.pathname);
    if ('allowed' in found) throw new MethodNotAllowedError(request.method, found.allowed);
    const { route } = found;
    requireRole(caller, route.role, `${request.method} ${route.template.split('/').at(-1) ?? ''}`);
    const params = { ...found.params, subscription: config.subscriptionId };
    for (const [kind, name] of Object.entries(params)) if (kind !== 'subscription') checkName(kind, name);
    const call: Call<string> = {
      ports,
      params,
      query,
      apiVersion,
      body: () => readJson(request),
      link: linker(publicBase(request, config.publicUrl), apiVersion),
      requireRole: (role, what) => requireRole(caller, role, what),
    };
    return route.handler(call);
  };
  return (request) => withRequestIds(ports, request, () => serve(request));
}

/** Runs `serve`; its failures become error bodies, and the answer tells the ids by which it can be asked about. */
export async function withRequestIds(
  ports: Pick<Ports, 'ids' | 'log'>,
  request: ArmRequest,
  serve: () => Promise<ArmAnswer>,
): Promise<ArmAnswer> {
  const requestId = ports.ids.guid();
  const given = request.headers.get('x-ms-correlation-request-id');
  const correlationId = given !== null && /^[0-9a-f-]{1,64}$/i.test(given) ? given : requestId;
  let answer: ArmAnswer;
  try {
    answer = await serve();
  } catch (error) {
    answer = errorAnswer(error, requestId, ports.log);
  }
  const ids = { 'x-ms-request-id': requestId, 'x-ms-correlation-request-id': correlationId };
  return { ...answer, headers: { 'cache-control': 'no-store', ...answer.headers, ...ids } };
}

/** The body as JSON; undefined when there is none. @throws BackupError InvalidRequest */
export async function readJson(request: ArmRequest): Promise<unknown> {
  const text = await request.text();
  if (text.trim() === '') return undefined;
  if (text.length > MOST_BODY_CHARS) {
    throw new BackupError(
      'InvalidRequest',
      `the body has ${text.length} characters: expected at most ${MOST_BODY_CHARS}`,
      { target: 'body' },
    );
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new BackupError('InvalidRequest', `the body is not JSON: ${(cause as Error).message}`, {
      target: 'body',
      cause,
    });
  }
}

/** @throws BackupError SubscriptionNotFound */
export function checkSubscription(given: string, own: string): void {
  if (given.toLowerCase() === own.toLowerCase()) return;
  throw new BackupError('SubscriptionNotFound', `The subscription '${given}' could not be found.`, {
    target: 'subscriptionId',
  });
}

function unknownPath(path: string): BackupError {
  return new BackupError('ResourceNotFound', `there is nothing at ${path.slice(0, 400)}; docs/api.md lists the paths`);
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
