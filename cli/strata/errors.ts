/** What the program ends with; the help of the whole lists them. */
export const EXIT = { done: 0, refused: 1, usage: 2, unreachable: 3 } as const;

/** What the caller got wrong: one line, exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The service said no, or a job that it ran has failed: one line, exit status 1. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
}

/** Nobody answers where the service should be, or somebody else does, or no token is to be had: one line, exit status 3. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
}

/** The exit status of a failure; undefined for a fault of the program itself. */
export function exitOf(error: unknown): number | undefined {
  if (error instanceof UsageError) return EXIT.usage;
  if (error instanceof RefusedError) return EXIT.refused;
  if (error instanceof UnreachableError) return EXIT.unreachable;
  return undefined;
}
