import { BackupError } from '../domain/errors.ts';

/** A filter's values by lower-case key. */
export type Filter = ReadonlyMap<string, string>;

const TERM = /\s*([A-Za-z]+)\s+([A-Za-z]+)\s+'((?:[^']|'')*)'\s*/y;
const AND = /and\s+/iy;

function invalid(message: string): BackupError {
  return new BackupError('InvalidRequest', `$filter: ${message}`, { target: '$filter' });
}

/**
 * Reads `key eq 'value' and key eq 'value' ...`, which is all that clients send; a quote in a value is doubled.
 * @throws BackupError InvalidRequest for another form, a key not among `allowed`, an operator other than eq, a key that comes twice
 */
export function parseFilter(text: string | undefined, allowed: readonly string[]): Filter {
  const filter = new Map<string, string>();
  if (text === undefined || text.trim() === '') return filter;
  for (let at = 0; ;) {
    TERM.lastIndex = at;
    const term = TERM.exec(text);
    if (term === null) throw invalid(`expected key eq 'value' at ${JSON.stringify(text.slice(at, at + 40))}`);
    const [whole, key = '', operator = '', value = ''] = term;
    if (!allowed.some((name) => name.toLowerCase() === key.toLowerCase())) {
      throw invalid(`the key ${key} is not known here: expected ${allowed.join(', ')}`);
    }
    if (operator.toLowerCase() !== 'eq') throw invalid(`${key} ${operator}: the only operator is eq`);
    if (filter.has(key.toLowerCase())) throw invalid(`the key ${key} comes twice`);
    filter.set(key.toLowerCase(), value.replaceAll("''", "'"));
    at += whole.length;
    if (at === text.length) return filter;
    AND.lastIndex = at;
    const and = AND.exec(text);
    if (and === null) throw invalid(`expected "and" at ${JSON.stringify(text.slice(at, at + 40))}`);
    at += and[0].length;
  }
}

/** A value that must be one of `allowed`, in their spelling; undefined when the key is absent. */
export function oneOf<Value extends string>(filter: Filter, key: string, allowed: readonly Value[]): Value | undefined {
  const given = filter.get(key.toLowerCase());
  if (given === undefined) return undefined;
  const found = allowed.find((value) => value.toLowerCase() === given.toLowerCase());
  if (found === undefined) throw invalid(`${key} is ${JSON.stringify(given)}: expected ${allowed.join(', ')}`);
  return found;
}

const DOTNET_DATE = /^(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.\d+)?(?:\s*(AM|PM))?)?Z?$/i;

/**
 * A time in a filter, in milliseconds since the epoch: the service's `2026-11-23 02:30:00 PM` (UTC, 12-hour clock), the sloppy
 * `0:00:00 AM` that some clients send, and ISO 8601; undefined when the key is absent.
 */
export function timeOf(filter: Filter, key: string): number | undefined {
  const given = filter.get(key.toLowerCase());
  if (given === undefined) return undefined;
  const ms = parseTime(given.trim());
  if (ms !== undefined) return ms;
  throw invalid(`${key} is ${JSON.stringify(given)}: expected a time such as 2026-11-23 02:30:00 PM, in UTC`);
}

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
