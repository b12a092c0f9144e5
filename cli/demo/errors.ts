/** What the caller of the demo got wrong: one line, exit status 2. */
export class DemoUsageError extends Error {
  override readonly name = 'DemoUsageError';
}

/** What did not go as it must while the demo ran: one line, exit status 1. */
export class DemoError extends Error {
  override readonly name = 'DemoError';
}
