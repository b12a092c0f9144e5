import { ArmError, errorResponse } from './errors.ts';
import { authenticate, type TokenVerifier } from './authenticate.ts';

/** Serves the requests that are its own and answers undefined to all others, so that handlers can be asked in turn. */
export type Handler = (request: Request) => Promise<Response | undefined>;

/**
 * An ARM path taken apart. Keywords (`subscriptions`, `resourceGroups`, `providers`) match without case; names keep the
 * case in which they came. `resource` holds the segments after the provider: type, name, type, name, ... or an action.
 */
export interface ArmPath {
  segments: string[];
  subscriptionId: string | undefined;
  resourceGroup: string | undefined;
  provider: string | undefined;
  resource: string[];
  /** What of the path is left when it names no provider: segments after the subscription or resource group. */
  rest: string[];
}

/**
 * Takes a URL's path apart. Doubled and trailing slashes are dropped: the Azure CLI sends both.
 * @throws ArmError when a segment is not properly percent-encoded.
 */
export function parseArmPath(pathname: string): ArmPath {
  const segments = pathname
    .split('/')
    .filter((segment) => segment !== '')
    .map(decodeSegment);
  const path: ArmPath = {
    segments,
    subscriptionId: undefined,
    resourceGroup: undefined,
    provider: undefined,
    resource: [],
    rest: segments,
  };
  let rest = segments;
  if (sameText(rest[0], 'subscriptions') && rest[1] !== undefined) {
    path.subscriptionId = rest[1];
    rest = rest.slice(2);
    if (sameText(rest[0], 'resourcegroups') && rest[1] !== undefined) {
      path.resourceGroup = rest[1];
      rest = rest.slice(2);
    }
    if (sameText(rest[0], 'providers') && rest[1] !== undefined) {
      path.provider = rest[1];
      path.resource = rest.slice(2);
      rest = [];
    }
    path.rest = rest;
  }
  return path;
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new ArmError(400, 'InvalidUri', `The path segment '${segment}' is not properly percent-encoded.`);
  }
}

/** ARM compares names and keywords without case. */
export function sameText(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && a.toLowerCase() === b.toLowerCase();
}

/**
 * The address under which the client knows this server, without a trailing slash: what the front forwarded in
 * `x-forwarded-proto` and `x-forwarded-host`, else the request's own URL.
 */
export function publicBase(request: Request): string {
  const url = new URL(request.url);
  const protocol = firstOf(request.headers.get('x-forwarded-proto')) ?? url.protocol.slice(0, -1);
  const host = firstOf(request.headers.get('x-forwarded-host')) ?? url.host;
  return `${protocol}://${host}`;
}

function firstOf(header: string | null): string | undefined {
  return header?.split(',')[0]?.trim() || undefined;
}

/**
 * What ARM asks of every call before it looks at the resource, in ARM's order: a valid token, an api-version, the
 * subscription that exists here.
 */
export interface ArmRules {
  subscriptionId: string;
  /** Left out only where the front has checked the token before. */
  verify?: TokenVerifier | undefined;
}

/** Runs `serve` under the rules and turns every failure into an ARM error body. */
export async function serveArm(
  request: Request,
  rules: ArmRules,
  path: ArmPath,
  serve: () => Promise<Response>,
): Promise<Response> {
  try {
    if (rules.verify !== undefined) await authenticate(request, rules.verify);
    requireApiVersion(new URL(request.url));
    if (path.subscriptionId !== undefined && !sameText(path.subscriptionId, rules.subscriptionId)) {
      throw new ArmError(
        404,
        'SubscriptionNotFound',
        `The subscription '${path.subscriptionId}' could not be found. The local platform has '${rules.subscriptionId}'.`,
      );
    }
    return await serve();
  } catch (error) {
    return errorResponse(error);
  }
}

const API_VERSION = /^\d{4}-\d{2}-\d{2}(-[a-z]+(\.\d+)?)?$/i;

/** @throws ArmError unless `api-version` is there and is a date, perhaps with a suffix such as `-preview`. */
export function requireApiVersion(url: URL): string {
  // Query keys are compared without case by ARM.
  const version = [...url.searchParams].find(([key]) => sameText(key, 'api-version'))?.[1];
  if (version === undefined || version === '') {
    throw new ArmError(
      400,
      'MissingApiVersionParameter',
      'The api-version query parameter (?api-version=) is required for all requests.',
    );
  }
  if (!API_VERSION.test(version)) {
    throw new ArmError(
      400,
      'InvalidApiVersionParameter',
      `The api-version '${version}' is invalid. It must be a date such as 2026-03-02, optionally followed by -preview.`,
    );
  }
  return version;
}
