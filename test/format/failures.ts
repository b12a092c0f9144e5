import { expect } from 'vitest';
import { type ErrorCode, isBackupError } from '../../shared/domain/errors.ts';

/** The code of the BackupError that `work` throws; 'none' when it does not throw. Anything else thrown fails the test. */
export function codeOf(work: () => unknown): ErrorCode | 'none' {
  try {
    work();
    return 'none';
  } catch (error) {
    if (isBackupError(error)) return error.code;
    return expect.fail(`threw ${String(error)} instead of a BackupError`);
  }
}

/** Every file that is shorter than `bytes`. */
export const truncations = (bytes: Uint8Array): Uint8Array[] =>
  Array.from(bytes, (_, length) => bytes.subarray(0, length));

/** Every file that differs from `bytes` in one bit between `from` and `to`. */
export function* flips(
  bytes: Uint8Array,
  from = 0,
  to = bytes.length,
): Generator<{ bit: number; damaged: Uint8Array }> {
  for (let bit = from * 8; bit < to * 8; bit++) {
    const damaged = Uint8Array.from(bytes);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    yield { bit, damaged };
  }
}

/** Hexadecimal digits without the spaces that show what belongs together. */
export const unspaced = (hex: string): string => hex.replaceAll(' ', '');
