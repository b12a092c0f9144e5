import { STATUS_CODES } from 'node:http';
import { z } from 'zod';
import { ERROR_TABLE } from '../domain/errors.ts';
import { ROLES } from './callers.ts';
import type { Route } from './route.ts';
import { ROUTES } from './routes.ts';
import { backupNowBody } from './schemas/strata.ts';

/*
 * The description of the API in OpenAPI 3.1, made from the very schemas by which the front door parses requests, so that it cannot say
 * anything else. What a refinement or a transform checks beyond a schema's form is told by the error alone.
 */

type Json = Readonly<Record<string, unknown>>;

/** The body of every refusal: `errors.ts` makes it. */
export const armError = z.object({
  error: z.object({
    code: z.enum(Object.keys(ERROR_TABLE) as [string, ...string[]]),
    message: z.string().min(1),
    target: z.string().optional(),
    details: z.array(z.object({ code: z.string(), target: z.string(), message: z.string() })).optional(),
  }),
});

const ref = (kind: string, name: string): Json => ({ $ref: `#/components/${kind}/${name}` });

/** Without the dialect, which the document says once for all: it is that of OpenAPI 3.1. */
function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _dialect, ...said } = z.toJSONSchema(schema, {
    io,
    target: 'draft-2020-12',
    unrepresentable: 'any',
  });
  return said;
}

/** What all of a document's operations have in common. */
const COMPONENTS: Json = {
  securitySchemes: {
    bearer: {
      type: 'http',
      scheme: 'bearer',
      bearerFormat: 'JWT',
      description: `an access token of the configured issuer and audience with an app role: ${ROLES.join(', ')}`,
    },
    functionKey: { type: 'apiKey', in: 'query', name: 'code', description: 'a key of the function or of the host' },
  },
  schemas: { ArmError: jsonSchema(armError, 'output') },
  headers: {
    RequestId: { description: 'the id of this request in the log', schema: { type: 'string' } },
    CorrelationId: { description: 'as the caller gave it, else the request id', schema: { type: 'string' } },
    OperationUrl: { description: 'where the status of the operation is asked for', schema: { type: 'string' } },
    ResultUrl: { description: 'where the result of the operation is asked for', schema: { type: 'string' } },
    RetryAfter: { description: 'seconds after which to ask again', schema: { type: 'string' } },
  },
  parameters: {
    ApiVersion: {
      name: 'api-version',
      in: 'query',
      required: true,
      description: 'a day of the calendar from 2016-06-01 on, perhaps with -preview',
      schema: { type: 'string', pattern: '^[0-9]{4}-[0-9]{2}-[0-9]{2}(-[Pp][Rr][Ee][Vv][Ii][Ee][Ww])?$' },
      example: '2023-06-01',
    },
    CorrelationRequestId: {
      name: 'x-ms-correlation-request-id',
      in: 'header',
      description:
        'comes back with the answer and stands in the log; anything but hexadecimal digits and hyphens is ignored',
      schema: { type: 'string' },
    },
    IfMatch: {
      name: 'If-Match',
      in: 'header',
      description: 'ETags, one of which the resource must have, or *; else 412. Held against resources that have one',
      schema: { type: 'string' },
    },
    IfNoneMatch: {
      name: 'If-None-Match',
      in: 'header',
      description: '*: there must be no such resource yet; else 412',
      schema: { type: 'string' },
    },
  },
  responses: {
    Error: {
      description: 'an error of Azure Resource Manager',
      headers: idHeaders(),
      content: { 'application/json': { schema: ref('schemas', 'ArmError') } },
    },
  },
};

function idHeaders(): Json {
  return {
    'x-ms-request-id': ref('headers', 'RequestId'),
    'x-ms-correlation-request-id': ref('headers', 'CorrelationId'),
  };
}

/** The OpenAPI 3.1 document of `routes` and of the calls beside them; `server` is where the app is reached. */
export function openApi(server: string, routes: readonly Route[] = ROUTES): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const each of routes) {
    const methods = (paths[each.template] ??= {});
    methods[each.method.toLowerCase()] = operation(each);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Strata',
      version: '1.0.0',
      summary: 'Azure Backup for virtual machines',
      description:
        'The REST API of Azure Backup for virtual machines, and what Strata adds to it below `strata`. Paths are compared without case. Fields that a body has and its schema does not name are ignored unless the schema forbids them.',
    },
    servers: [{ url: server }],
    security: [{ bearer: [] }],
    paths: { ...paths, ...PLAIN_PATHS },
    components: COMPONENTS,
  };
}

function operation(route: Route): Json {
  const { method, template, role, summary, refusal, body } = route;
  return {
    operationId: operationId(route),
    summary,
    tags: [tagOf(template)],
    'x-role': role,
    ...(refusal === undefined ? {} : { 'x-refused': { status: refusal.status, code: refusal.code } }),
    parameters: [...parametersOf(route), ...(method === 'GET' || method === 'POST' ? [] : CONDITIONS)],
    ...(body === undefined
      ? {}
      : { requestBody: requestBody(body, `a body that does not fit is a 400 ${route.bodyCode}`) }),
    responses: responsesOf(route),
  };
}

const CONDITIONS = [ref('parameters', 'IfMatch'), ref('parameters', 'IfNoneMatch')];

function parametersOf({ params, query }: Route): Json[] {
  const fields = (schema: z.ZodObject, where: 'path' | 'query'): Json[] => {
    const { properties = {}, required = [] } = jsonSchema(schema, 'input') as {
      properties?: Record<string, Json>;
      required?: string[];
    };
    return Object.entries(properties).map(([name, { description, default: _byDefault, ...schema }]) => ({
      name,
      in: where,
      required: where === 'path' || required.includes(name),
      ...(description === undefined ? {} : { description }),
      schema,
    }));
  };
  const everywhere = [ref('parameters', 'ApiVersion'), ref('parameters', 'CorrelationRequestId')];
  return [...fields(params, 'path'), ...fields(query, 'query'), ...everywhere];
}

function requestBody(schema: z.ZodType, description: string): Json {
  return {
    description,
    required: !schema.safeParse(undefined).success,
    content: { 'application/json': { schema: jsonSchema(schema, 'input') } },
  };
}

function responsesOf({ answers, refusal }: Route): Json {
  const error = ref('responses', 'Error');
  if (refusal !== undefined) return { [refusal.status]: error, default: error };
  const said = Object.entries(answers).map(([status, schema]) => [
    status,
    {
      description: STATUS_CODES[status] ?? status,
      headers: { ...idHeaders(), ...(status === '202' ? OPERATION_HEADERS : {}) },
      ...(schema === 'none' ? {} : { content: { 'application/json': { schema: jsonSchema(schema, 'output') } } }),
    },
  ]);
  return { ...Object.fromEntries(said), default: error };
}

const OPERATION_HEADERS: Json = {
  'Azure-AsyncOperation': ref('headers', 'OperationUrl'),
  Location: ref('headers', 'ResultUrl'),
  'Retry-After': ref('headers', 'RetryAfter'),
};

/** The method and the path's segments but for the words that all paths have. */
function operationId({ method, template }: Route): string {
  const words = template
    .split('/')
    .filter(
      (part) => !['', 'subscriptions', 'resourceGroups', 'providers', 'Microsoft.RecoveryServices'].includes(part),
    )
    .map((part) => part.replaceAll(/[^A-Za-z0-9]/g, ''));
  return [method.toLowerCase(), ...words].join('_');
}

/** What kind of thing a path is about: the last word of it that names one. */
function tagOf(template: string): string {
  if (template.includes('/strata/')) return 'strata';
  const words = template.split('/').filter((part) => part !== '' && !part.startsWith('{'));
  const kinds = ['recoveryPoints', 'protectedItems', 'protectionContainers', 'backupJobs', 'backupPolicies'];
  return kinds.find((kind) => words.includes(kind)) ?? 'vaults';
}

const json = (description: string, schema: Json): Json => ({
  description,
  content: { 'application/json': { schema } },
});

const health = { type: 'object', properties: { status: { type: 'string' } }, required: ['status'] };
const HEALTH = { 200: json('OK', health), 503: json('Unavailable', health), default: ref('responses', 'Error') };

/** The calls that are not ARM's: they have no api-version and no bearer token. */
const PLAIN_PATHS: Json = {
  '/api/backup-now': {
    post: {
      operationId: 'backupNow',
      summary: 'Back up a VM now, for scripts that hold a function key',
      tags: ['plain'],
      security: [{ functionKey: [] }],
      requestBody: requestBody(backupNowBody, 'which VM of which vault, and for how long'),
      responses: {
        202: json('Accepted', {
          type: 'object',
          properties: { jobId: { type: 'string' }, statusUrl: { type: 'string' } },
          required: ['jobId', 'statusUrl'],
        }),
        default: ref('responses', 'Error'),
      },
    },
  },
  '/api/health': {
    get: {
      operationId: 'health',
      summary: 'Whether tables, queues and the vaults answer',
      tags: ['plain'],
      security: [],
      responses: HEALTH,
    },
  },
  '/api/health/details': {
    get: {
      operationId: 'healthDetails',
      summary: 'The same, with what is wrong',
      tags: ['plain'],
      security: [{ functionKey: [] }],
      responses: HEALTH,
    },
  },
  '/api/openapi.json': {
    get: {
      operationId: 'openApi',
      summary: 'This document',
      tags: ['plain'],
      security: [],
      responses: { 200: json('OK', { type: 'object' }), default: ref('responses', 'Error') },
    },
  },
};
