import { z } from 'zod';

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
  /** The sort key of the last entry that was given. */
  readonly $skipToken?: string | undefined;
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
    .transform((token, context) => {
      if (token === undefined || token === '') return undefined;
      const key = Buffer.from(token, 'base64url');
      if (key.toString('base64url') === token.replace(/=+$/, '')) return key.toString();
      context.addIssue({ code: 'custom', message: `${JSON.stringify(token)} is not one that this API gave out` });
      return z.NEVER;
    })
    .meta({ description: 'as nextLink gave it' }),
};

/** The query of a list without a filter. */
export const listQuery = z.object(paged);

/**
 * One page of a list. `$skipToken` holds the key of the last entry given, so that entries that come or go between two pages make
 * no other entry appear twice or not at all. `link` makes the link to the page after a token.
 */
export function page<Entry>(
  entries: readonly Sorted<Entry>[],
  { $top: size = PAGE, $skipToken: after }: PageQuery,
  link: (skipToken: string) => string,
): { value: Entry[]; nextLink: string | null } {
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
