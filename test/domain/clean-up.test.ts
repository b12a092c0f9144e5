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
      { key: 'done', stopped: 'otherwise', spentBytes: 10 },
      { key: 'late', stopped: 'budget', spentBytes: 25, servedAt: 9 },
      { key: 'early', stopped: 'budget', spentBytes: 30, servedAt: 1 },
    ]);
    expect([...shares]).toEqual([
      ['early', 18],
      ['late', 17],
    ]);
  });

  it('give nothing once all is spent, and never more than there is', () => {
    const spender: fc.Arbitrary<Spender> = fc.record({
      key: fc.uuid(),
      stopped: fc.constantFrom('budget' as const, 'otherwise' as const),
      spentBytes: fc.nat(1000),
    });
    fc.assert(
      fc.property(fc.nat(5000), fc.array(spender, { maxLength: 8 }), (bytes, items) => {
        const shares = furtherShares(bytes, items);
        const left = bytes - sum(items.map(({ spentBytes }) => spentBytes));
        const hungry = items.filter(({ stopped }) => stopped === 'budget');
        for (const share of shares.values()) expect(share).toBeGreaterThan(0);
        expect(sum(shares.values())).toBe(left > 0 && hungry.length > 0 ? left : 0);
      }),
    );
  });
});
