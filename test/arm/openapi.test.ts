import { beforeAll, describe, expect, it } from 'vitest';
import { openApi } from '../../shared/arm/openapi.ts';
import { ROUTES } from '../../shared/arm/routes.ts';
import { API_VERSION, type ArmGround, createArmGround } from '../support/arm-ground.ts';

/* The document by the rules of OpenAPI 3.1 and of JSON Schema 2020-12, and real answers by the document. */

// oxlint-disable-next-line typescript/no-explicit-any -- the document is walked as the JSON that it is
type Json = any;
const document: Json = JSON.parse(JSON.stringify(openApi('https://strata.example')));
const operations: { path: string; method: string; operation: Json }[] = Object.entries<Json>(document.paths).flatMap(
  ([path, item]) => Object.entries<Json>(item).map(([method, operation]) => ({ path, method, operation })),
);

/** What a reference points at. */
function resolve(value: Json): Json {
  if (typeof value?.$ref !== 'string') return value;
  const [root, ...steps] = (value.$ref as string).split('/');
  expect(root).toBe('#');
  const found = steps.reduce<Json>((at, step) => at?.[step.replaceAll('~1', '/').replaceAll('~0', '~')], document);
  expect(found, value.$ref).toBeDefined();
  return resolve(found);
}

/** Every object in the document with its place. */
function* walk(value: Json, place = '#'): Generator<{ value: Json; place: string }> {
  if (typeof value !== 'object' || value === null) return;
  yield { value, place };
  for (const [key, child] of Object.entries(value)) yield* walk(child, `${place}/${key}`);
}

const TYPES = ['string', 'number', 'integer', 'boolean', 'array', 'object', 'null'];
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every((each) => typeof each === 'string');
const isSchema = (value: unknown): boolean => schemaProblems(value).length === 0;
const isSchemas = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.values(value).every((each) => isSchema(each));
const isRegex = (value: unknown): boolean => typeof value === 'string' && new RegExp(value, 'u') instanceof RegExp;
/** The keywords of JSON Schema 2020-12 that may come, and what each must be. One that is not here would be ignored by readers. */
const KEYWORDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  type: (value) => [value].flat().every((each) => TYPES.includes(each as string)),
  properties: isSchemas,
  propertyNames: isSchema,
  additionalProperties: isSchema,
  required: isTexts,
  items: isSchema,
  prefixItems: isSchemas,
  anyOf: (value) => Array.isArray(value) && value.length > 0 && isSchemas(value),
  oneOf: (value) => Array.isArray(value) && value.length > 0 && isSchemas(value),
  allOf: (value) => Array.isArray(value) && value.length > 0 && isSchemas(value),
  not: isSchema,
  enum: (value) => Array.isArray(value) && value.length > 0 && new Set(value).size === value.length,
  const: () => true,
  default: () => true,
  description: (value) => typeof value === 'string',
  format: (value) => typeof value === 'string',
  pattern: isRegex,
  minLength: isCount,
  maxLength: isCount,
  minItems: isCount,
  maxItems: isCount,
  minProperties: isCount,
  maxProperties: isCount,
  minimum: Number.isFinite,
  maximum: Number.isFinite,
  exclusiveMinimum: Number.isFinite,
  exclusiveMaximum: Number.isFinite,
  multipleOf: Number.isFinite,
};

function schemaProblems(schema: Json): string[] {
  if (typeof schema === 'boolean') return [];
  if (typeof schema !== 'object' || schema === null) return [`${JSON.stringify(schema)} is no schema`];
  if ('$ref' in schema) return resolve(schema) === undefined ? ['a reference leads nowhere'] : [];
  return Object.entries(schema).flatMap(([keyword, value]) => {
    const check = KEYWORDS[keyword];
    if (check === undefined) return [`${keyword} is not a keyword`];
    return check(value) ? [] : [`${keyword} is ${JSON.stringify(value).slice(0, 200)}`];
  });
}

describe('the OpenAPI document', () => {
  it('has what OpenAPI 3.1 asks of every document', () => {
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    expect(document.info).toMatchObject({ title: expect.any(String), version: expect.any(String) });
    const known = ['openapi', 'info', 'servers', 'security', 'paths', 'components'];
    expect(Object.keys(document).filter((key) => !known.includes(key))).toEqual([]);
    for (const { url } of document.servers) expect(URL.canParse(url)).toBe(true);
    for (const name of Object.values<Json>(document.components).flatMap((each) => Object.keys(each)))
      expect(name).toMatch(/^[A-Za-z0-9._-]+$/);
  });

  it('has every route, with its role, and nothing that is not one', () => {
    const arm = operations.filter(({ path }) => path.startsWith('/subscriptions/') || path.startsWith('/providers/'));
    const said = arm.map(({ path, method, operation }) => `${method.toUpperCase()} ${path} ${operation['x-role']}`);
    expect(said.toSorted()).toEqual(
      ROUTES.map(({ method, template, role }) => `${method} ${template} ${role}`).toSorted(),
    );
    const others = operations.filter((each) => !arm.includes(each)).map(({ path, method }) => `${method} ${path}`);
    expect(others.toSorted()).toEqual([
      'get /api/health',
      'get /api/health/details',
      'get /api/openapi.json',
      'post /api/backup-now',
    ]);
  });

  it('has no two paths that are one but for the names in them', () => {
    const forms = Object.keys(document.paths).map((path) => path.replaceAll(/\{\w+\}/g, '{}'));
    expect(new Set(forms).size).toBe(forms.length);
    for (const path of Object.keys(document.paths)) expect(path).toMatch(/^\//);
  });

  it('has references that resolve', () => {
    const references = [...walk(document)].filter(({ value }) => '$ref' in value);
    expect(references.length).toBeGreaterThan(100);
    for (const { value } of references) {
      expect(Object.keys(value)).toEqual(['$ref']);
      resolve(value);
    }
  });

  it('has schemas that are JSON Schema 2020-12', () => {
    const schemas = [...walk(document)].filter(({ place }) => /\/(schema|components\/schemas\/\w+)$/.test(place));
    expect(schemas.length).toBeGreaterThan(200);
    for (const { value, place } of schemas) expect([place, schemaProblems(value)]).toEqual([place, []]);
  });

  it('has operations with ids of their own', () => {
    const ids = operations.map(({ operation }) => operation.operationId as string);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[A-Za-z][A-Za-z0-9_]+$/);
  });

  it.each(operations.map((each) => [`${each.method} ${each.path}`, each] as const))(
    '%s is described by the rules',
    (_name, { path, operation }) => {
      const allowed = ['operationId', 'summary', 'tags', 'security', 'parameters', 'requestBody', 'responses'];
      expect(Object.keys(operation).filter((key) => !allowed.includes(key) && !key.startsWith('x-'))).toEqual([]);
      expect(operation.summary.length).toBeGreaterThan(5);
      for (const each of operation.security ?? [])
        for (const scheme of Object.keys(each)) expect(document.components.securitySchemes).toHaveProperty(scheme);

      const parameters: Json[] = (operation.parameters ?? []).map(resolve);
      for (const { name, in: where, schema } of parameters) {
        expect([name, schemaProblems(schema)]).toEqual([name, []]);
        expect(['path', 'query', 'header']).toContain(where);
        // OpenAPI ignores parameters of these names.
        expect(['accept', 'content-type', 'authorization']).not.toContain(name.toLowerCase());
      }
      expect(new Set(parameters.map(({ name, in: where }) => `${where} ${name}`)).size).toBe(parameters.length);
      const inPath = parameters.filter(({ in: where }) => where === 'path');
      expect(inPath.map(({ name }) => name)).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
      expect(inPath.every(({ required }) => required === true)).toBe(true);

      const contents = [operation.requestBody, ...Object.values<Json>(operation.responses)]
        .filter(Boolean)
        .map(resolve);
      for (const { content = {} } of contents) {
        expect(Object.keys(content).filter((type) => type !== 'application/json')).toEqual([]);
        for (const { schema } of Object.values<Json>(content)) expect(schemaProblems(resolve(schema))).toEqual([]);
      }
      const statuses = Object.keys(operation.responses);
      expect(statuses.length).toBeGreaterThan(1);
      for (const status of statuses) {
        expect(status).toMatch(/^([1-5]\d\d|default)$/);
        expect(resolve(operation.responses[status]).description.length).toBeGreaterThan(1);
      }
    },
  );

  it('finds what is wrong with a schema', () => {
    expect(schemaProblems({ type: 'text' })).toEqual(['type is "text"']);
    expect(schemaProblems({ properties: { a: { kind: 'b' } } })).toHaveLength(1);
    expect(schemaProblems({ $ref: '#/components/schemas/ArmError' })).toEqual([]);
    expect(() => schemaProblems({ $ref: '#/components/schemas/Nothing' })).toThrow();
    expect(() => schemaProblems({ pattern: '(' })).toThrow();
  });
});

describe('what is really answered', () => {
  let ground: ArmGround;
  const found = new Map<string, number>();
  beforeAll(async () => {
    ground = await createArmGround();
  });
  const at = (template: string) => `${ground.pathOf(template)}?${API_VERSION}`;

  it.each(ROUTES.filter(({ method }) => method === 'GET').map((each) => [each.template, each] as const))(
    'to GET %s is as described',
    async (template, { refusal }) => {
      // The ground throws where an answer differs from the document.
      const { status } = await ground.ask('GET', at(template));
      if (refusal !== undefined) expect(status).toBe(refusal.status);
      else found.set(template, status);
    },
  );

  it('is there: most of what can be read was found', () => {
    const good = [...found.values()].filter((status) => status < 300).length;
    expect(good).toBeGreaterThan(20);
  });

  const I =
    '/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.RecoveryServices/vaults/{vault}/backupFabrics/Azure/protectionContainers/{container}/protectedItems/{item}';
  const V = I.split('/backupFabrics')[0]!;
  it.each<[number, string, string, unknown]>([
    [200, 'PUT', V, { location: 'westeurope' }],
    [201, 'PUT', `${V}2`, { location: 'westeurope' }],
    [200, 'PATCH', V, { tags: { a: 'b' } }],
    [204, 'DELETE', `${V}2`, undefined],
    [204, 'DELETE', `${V}/backupPolicies/unknown`, undefined],
    [202, 'POST', `${V}/backupFabrics/Azure/refreshContainers`, undefined],
    [202, 'POST', `${I}/backup`, { properties: { objectType: 'IaasVMBackupRequest' } }],
    [202, 'POST', `${V}/strata/verify`, {}],
    [202, 'POST', `${V}/strata/cleanUp`, undefined],
  ])('is %i to %s %s, as described', async (status, method, template, body) => {
    const answer = await ground.ask(method, at(template), {
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    expect([answer.status, answer.text]).toEqual([status, expect.any(String)]);
  });

  it('differs from the document when it does', async () => {
    const routes = ROUTES.map((each) => ({ ...each, handler: async () => ({ status: 200, body: { name: 7 } }) }));
    await expect(createArmGround(routes)).rejects.toThrow(/the status is not described|expected string/);
  });
});
