import { describe, expect, it } from 'vitest';
import { type Trust, type TrustFindings, auditBudget, trustAfter } from '../../shared/domain/trust.ts';

const TRUST: Trust = { auditedTo: 40, lapBlocks: 30, allocatedBlocks: 1000, misses: 0, byHashes: 0 };
const FOUND: TrustFindings = {
  source: 'diff',
  audit: { next: 50, allocated: 9 },
  changedBlocks: 5,
  addedBlocks: 4,
  removedBlocks: 1,
  missedBlocks: 0,
};
const after = (trust: Partial<Trust>, found: Partial<TrustFindings>): Trust =>
  trustAfter({ ...TRUST, ...trust }, { ...FOUND, ...found }, 5000);

describe('trust', () => {
  it('begins with what the first point has found allocated', () => {
    const found: TrustFindings = { ...FOUND, source: 'full', audit: undefined, changedBlocks: 700, addedBlocks: 600 };
    expect(trustAfter(undefined, found, 5000)).toEqual({
      auditedTo: 0,
      lapBlocks: 0,
      allocatedBlocks: 700,
      misses: 0,
      byHashes: 0,
    });
  });
  it('moves on with the audit, and counts what comes and goes', () => {
    expect(after({}, {})).toEqual({ ...TRUST, auditedTo: 50, lapBlocks: 39, allocatedBlocks: 1003 });
  });
  it('counts what is allocated anew when the audit has come round', () => {
    expect(after({}, { audit: { next: 0, allocated: 9 } })).toMatchObject({
      auditedTo: 0,
      lapBlocks: 0,
      allocatedBlocks: 39,
    });
  });
  it('takes the whole disk for allocated where nothing was noted', () => {
    expect(trustAfter(undefined, FOUND, 5000)).toMatchObject({ allocatedBlocks: 5003, auditedTo: 50 });
    expect([
      auditBudget(undefined, 5000),
      auditBudget(TRUST, 5000),
      auditBudget({ ...TRUST, allocatedBlocks: 1 }, 9),
    ]).toEqual([50, 10, 1]);
  });
  it('is lost for one backup after a miss, for four after the next, for 64 at most', () => {
    const lost: number[] = [];
    let trust = TRUST;
    for (let miss = 0; miss < 6; miss++) {
      trust = trustAfter(trust, { ...FOUND, missedBlocks: 1 }, 5000);
      lost.push(trust.byHashes);
    }
    expect(lost).toEqual([1, 4, 16, 64, 64, 64]);
  });
  it('comes back with each backup by hashes, whatever the reason was', () => {
    const trust = after({ misses: 2, byHashes: 4 }, { source: 'hashes', audit: undefined, changedBlocks: 800 });
    expect(trust).toEqual({ ...TRUST, misses: 2, byHashes: 3, allocatedBlocks: 800 });
    expect(after({}, { source: 'hashes', audit: undefined }).byHashes).toBe(0);
  });
  it('forgets a miss each time that the audit comes round without another', () => {
    expect(after({ misses: 2 }, { audit: { next: 0, allocated: 1 } }).misses).toBe(1);
    expect(after({ misses: 2 }, { audit: { next: 60, allocated: 1 } }).misses).toBe(2);
    expect(after({ misses: 2 }, { audit: { next: 0, allocated: 1 }, missedBlocks: 1 })).toMatchObject({
      misses: 3,
      byHashes: 16,
    });
  });
});
