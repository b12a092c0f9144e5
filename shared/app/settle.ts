import { isBackupError } from '../domain/errors.ts';

/**
 * Runs a trigger's work. A failure is logged and thrown again, so that the platform redelivers the message; what it says is one line,
 * and the stack only where the failure is not one that Strata understands.
 */
export async function settle(log: (line: string) => void, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    log(
      isBackupError(error)
        ? `${error.code}: ${error.message}`
        : error instanceof Error
          ? (error.stack ?? error.message)
          : String(error),
    );
    throw error;
  }
}
