import { BackupError } from '../domain/errors.ts';
import type { Query } from './query.ts';

/** Entries of a list in the order in which they are given out, each with a key that ascends in that order and is never given twice. */
export interface Sorted<Entry> {
  readonly sortKey: string;
  readonly entry: Entry;
}

/** The service's page size. */
const PAGE = 200;
const MOST = 1000;

/**
 * One page of a list. `$skipToken` holds the key of the last entry given, so that entries that come or go between two pages make
 * no other entry appear twice or not at all. `$top` makes pages smaller.
 * @throws BackupError InvalidRequest for a $top or a token that is none
 */
export function page<Entry>(
  entries: readonly Sorted<Entry>[],
  query: Query,
  link: (skipToken: string) => string,
): { value: Entry[]; nextLink: string | null } {
  const after = keyOf(query.get('$skipToken'));
  const size = sizeOf(query.get('$top'));
  const ordered = entries.toSorted((a, b) => (a.sortKey < b.sortKey ? -1 : a.sortKey > b.sortKey ? 1 : 0));
  const rest = after === undefined ? ordered : ordered.filter(({ sortKey }) => sortKey > after);
  const given = rest.slice(0, size);
  const last = given.at(-1);
  return {
    value: given.map(({ entry }) => entry),
    nextLink: last !== undefined && rest.length > size ? link(Buffer.from(last.sortKey).toString('base64url')) : null,
  };
}

/** A sort key for "newest first": later times come first, equal ones by id. */
export function newestFirst(timeMs: number, id: string): string {
  return `${(10 ** 15 - Math.trunc(timeMs)).toString().padStart(16, '0')}|${id}`;
}

function keyOf(token: string | undefined): string | undefined {
  if (token === undefined || token === '') return undefined;
  const key = Buffer.from(token, 'base64url');
  if (key.toString('base64url') === token.replace(/=+$/, '')) return key.toString();
  throw new BackupError('InvalidRequest', `$skipToken ${JSON.stringify(token)} is not one that this API gave out`, {
    target: '$skipToken',
  });
}

function sizeOf(top: string | undefined): number {
  if (top === undefined) return PAGE;
  const size = Number(top);
  if (/^\d+$/.test(top) && size >= 1 && size <= MOST) return size;
  throw new BackupError('InvalidRequest', `$top is ${JSON.stringify(top)}: expected a whole number from 1 to ${MOST}`, {
    target: '$top',
  });
}
