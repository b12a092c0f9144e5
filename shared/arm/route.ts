import { z } from 'zod';
import type { ErrorCode } from '../domain/errors.ts';
import type { Precondition } from '../services/precondition.ts';
import type { Ports } from '../services/ports.ts';
import type { Caller, Role } from './callers.ts';
import type { ArmAnswer } from './http.ts';
import { nameSchema } from './names.ts';

/** The names in braces of a path template. */
export type ParamsOf<Template extends string> = Template extends `${string}{${infer Name}}${infer Rest}`
  ? Name | ParamsOf<Rest>
  : never;

/** A call that has passed the front door: who calls may make it, and its names, query and body are what its route's schemas say. */
export interface Call<Params extends string = never, Asked = unknown, Body = unknown> {
  readonly ports: Ports;
  readonly caller: Caller;
  readonly params: Readonly<Record<Params, string>>;
  readonly query: Asked;
  readonly body: Body;
  readonly apiVersion: string;
  /** The condition of If-Match and If-None-Match: a service asks it with the ETag of the row that it is about to change. */
  readonly precondition: Precondition;
  /** An absolute link to a path of this API, with the call's api-version and `query`. */
  link(path: string, query?: Readonly<Record<string, string | undefined>>): string;
  /** The link to the next page of a list at `path`: the same question with the token. */
  pageLink(path: string, skipToken: string): string;
  /** For what needs more than the route does. @throws BackupError AuthorizationFailed */
  requireRole(role: Role, what: string): void;
}

export type Method = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';

/** The schema of an answer's body by status; `none`: the answer has no body. */
export type Answers = Readonly<Record<number, z.ZodType | 'none'>>;

/** Why a route that clients know does not do anything here. */
export interface Refusal {
  readonly status: number;
  readonly code: ErrorCode;
  readonly why: string;
}

/** What is answered to a method on a path, and who may ask. */
export interface Route {
  readonly method: Method;
  readonly template: string;
  readonly role: Role;
  /** One line for people: what the call does. */
  readonly summary: string;
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  /** Absent: a body is not looked at. */
  readonly body: z.ZodType | undefined;
  /** What a body that does not fit is answered with. */
  readonly bodyCode: ErrorCode;
  readonly answers: Answers;
  readonly refusal: Refusal | undefined;
  readonly handler: (call: Call<string>) => Promise<ArmAnswer>;
}

/**
 * A row of the table. What the schemas say is parsed before the handler runs, and the compiler checks that the handler reads no other
 * names, query values or body than that. `api-version` is everybody's and not in `query`.
 */
export function route<
  const Template extends string,
  Asked extends z.ZodObject = z.ZodObject<Readonly<Record<string, never>>>,
  Body extends z.ZodType = z.ZodUndefined,
>(row: {
  readonly method: Method;
  readonly template: Template;
  readonly role: Role;
  readonly summary: string;
  readonly query?: Asked;
  readonly body?: Body;
  /** By default InvalidRequest. */
  readonly bodyCode?: ErrorCode;
  readonly answers?: Answers;
  readonly handler: (call: Call<ParamsOf<Template>, z.output<Asked>, z.output<Body>>) => Promise<ArmAnswer>;
}): Route {
  const { method, template, role, summary, query, body, bodyCode = 'InvalidRequest', answers = {}, handler } = row;
  return {
    method,
    template,
    role,
    summary,
    params: paramsOf(template),
    query: query ?? z.object({}),
    body,
    bodyCode,
    answers,
    refusal: undefined,
    // The front door has parsed query and body by these very schemas.
    handler: handler as (call: Call<string>) => Promise<ArmAnswer>,
  };
}

/** A row for what clients of the service know and this version refuses: `status` is that of `code`, `why` is for people. */
export function refused(
  method: Method,
  template: string,
  status: Refusal['status'],
  code: ErrorCode,
  why: string,
  role: Role = method === 'GET' ? 'Backup Reader' : 'Backup Contributor',
): Route {
  const handler = (): never => {
    throw new Error(`${method} ${template} is refused before its handler`);
  };
  return {
    ...route({ method, template, role, summary: `not there: ${why}`, handler }),
    refusal: { status, code, why },
  };
}

function paramsOf(template: string): z.ZodObject {
  const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  return z.object(
    Object.fromEntries(names.map((name) => [name, name === 'subscription' ? z.string() : nameSchema(name)])),
  );
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

/**
 * The route of a call and the methods that its path really has, or only these, or undefined when there is no such path. A path of which
 * everything is refused is there for the methods that are refused alone.
 */
export function findRoute(
  routes: readonly Route[],
  method: string,
  segments: readonly string[],
): { route: Route; params: Record<string, string>; allowed: Method[] } | { allowed: Method[] } | undefined {
  const matching = routes.flatMap((each) => {
    const params = matchTemplate(each.template, segments);
    return params === undefined ? [] : [{ route: each, params }];
  });
  const real = matching.filter(({ route: each }) => each.refusal === undefined);
  const allowed = real.map(({ route: each }) => each.method);
  const found = matching.find(({ route: each }) => each.method === method);
  if (found !== undefined) return { ...found, allowed };
  return allowed.length === 0 ? undefined : { allowed };
}
