import { z } from 'zod';
import { BackupError } from '../domain/errors.ts';

const TERM = /\s*([A-Za-z]+)\s+([A-Za-z]+)\s+'((?:[^']|'')*)'\s*/y;
const AND = /and\s+/iy;

function invalid(message: string): BackupError {
  return new BackupError('InvalidRequest', message, { target: '$filter' });
}

/**
 * Reads `key eq 'value' and key eq 'value' ...`, which is all that clients send; a quote in a value is doubled. Keys come out in the
 * spelling of `allowed`.
 * @throws BackupError InvalidRequest for another form, a key not among `allowed`, an operator other than eq, a key that comes twice
 */
function readTerms(text: string, allowed: readonly string[]): Record<string, string> {
  const terms: Record<string, string> = {};
  if (text.trim() === '') return terms;
  for (let at = 0; ;) {
    TERM.lastIndex = at;
    const term = TERM.exec(text);
    if (term === null) throw invalid(`expected key eq 'value' at ${JSON.stringify(text.slice(at, at + 40))}`);
    const [whole, given = '', operator = '', value = ''] = term;
    const key = allowed.find((name) => name.toLowerCase() === given.toLowerCase());
    if (key === undefined) throw invalid(`the key ${given} is not known here: expected ${allowed.join(', ')}`);
    if (operator.toLowerCase() !== 'eq') throw invalid(`${given} ${operator}: the only operator is eq`);
    if (Object.hasOwn(terms, key)) throw invalid(`the key ${given} comes twice`);
    terms[key] = value.replaceAll("''", "'");
    at += whole.length;
    if (at === text.length) return terms;
    AND.lastIndex = at;
    const and = AND.exec(text);
    if (and === null) throw invalid(`expected "and" at ${JSON.stringify(text.slice(at, at + 40))}`);
    at += and[0].length;
  }
}

type Shape = Readonly<Record<string, z.ZodType<unknown, string>>>;
/** A filter's values by key, read; a key that did not come is absent. */
export type FilterOf<Keys extends Shape> = { readonly [Key in keyof Keys]?: z.output<Keys[Key]> };

/**
 * A `$filter` with these keys, each read by its schema; without a filter none came. All that is wrong with it is named. `check` says
 * what is wrong with values that are right each by itself, or undefined.
 */
export function filterOf<const Keys extends Shape>(
  keys: Keys,
  check: (values: FilterOf<Keys>) => string | undefined = () => undefined,
) {
  const names = Object.keys(keys);
  return z
    .string()
    .optional()
    .transform((text, context): FilterOf<Keys> => {
      const values: Record<string, unknown> = {};
      const refuse = (message: string): void => context.addIssue({ code: 'custom', message });
      try {
        for (const [key, value] of Object.entries(readTerms(text ?? '', names))) {
          const read = keys[key]!.safeParse(value);
          if (read.success) values[key] = read.data;
          else refuse(`${key} ${read.error.issues[0]?.message}`);
        }
      } catch (error) {
        if (!(error instanceof BackupError)) throw error;
        refuse(error.message);
      }
      const problem = context.issues.length === 0 ? check(values as FilterOf<Keys>) : undefined;
      if (problem !== undefined) refuse(problem);
      return values as FilterOf<Keys>;
    })
    .meta({ description: `key eq 'value', joined by "and"; keys: ${names.join(', ')}` });
}

/** Any text. */
export const anyText = z.string();

/** One of `allowed` without regard to case, in their spelling. */
export function among<const Value extends string>(allowed: readonly Value[]): z.ZodType<Value, string> {
  return z.string().transform((given, context) => {
    const found = allowed.find((value) => value.toLowerCase() === given.toLowerCase());
    if (found !== undefined) return found;
    context.addIssue({ code: 'custom', message: `is ${JSON.stringify(given)}: expected ${allowed.join(', ')}` });
    return z.NEVER;
  });
}

const DOTNET_DATE = /^(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.\d+)?(?:\s*(AM|PM))?)?Z?$/i;

/**
 * A time, in milliseconds since the epoch: the service's `2026-11-23 02:30:00 PM` (UTC, 12-hour clock), the sloppy `0:00:00 AM` that some
 * clients send, and ISO 8601.
 */
export const filterTime: z.ZodType<number, string> = z.string().transform((given, context) => {
  const ms = parseTime(given.trim());
  if (ms !== undefined) return ms;
  const expected = 'expected a time such as 2026-11-23 02:30:00 PM, in UTC';
  context.addIssue({ code: 'custom', message: `is ${JSON.stringify(given)}: ${expected}` });
  return z.NEVER;
});

function parseTime(text: string): number | undefined {
  const parts = DOTNET_DATE.exec(text);
  if (parts === null) {
    const ms = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?[+-]\d{2}:\d{2}$/.test(text) ? Date.parse(text) : NaN;
    return Number.isNaN(ms) ? undefined : ms;
  }
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const half = parts[7]?.toUpperCase();
  if (half !== undefined && hour > 12) return undefined;
  const hour24 = half === undefined ? hour : (hour % 12) + (half === 'PM' ? 12 : 0);
  const ms = Date.UTC(year, month - 1, day, hour24, minute, second);
  const back = new Date(ms);
  const same = back.getUTCMonth() === month - 1 && back.getUTCDate() === day && back.getUTCHours() === hour24;
  return same && minute < 60 && second < 60 ? ms : undefined;
}
