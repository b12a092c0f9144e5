import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { listQuery, newestFirst, page } from '../../shared/arm/paging.ts';
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
