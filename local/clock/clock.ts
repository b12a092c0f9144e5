import { readFileSync } from 'node:fs';
import { writeFileAtomic } from '../platform/files.ts';

/** A clock whose distance from the system's is kept in a file, so that every process of a platform sees the same time. */
export interface ControllableClock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Moves forward to `timeMs`; a time that has passed already changes nothing, because this clock never goes back. */
  advanceTo(timeMs: number): void;
}

/** The file's content: `now = system time + offsetMs`. */
interface ClockFile {
  readonly offsetMs: number;
}

/**
 * Opens the clock in `path`; a missing file means an offset of 0.
 *
 * Only one process may advance a clock (the platform's main host); any number may read it. Each reading looks at the file, so
 * that a move is seen by all at once.
 * @throws Error when the file is not `{ "offsetMs": <integer of milliseconds, at least 0> }`
 */
export function openClock(path: string, systemNow: () => number = Date.now): ControllableClock {
  const now = (): number => systemNow() + readOffset(path);
  return {
    now,
    advanceTo(timeMs) {
      if (timeMs <= now()) return;
      const content: ClockFile = { offsetMs: Math.ceil(timeMs - systemNow()) };
      writeFileAtomic(path, JSON.stringify(content));
    },
  };
}

function readOffset(path: string): number {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
  const offsetMs = parseOffset(text);
  if (offsetMs === undefined)
    throw new Error(
      `the clock file ${path} must be {"offsetMs": <milliseconds, 0 or more>}; it says ${text.slice(0, 80)}`,
    );
  return offsetMs;
}

function parseOffset(text: string): number | undefined {
  try {
    const { offsetMs } = JSON.parse(text) as Partial<ClockFile>;
    return typeof offsetMs === 'number' && Number.isFinite(offsetMs) && offsetMs >= 0 ? offsetMs : undefined;
  } catch {
    return undefined;
  }
}
