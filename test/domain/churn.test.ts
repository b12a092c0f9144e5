import { describe, expect, it } from 'vitest';
import { addChurn, boundBy, churnText, noChurn, readChurn } from '../../shared/domain/churn.ts';
import { DEFAULT_RATES } from '../../shared/domain/source-rates.ts';

const some = (fields: Partial<ReturnType<typeof noChurn>>): ReturnType<typeof noChurn> => ({ ...noChurn(), ...fields });

describe('churn', () => {
  it('comes back from its text, and adds up', () => {
    const churn = some({ extents: 3, readBlocks: 70_000, missedBlocks: 1, vaultMs: 12 });
    expect(readChurn(churnText(churn))).toEqual(churn);
    const sum = noChurn();
    addChurn(sum, churn);
    addChurn(sum, churn);
    expect(sum).toMatchObject({ extents: 6, readBlocks: 140_000, missedBlocks: 2, vaultMs: 24, requests: 0 });
  });
  it('of an object that says nothing, or something else, is none', () => {
    expect(readChurn(undefined)).toEqual(noChurn());
    expect(readChurn('nonsense 4')).toEqual(some({ changedBlocks: 4 }));
  });
  it.each([
    ['nothing', {}],
    ['sourceRequests', { requests: 100, readBlocks: 100, elapsedMs: 1000, sourceMs: 900 }],
    ['sourceBytes', { requests: 100, readBlocks: 10_000, elapsedMs: 1000, sourceMs: 900 }],
    ['vault', { requests: 100, readBlocks: 100, elapsedMs: 1000, sourceMs: 200, vaultMs: 500 }],
    ['processor', { requests: 100, readBlocks: 100, elapsedMs: 1000, sourceMs: 200, vaultMs: 200 }],
  ] as const)('%s', (bound, churn) => {
    expect(boundBy(some(churn), DEFAULT_RATES.standard)).toBe(bound);
  });
});
