/** The platform cannot start or join, for a reason that one line can say. */
export class PlatformError extends Error {
  override readonly name = 'PlatformError';
}
