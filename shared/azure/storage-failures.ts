import { BackupError } from '../domain/errors.ts';

/** What the storage service, or the way to it, answered to a request that failed. */
export interface StorageFailure {
  /** The HTTP status, or undefined when no answer came. */
  readonly status: number | undefined;
  /** The service's error code (`BlobNotFound`) or the network's (`ECONNREFUSED`). */
  readonly code: string;
}

/** Reads an error of the storage SDK; undefined for anything else, such as a TypeError of our own. */
export function storageFailure(error: unknown): StorageFailure | undefined {
  if (!(error instanceof Error) || error instanceof BackupError) return undefined;
  // A cancelled request: the only canceller is the deadline that the adapters set themselves.
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return { status: undefined, code: 'Timeout' };
  const { statusCode, code, details } = error as {
    statusCode?: unknown;
    code?: unknown;
    details?: { errorCode?: unknown };
  };
  const named = details?.errorCode ?? code;
  if (typeof statusCode === 'number') {
    return { status: statusCode, code: typeof named === 'string' ? named : `HTTP ${statusCode}` };
  }
  if (error.name === 'RestError') return { status: undefined, code: typeof code === 'string' ? code : 'NoAnswer' };
  // Node's own socket errors, which a body stream that breaks off reports without the SDK's wrapping.
  if (typeof code === 'string' && /^(E[A-Z_]+|UND_ERR_|ERR_STREAM_|HPE_)/.test(code))
    return { status: undefined, code };
  return undefined;
}

/** Whether the same request may succeed later: no answer, overload, or a fault on the server's side. */
export function isPassing({ status, code }: StorageFailure): boolean {
  if (status === undefined) return true;
  // A container that is being deleted blocks its name for half a minute or more.
  return (status >= 500 && status !== 501) || status === 429 || status === 408 || code === 'ContainerBeingDeleted';
}

/** `409 BlobOverwritten`, for messages. */
export function answerOf({ status, code }: StorageFailure): string {
  return status === undefined ? code : `${status} ${code}`;
}

/** The project's error for a request that failed, the original kept as cause. `what` completes "could not ...". */
export function storageError(failure: StorageFailure, what: string, cause: unknown): BackupError {
  const message = `could not ${what}: the storage answered ${answerOf(failure)}`;
  if (isPassing(failure)) return new BackupError('StorageUnavailable', message, { cause });
  if (failure.status === 401 || failure.status === 403) {
    return new BackupError('AuthorizationFailed', `${message}; Strata's identity needs the right to it`, { cause });
  }
  return new BackupError('InternalError', message, { cause });
}

/** As `storageError` of what was thrown. What is no storage failure comes back as it is: a bug shall look like one. */
export function translated(error: unknown, what: string): unknown {
  const failure = storageFailure(error);
  return failure === undefined ? error : storageError(failure, what, error);
}
