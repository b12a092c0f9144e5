import type { Ports } from '../services/ports.ts';
import type { Role } from './callers.ts';
import type { ArmAnswer } from './http.ts';
import type { Query } from './query.ts';

/** The names in braces of a path template. */
export type ParamsOf<Template extends string> = Template extends `${string}{${infer Name}}${infer Rest}`
  ? Name | ParamsOf<Rest>
  : never;

/** A call that has passed the front door: who calls may make it, and its names are names. */
export interface Call<Params extends string = never> {
  readonly ports: Ports;
  readonly params: Readonly<Record<Params, string>>;
  readonly query: Query;
  readonly apiVersion: string;
  /** The body as JSON; undefined when it is empty. @throws BackupError InvalidRequest when it is not JSON */
  body(): Promise<unknown>;
  /** An absolute link to a path of this API, with the call's api-version and `query`. */
  link(path: string, query?: Readonly<Record<string, string | undefined>>): string;
  /** For what needs more than the route does. @throws BackupError AuthorizationFailed */
  requireRole(role: Role, what: string): void;
}

export type Method = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';

/** What is answered to a method on a path, and who may ask. */
export interface Route {
  readonly method: Method;
  readonly template: string;
  readonly role: Role;
  readonly handler: (call: Call<string>) => Promise<ArmAnswer>;
}

/** A row of the table; the compiler checks that the template has every name that the handler reads. */
export function route<Template extends string>(
  method: Method,
  template: Template,
  role: Role,
  handler: (call: Call<ParamsOf<Template>>) => Promise<ArmAnswer>,
): Route {
  return { method, template, role, handler };
}

/** A path's segments, decoded: doubled and trailing slashes are dropped, since clients send both. Undefined: not properly encoded. */
export function segmentsOf(pathname: string): string[] | undefined {
  try {
    return pathname
      .split('/')
      .filter((segment) => segment !== '')
      .map((segment) => decodeURIComponent(segment));
  } catch {
    return undefined;
  }
}

/** The values of a template's names if it matches. Literal segments are compared without case, as everything in ARM. */
export function matchTemplate(template: string, segments: readonly string[]): Record<string, string> | undefined {
  const parts = template.split('/').filter((part) => part !== '');
  if (parts.length !== segments.length) return undefined;
  const params: Record<string, string> = {};
  for (const [i, part] of parts.entries()) {
    const segment = segments[i]!;
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    if (name !== undefined) params[name] = segment;
    else if (part.toLowerCase() !== segment.toLowerCase()) return undefined;
  }
  return params;
}

/** The route of a call, or the methods that its path has, or undefined when there is no such path. */
export function findRoute(
  routes: readonly Route[],
  method: string,
  segments: readonly string[],
): { route: Route; params: Record<string, string> } | { allowed: Method[] } | undefined {
  const matching = routes.flatMap((route) => {
    const params = matchTemplate(route.template, segments);
    return params === undefined ? [] : [{ route, params }];
  });
  const found = matching.find(({ route }) => route.method === method);
  if (found !== undefined) return found;
  return matching.length === 0 ? undefined : { allowed: matching.map(({ route }) => route.method) };
}
