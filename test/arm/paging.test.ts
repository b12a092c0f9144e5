import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { listQuery, page, pageOf } from '../../shared/arm/paging.ts';
import { newestFirst } from '../../shared/catalog/newest-first.ts';
import { Query } from '../../shared/arm/query.ts';
import { parseAs } from '../../shared/arm/schemas/common.ts';

const query = (values: Record<string, string>) =>
  parseAs(listQuery, new Query(new URLSearchParams(values)).pick(['$top', '$skipToken']));
const entries = (keys: readonly string[]) => keys.map((sortKey) => ({ sortKey, entry: sortKey }));

describe('page', () => {
  it('gives every entry once and in order, whatever the size', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ minLength: 1, unit: 'grapheme' })),
        fc.integer({ min: 1, max: 7 }),
        (keys, size) => {
          const seen: string[] = [];
          for (let token: string | null = ''; token !== null;) {
            const answer: { value: string[]; nextLink: string | null } = page(
              entries(keys),
              query({ $top: `${size}`, $skipToken: token }),
              (next) => next,
            );
            expect(answer.value.length).toBeLessThanOrEqual(size);
            seen.push(...answer.value);
            token = answer.nextLink;
          }
          expect(seen).toEqual(keys.toSorted((a, b) => (a < b ? -1 : 1)));
        },
      ),
    );
  });

  it('is not disturbed by entries that come before what was given, or by the last given one going', () => {
    const first = page(entries(['b', 'c', 'd']), query({ $top: '2' }), (token) => token);
    expect(first.value).toEqual(['b', 'c']);
    const second = page(entries(['a', 'b', 'd', 'e']), query({ $skiptoken: first.nextLink! }), (token) => token);
    expect(second).toEqual({ value: ['d', 'e'], nextLink: null });
  });

  it('begins nowhere but in the list that the token is of', () => {
    const wanted = { $filter: { status: 'Failed', operation: 'Backup' } };
    const first = page(entries(['a', 'b']), { $top: 1, ...wanted }, (token) => token);
    const { $skipToken } = query({ $skipToken: first.nextLink! });
    const again = { $filter: { operation: 'Backup', status: 'Failed' }, $skipToken };
    expect(page(entries(['a', 'b']), again, String).value).toEqual(['b']);
    for (const other of [{ $filter: { status: 'Failed' } }, {}])
      expect(() => page(entries(['a', 'b']), { ...other, $skipToken }, String)).toThrow(/another \$filter/);
  });

  it('reads a list that is in order no further than one entry past the page', async () => {
    let read = 0;
    const list = async function* (after = '') {
      for (const sortKey of ['a', 'b', 'c', 'd', 'e'].filter((key) => key > after)) {
        read++;
        yield { sortKey, entry: sortKey };
      }
    };
    const first = await pageOf(list, query({ $top: '2' }), (token) => token);
    expect([first.value, read]).toEqual([['a', 'b'], 3]);
    const second = await pageOf(list, query({ $top: '3', $skipToken: first.nextLink! }), (token) => token);
    expect(second).toEqual({ value: ['c', 'd', 'e'], nextLink: null });
  });

  it('has 200 entries unless told otherwise', () => {
    const keys = Array.from({ length: 201 }, (_, i) => `${i}`.padStart(3, '0'));
    const { value, nextLink } = page(entries(keys), query({}), (token) => token);
    expect(value).toHaveLength(200);
    expect(nextLink).not.toBeNull();
  });

  it.each([
    [{ $top: '0' }, /\$top: is "0": expected a whole number from 1 to 1000/],
    [{ $top: 'all' }, /\$top/],
    [{ $top: '1001' }, /\$top/],
    [{ $skipToken: 'not a token!' }, /\$skipToken: .* is not one that this API gave out/],
  ])('refuses %j', (values, message) => expect(() => page([], query(values), String)).toThrow(message));

  it('sorts newest first, by id within one moment', () => {
    const keys = [newestFirst(5, 'a'), newestFirst(1_700_000_000_000, 'b'), newestFirst(1_700_000_000_000, 'a')];
    expect(keys.toSorted()).toEqual([keys[2], keys[1], keys[0]]);
  });
});
