import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isBackupError } from '../../shared/domain/errors.ts';
import { attemptId, diskId, itemId, jobId, nextPointId, pointId, runId } from '../../shared/domain/ids.ts';

describe('ids', () => {
  const table: [string, (text: string) => string, string[], string[]][] = [
    ['item', itemId, ['vm-1', 'a', '0_a.b-c', 'a'.repeat(80)], ['', 'A', '-a', 'a/b', 'a b', 'a'.repeat(81), 'a\n']],
    ['disk', diskId, ['d-1', '0', 'a'.repeat(40)], ['', 'D', 'a.b', '-a', 'a'.repeat(41), 'a\n']],
    ['point', pointId, ['00000000000000001'], ['1', '0000000000000000a', '000000000000000001', '00000000000000001\n']],
    ['attempt', attemptId, ['0123456789abcdef'], ['0123456789ABCDEF', '0123456789abcde', '0123456789abcdef0']],
    ['run', runId, ['01234567'], ['0123456', '0123456g']],
    [
      'job',
      jobId,
      ['01234567-89ab-cdef-0123-456789abcdef'],
      ['01234567-89AB-cdef-0123-456789abcdef', '0123456789abcdef0123456789abcdef'],
    ],
  ];
  it.each(table)('%s', (_, parse, good, bad) => {
    for (const text of good) expect(parse(text)).toBe(text);
    for (const text of bad)
      expect(() => parse(text)).toThrow(expect.toSatisfy((error) => isBackupError(error, 'InvalidRequest')));
  });
});

describe('the next point', () => {
  it('is told by the clock', () => expect(nextPointId(Date.UTC(2026, 0, 1, 12), undefined)).toBe('17672688000000000'));
  it('comes after the last one though the clock stepped back', () => {
    expect(nextPointId(0, pointId('17672688000000000'))).toBe('17672688000000001');
  });
  it('ascends whatever the clock does', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: Date.UTC(2100, 0) }), { minLength: 2 }), (times) => {
        const made = times.reduce<ReturnType<typeof nextPointId>[]>(
          (ids, now) => [...ids, nextPointId(now, ids.at(-1))],
          [],
        );
        expect(made.toSorted()).toEqual(made);
        expect(new Set(made).size).toBe(made.length);
      }),
    );
  });
});
