import { createHash } from 'node:crypto';
import { z } from 'zod';
import { BackupError } from '../domain/errors.ts';

/** Entries of a list in the order in which they are given out, each with a key that ascends in that order and is never given twice. */
export interface Sorted<Entry> {
  readonly sortKey: string;
  readonly entry: Entry;
}

/** The service's page size. */
const PAGE = 200;
const MOST = 1000;

/** Which page of a list is asked for. */
export interface PageQuery {
  /** How many entries it has at most. */
  readonly $top?: number | undefined;
  /** Where the page before has ended. */
  readonly $skipToken?: SkipToken | undefined;
  /** What the entries have to be, as the list's schema reads it. */
  readonly $filter?: Readonly<Record<string, unknown>> | undefined;
}

/** What a skip token says. */
interface SkipToken {
  /** The sort key of the last entry that was given. */
  readonly key: string;
  /** Of which question the page was, as `questionOf` writes it. */
  readonly question: string;
}

/** The part of a list's query that says which page. */
export const paged = {
  $top: z
    .string()
    .optional()
    .transform((top, context) => {
      const size = top === undefined ? PAGE : Number(top);
      if (top === undefined || (/^\d+$/.test(top) && size >= 1 && size <= MOST)) return size;
      context.addIssue({
        code: 'custom',
        message: `is ${JSON.stringify(top)}: expected a whole number from 1 to ${MOST}`,
      });
      return z.NEVER;
    })
    .meta({ description: `entries of a page, 1 to ${MOST}; ${PAGE} by default` }),
  $skipToken: z
    .string()
    .optional()
    .transform((token, context): SkipToken | undefined => {
      if (token === undefined || token === '') return undefined;
      const bytes = Buffer.from(token, 'base64url');
      const [, question, key] = /^([\w-]*)\.(.*)$/s.exec(bytes.toString()) ?? [];
      const isIntact = bytes.toString('base64url') === token.replace(/=+$/, '');
      if (isIntact && question !== undefined && key !== undefined) return { question, key };
      context.addIssue({ code: 'custom', message: `${JSON.stringify(token)} is not one that this API gave out` });
      return z.NEVER;
    })
    .meta({ description: 'as nextLink gave it' }),
};

/** The query of a list without a filter. */
export const listQuery = z.object(paged);

interface Page<Entry> {
  readonly value: Entry[];
  readonly nextLink: string | null;
}

/**
 * One page of a list. `$skipToken` holds the key of the last entry given, so that entries that come or go between two pages make
 * no other entry appear twice or not at all. `link` makes the link to the page after a token.
 */
export function page<Entry>(
  entries: readonly Sorted<Entry>[],
  query: PageQuery,
  link: (skipToken: string) => string,
): Page<Entry> {
  const after = startOf(query);
  const ordered = entries.toSorted((a, b) => (a.sortKey < b.sortKey ? -1 : a.sortKey > b.sortKey ? 1 : 0));
  return cut(after === undefined ? ordered : ordered.filter(({ sortKey }) => sortKey > after), query, link);
}

/**
 * As `page`, of a list that is read in its order: `list` yields the entries whose key is above `after`, and is asked for `most` of them, one more
 * than the page has.
 */
export async function pageOf<Entry>(
  list: (after: string | undefined, most: number) => AsyncIterable<Sorted<Entry>>,
  query: PageQuery,
  link: (skipToken: string) => string,
): Promise<Page<Entry>> {
  const most = (query.$top ?? PAGE) + 1;
  const entries: Sorted<Entry>[] = [];
  for await (const entry of list(startOf(query), most)) {
    entries.push(entry);
    if (entries.length === most) break;
  }
  return cut(entries, query, link);
}

/** The key after which the page begins. @throws BackupError InvalidRequest when the token is of another question */
function startOf({ $skipToken: token, $filter }: PageQuery): string | undefined {
  if (token === undefined || token.question === questionOf($filter)) return token?.key;
  throw new BackupError('InvalidRequest', '$skipToken was given out for another $filter: expected the same one again', {
    target: '$skipToken',
  });
}

function cut<Entry>(
  rest: readonly Sorted<Entry>[],
  { $top: size = PAGE, $filter }: PageQuery,
  link: (skipToken: string) => string,
): Page<Entry> {
  const given = rest.slice(0, size);
  const last = given.at(-1);
  const isMore = last !== undefined && rest.length > size;
  return {
    value: given.map(({ entry }) => entry),
    nextLink: isMore ? link(Buffer.from(`${questionOf($filter)}.${last.sortKey}`).toString('base64url')) : null,
  };
}

/** A short text that differs where filters do, whatever the order and spelling of their terms. */
function questionOf(filter: PageQuery['$filter'] = {}): string {
  const terms = Object.entries(filter).sort(([a], [b]) => (a < b ? -1 : 1));
  if (terms.length === 0) return '';
  return createHash('sha256').update(JSON.stringify(terms)).digest('base64url').slice(0, 12);
}
