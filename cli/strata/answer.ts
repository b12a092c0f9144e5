import type { z } from 'zod';
import { UnreachableError } from './errors.ts';

/*
 * What stands at an address need not be Strata, nor this version of it: an answer that is not what Strata answers is told of in one line.
 */

/** `value`, an answer of the service, as `schema` has it. @throws UnreachableError naming what does not fit */
export function parsed<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw strange(`its answer is of another shape: ${issue?.path.join('.') || 'all of it'}: ${issue?.message ?? ''}`);
}

/** The address that the service gives for what follows. @throws UnreachableError */
export function addressFrom(text: string): URL {
  if (URL.canParse(text)) return new URL(text);
  throw strange(`it answered with an address that is none: ${text.slice(0, 100)}`);
}

/** The JSON of an answer; undefined for an empty one. @throws UnreachableError */
export async function jsonOf(answer: Response): Promise<unknown> {
  const text = await answer.text().catch((cause: unknown) => {
    throw new UnreachableError(`${new URL(answer.url).origin} broke off its answer`, { cause });
  });
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch (cause) {
    throw strange(`${answer.url} did not answer with JSON but with ${JSON.stringify(text.slice(0, 60))}`, cause);
  }
}

const strange = (what: string, cause?: unknown): UnreachableError =>
  new UnreachableError(`is that Strata, and of this version? ${what}`, { cause });
