import { z } from 'zod';
import type { ErrorCode } from '../../domain/errors.ts';
import { FieldsError } from '../errors.ts';

/*
 * What all schemas of requests are made of. Fields that a schema does not name are ignored, as ARM does: clients send back what they got,
 * read-only fields and those of newer versions included.
 */

/** Clients send null for what they leave out. */
export const optional = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullish().transform((value) => value ?? undefined);

export const oneOf = <const Values extends readonly [string, ...string[]]>(...values: Values) =>
  z.enum(values, { error: (issue) => `is ${JSON.stringify(issue.input)}: expected ${values.join(', ')}` });

export const onOff = oneOf('Enabled', 'Disabled');

/** ISO 8601; a time without an offset is in UTC, as the names of these fields say. */
export const utcTime = z.iso
  .datetime({ offset: true, local: true, error: 'expected a time in ISO 8601 such as 2026-12-31T00:00:00Z' })
  .transform((text) => Date.parse(/(?:Z|[+-]\d{2}:?\d{2})$/i.test(text) ? text : `${text}Z`));

/** Of requests that say all by their path; no body is the same as an empty one. */
export const emptyBody = z.strictObject({}).prefault({});

/** Any resource of ARM, for answers: what is in `properties` the views say. */
export const resource = z.looseObject({
  id: z.string(),
  name: z.string(),
  type: z.string(),
  properties: z.looseObject({}),
});

/** A page of a list. */
export const listOf = <Entry extends z.ZodType>(entry: Entry) =>
  z.looseObject({ value: z.array(entry), nextLink: z.string().nullish() });

/** How an asynchronous operation goes. */
export const operationStatus = z.looseObject({
  id: z.string(),
  name: z.string(),
  status: z.enum(['InProgress', 'Succeeded', 'Failed', 'Canceled']),
  startTime: z.string(),
  endTime: z.string().optional(),
});

/** The most problems that one answer names. */
const MOST_PROBLEMS = 20;

/** `value` as `schema` shapes it. @throws FieldsError of `code`, naming each field that does not fit and what would */
export function parseAs<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  code: ErrorCode = 'InvalidRequest',
): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.slice(0, MOST_PROBLEMS);
  throw new FieldsError(
    code,
    problems.map(({ path, message }) => ({ target: path.join('.') || 'body', message })),
  );
}
