/** A key for "newest first": later times come first, equal ones by id. */
export function newestFirst(timeMs: number, id: string): string {
  return `${timeKey(timeMs)}|${id}`;
}

/** Which keys of `newestFirst` are of times from `from` to `until`, both included. */
export function keysOfTimes(from = -Infinity, until = Infinity): { from?: string; to?: string } {
  return {
    ...(Number.isFinite(until) ? { from: timeKey(until) } : {}),
    ...(Number.isFinite(from) ? { to: timeKey(Math.ceil(from) - 1) } : {}),
  };
}

const timeKey = (timeMs: number): string => (10 ** 15 - Math.trunc(timeMs)).toString().padStart(16, '0');
