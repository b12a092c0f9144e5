import { readFileSync } from 'node:fs';
import type { Clock } from '../domain/clock.ts';

export const systemClock: Clock = { now: () => Date.now() };

/**
 * The local platform's clock: ahead of the system's by what `file` says, `{"offsetMs": n}`, which its clock control replaces as a whole.
 * The file is made when the clock is first moved; until then it is not ahead. It is read at every question, so that all processes
 * of the platform move together.
 */
export function fileClock(file: string): Clock {
  return { now: () => Date.now() + offsetMs(file) };
}

function offsetMs(file: string): number {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { offsetMs: number }).offsetMs;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}
