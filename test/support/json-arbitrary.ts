import * as fc from 'fast-check';

/* Values by a JSON schema, and values that are nearly so. */

type Schema = Readonly<Record<string, unknown>>;
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Texts that programs have stumbled over. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    '',
    ' ',
    '.',
    '..',
    '../../etc/passwd',
    '%',
    '%00',
    '%2e%2e%2f',
    '\0',
    '\r\nx-injected: 1',
    "' or 1 eq 1",
    "''",
    "'",
    '"',
    '\\',
    '{{7*7}}',
    '${7*7}',
    '<script>',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'null',
    'undefined',
    'NaN',
    '-1',
    '0',
    '1e309',
    '9'.repeat(40),
    '\uD800',
    '\uFFFF',
    'İi̇ıI',
    'ﬁ',
    '👩‍👩‍👧‍👦',
    'a;b=c',
    ';;;',
    'a'.repeat(300),
    'é'.repeat(2_000),
    '2026-02-30T99:99:99Z',
    '9999-12-31T23:59:59Z',
    '0000-01-01T00:00:00Z',
    '+275760-09-13T00:00:00.001Z',
  ),
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
);

const hostileNumber = fc.oneof(
  fc.constantFrom(0, -0, -1, 1, 64, 2 ** 31, 2 ** 53, -(2 ** 53), 1e300, 5e-324, 0.1, 99_999),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

const hostileKey = fc.oneof(
  fc.constantFrom('__proto__', 'constructor', 'prototype', 'toJSON', 'then', 'length', '', 'a'.repeat(600), '0'),
  fc.string({ maxLength: 8 }),
);

/** More than a property of a table's row holds, and less than a body may have. */
const LONG = 'é'.repeat(60_000);

/** Anything that JSON can say, some of it deep. */
export const anyJson: fc.Arbitrary<Json> = fc.oneof(
  { weight: 6, arbitrary: fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json> },
  { weight: 4, arbitrary: hostileText },
  { weight: 2, arbitrary: hostileNumber },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Json>(
      null,
      true,
      [],
      {},
      [[]],
      { a: null },
      deep(500),
      LONG,
      { long: LONG },
      Array<Json>(5_000).fill('many'),
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .array(fc.tuple(hostileKey, hostileText), { maxLength: 4 })
      .map((entries) => Object.fromEntries(entries) as Json),
  },
);

function deep(levels: number): Json {
  let value: Json = [];
  for (let i = 0; i < levels; i++) value = [value];
  return value;
}

/**
 * Values that `schema` takes, in the main: patterns and formats are met by what `known` says of a field's name, where it says something.
 * Fields that may be left out often are.
 */
export function byJsonSchema(
  schema: Schema,
  known: Readonly<Record<string, readonly string[]>>,
  name = '',
): fc.Arbitrary<Json> {
  const inner = (each: unknown, of = name): fc.Arbitrary<Json> => byJsonSchema(each as Schema, known, of);
  if ('const' in schema) return fc.constant(schema['const'] as Json);
  if (Array.isArray(schema['enum'])) return fc.constantFrom(...(schema['enum'] as Json[]));
  const either = schema['anyOf'] ?? schema['oneOf'];
  if (Array.isArray(either)) return fc.oneof(...either.map((each) => inner(each)));
  const types = [schema['type'] ?? 'any'].flat() as string[];
  const number = {
    min: Math.max(Number(schema['minimum'] ?? -5), -1000),
    max: Math.min(Number(schema['maximum'] ?? 40), 1000),
  };
  return fc.oneof(
    ...types.map((type): fc.Arbitrary<Json> => {
      switch (type) {
        case 'string': {
          const values = known[name];
          return values === undefined ? fc.string({ minLength: 1, maxLength: 12 }) : fc.constantFrom(...values);
        }
        case 'integer':
          return fc.integer(number);
        case 'number':
          return fc.double({ ...number, noNaN: true });
        case 'boolean':
          return fc.boolean();
        case 'null':
          return fc.constant(null);
        case 'array':
          return fc.array(inner(schema['items'] ?? {}), { maxLength: 3 });
        case 'object':
          return objectBy(schema, inner);
        default:
          return fc.constantFrom<Json>(null, 1, 'text', {}, []);
      }
    }),
  );
}

function objectBy(schema: Schema, inner: (schema: unknown, name: string) => fc.Arbitrary<Json>): fc.Arbitrary<Json> {
  const properties = Object.entries((schema['properties'] ?? {}) as Record<string, unknown>);
  const fields = Object.fromEntries(properties.map(([name, each]) => [name, inner(each, name)]));
  const requiredKeys = ((schema['required'] ?? []) as string[]).filter((name) => name in fields);
  const object = fc.record(fields, { requiredKeys }) as fc.Arbitrary<Record<string, Json>>;
  const rest = schema['additionalProperties'];
  if (typeof rest !== 'object' || rest === null || properties.length > 0) return object;
  return fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), inner(rest, ''), { maxKeys: 3 });
}

/** `value` with one thing in it taken away, replaced or put beside; `at` picks which, in the order in which it is written. */
export function mutated(
  value: Json,
  at: number,
  change: { kind: 'remove' | 'replace' | 'add'; key: string; by: Json },
): Json {
  let left = at % Math.max(1, sizeOf(value));
  const visit = (each: Json): Json | undefined => {
    if (left-- === 0) {
      if (change.kind === 'remove') return undefined;
      if (change.kind === 'replace' || typeof each !== 'object' || each === null) return change.by;
      if (Array.isArray(each)) return [...each, change.by];
      return Object.fromEntries([...Object.entries(each), [change.key, change.by]]);
    }
    if (Array.isArray(each)) return each.map(visit).filter((child) => child !== undefined);
    if (typeof each !== 'object' || each === null) return each;
    return Object.fromEntries(
      Object.entries(each).flatMap(([key, child]) => {
        const seen = visit(child);
        return seen === undefined ? [] : [[key, seen]];
      }),
    );
  };
  return visit(value) ?? null;
}

function sizeOf(value: Json): number {
  if (typeof value !== 'object' || value === null) return 1;
  return Object.values(value).reduce<number>((sum, child) => sum + sizeOf(child), 1);
}
