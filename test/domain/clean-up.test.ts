import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Spender, equalShares, furtherShares, inTurn } from '../../shared/domain/clean-up.ts';

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, each) => total + each, 0);

describe('shares of a cleanup', () => {
  it('are equal to a byte and add up', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 200 }), (bytes, among) => {
        const shares = equalShares(bytes, among);
        expect(shares).toHaveLength(among);
        expect(sum(shares)).toBe(bytes);
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('serve first who has waited longest, and who was never served before all others', () => {
    const items = [{ key: 'c', servedAt: 5 }, { key: 'b' }, { key: 'd', servedAt: 2 }, { key: 'a' }];
    expect(inTurn(items).map(({ key }) => key)).toEqual(['a', 'b', 'd', 'c']);
  });

  it('give what is left to those that their share has stopped, and to nobody else', () => {
    const shares = furtherShares(100, [
      { key: 'done', stopped: 'otherwise', grantedBytes: 33, spentBytes: 10 },
      { key: 'late', stopped: 'budget', grantedBytes: 20, spentBytes: 25, servedAt: 9 },
      { key: 'early', stopped: 'budget', grantedBytes: 20, spentBytes: 30, servedAt: 1 },
    ]);
    expect([...shares]).toEqual([
      ['early', 18],
      ['late', 17],
    ]);
  });

  it('come to an end: nobody gets again what it could not use', () => {
    const idle = { key: 'a', stopped: 'budget' as const, grantedBytes: 40, spentBytes: 0 };
    expect(furtherShares(40, [idle])).toEqual(new Map());
    const greedy = { key: 'b', stopped: 'budget' as const, grantedBytes: 40, spentBytes: 45 };
    expect(furtherShares(80, [idle, greedy])).toEqual(new Map([['b', 35]]));
    expect(furtherShares(200, [idle, { ...greedy, stopped: 'otherwise' }])).toEqual(new Map([['a', 155]]));
  });

  it('give nothing once all is spent, and never more than there is', () => {
    const spender: fc.Arbitrary<Spender> = fc.record({
      key: fc.uuid(),
      stopped: fc.constantFrom('budget' as const, 'otherwise' as const),
      grantedBytes: fc.nat(1000),
      spentBytes: fc.nat(1000),
    });
    fc.assert(
      fc.property(fc.nat(5000), fc.array(spender, { maxLength: 8 }), (bytes, items) => {
        const shares = furtherShares(bytes, items);
        const left = bytes - sum(items.map(({ spentBytes }) => spentBytes));
        for (const share of shares.values()) expect(share).toBeGreaterThan(0);
        expect(sum(shares.values())).toBe(shares.size > 0 ? left : 0);
        // Who has nothing left of its share is never passed over while there is something for everybody.
        const empty = items.filter(
          ({ stopped, grantedBytes, spentBytes }) => stopped === 'budget' && spentBytes >= grantedBytes,
        );
        if (left >= items.length) for (const { key } of empty) expect(shares.has(key)).toBe(true);
      }),
    );
  });
});
