import { readFileSync } from 'node:fs';
import type { Clock } from '../domain/clock.ts';

export const systemClock: Clock = { now: () => Date.now() };

/**
 * The local platform's clock: ahead of the system's by what `file` says, `{"offsetMs": n}`, which its clock control replaces as a whole.
 * It is read at every question, so that all processes of the platform move together.
 */
export function fileClock(file: string): Clock {
  return {
    now: () => {
      const { offsetMs } = JSON.parse(readFileSync(file, 'utf8')) as { offsetMs: number };
      return Date.now() + offsetMs;
    },
  };
}
