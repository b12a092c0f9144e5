import type { TokenCredential } from '@azure/identity';
import { QueueServiceClient } from '@azure/storage-queue';
import { BackupError } from '../domain/errors.ts';
import { checkDelay, messageText } from './message-text.ts';
import { QUEUE_OF } from './steps.ts';
import type { WorkQueue } from './work-queue.ts';

export interface StorageQueueOptions {
  /** A connection string (the local platform), or the account's queue endpoint and who asks. */
  readonly connection: string | { readonly endpoint: string; readonly credential: TokenCredential };
}

/** Never: the default of 7 days is shorter than a large first backup. */
const NO_EXPIRY = -1;

// The waits add up to 3 s at most; longer trouble is for the redelivery of the message whose handler was sending.
const CLIENT_OPTIONS = { retryOptions: { maxTries: 5, retryDelayInMs: 200, maxRetryDelayInMs: 2_000 } };

// One call with all its retries; the SDK itself would wait for ever on a connection that went silent.
const CALL_TIMEOUT_MS = 30_000;

function connect(connection: StorageQueueOptions['connection']): QueueServiceClient {
  if (typeof connection !== 'string')
    return new QueueServiceClient(connection.endpoint, connection.credential, CLIENT_OPTIONS);
  try {
    return QueueServiceClient.fromConnectionString(connection, CLIENT_OPTIONS);
  } catch (cause) {
    // The text itself holds a key and is not repeated.
    throw new BackupError('SettingInvalid', 'the connection string of the queue account cannot be read', { cause });
  }
}

const withTimeout = (): { abortSignal: AbortSignal } => ({ abortSignal: AbortSignal.timeout(CALL_TIMEOUT_MS) });

/**
 * The steps' queues in Azure Queue Storage, each made when its first message is sent.
 *
 * A retry after a lost answer can leave a message twice, and a StorageUnavailable may come after the message was left:
 * both are within at-least-once.
 */
export function storageQueue(options: StorageQueueOptions): WorkQueue {
  const service = connect(options.connection);
  return {
    async send(step, delaySeconds = 0) {
      checkDelay(delaySeconds);
      const text = messageText(step);
      const name = QUEUE_OF[step.step];
      const queue = service.getQueueClient(name);
      const put = (): Promise<unknown> =>
        queue.sendMessage(text, { messageTimeToLive: NO_EXPIRY, visibilityTimeout: delaySeconds, ...withTimeout() });
      try {
        try {
          await put();
        } catch (error) {
          if ((error as { code?: string }).code !== 'QueueNotFound') throw error;
          await queue.createIfNotExists(withTimeout());
          await put();
        }
      } catch (error) {
        throw unavailable(error, name);
      }
    },
  };
}

function unavailable(error: unknown, queue: string): BackupError {
  const { statusCode: status, code } = error as { statusCode?: number; code?: string };
  const message = `queue ${queue}: ${code ?? ''} ${error instanceof Error ? error.message.split('\n')[0] : ''}`;
  // Not allowed is passing trouble too: a new role assignment takes minutes to arrive.
  const ourFault = status !== undefined && status < 500 && ![401, 403, 404, 408, 409, 429].includes(status);
  return new BackupError(ourFault ? 'InternalError' : 'StorageUnavailable', message, { cause: error });
}
