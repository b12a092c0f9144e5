import { type StorageFailure, isPassing, storageError, storageFailure } from '../azure/storage-failures.ts';
import type { BackupError } from '../domain/errors.ts';

/**
 * Runs one request. A failure becomes the project's error at once, the original kept as cause: what `meaning` makes of it;
 * else by its kind. `what` completes "could not ...". What is no storage failure passes: a bug shall look like one.
 */
export async function asked<T>(
  what: string,
  request: () => Promise<T>,
  meaning: (
    failure: StorageFailure,
    cause: unknown,
  ) => BackupError | undefined | Promise<BackupError | undefined> = () => undefined,
): Promise<T> {
  try {
    return await request();
  } catch (error) {
    const failure = storageFailure(error);
    if (failure === undefined) throw error;
    const isMeant = !isPassing(failure) || failure.code === 'ENOTFOUND';
    const meant = isMeant ? await meaning(failure, error) : undefined;
    throw meant ?? storageError(failure, what, error);
  }
}
