import { isBackupError } from '../domain/errors.ts';
import { hideSecrets } from '../domain/secrets.ts';
import type { Log } from '../services/ports.ts';
import { type WorkIds, withIds } from '../services/request-context.ts';
import { inInvocation, type Invocation } from './log.ts';

/**
 * Runs a trigger's work in the name of its invocation, and of the job or item that its message belongs to. A failure is logged and thrown
 * again, so that the platform redelivers the message; what it says is one line, and the stack only where the failure is not one that
 * Strata understands. The platform logs what is thrown by itself, so that secrets are taken out of that too.
 */
export function settle(
  context: Invocation,
  log: Log,
  work: () => Promise<unknown>,
  subject: Pick<WorkIds, 'jobId' | 'vault' | 'item'> = {},
): Promise<void> {
  const { invocationId } = context;
  return inInvocation(context, () =>
    withIds({ requestId: invocationId, correlationId: invocationId, ...subject }, async () => {
      try {
        await work();
      } catch (error) {
        log(textOf(error), 'error');
        throw withoutSecrets(error);
      }
    }),
  );
}

function textOf(error: unknown): string {
  if (isBackupError(error)) return `${error.code}: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The error itself where nothing of it or of its causes is secret, else one that says as much as may be said. */
function withoutSecrets(error: unknown): unknown {
  if (!(error instanceof Error)) return typeof error === 'string' ? hideSecrets(error) : error;
  const all = [];
  for (let own: unknown = error; own instanceof Error && all.length < 10; own = own.cause) all.push(own);
  if (all.every(({ message, stack = '' }) => hideSecrets(message) === message && hideSecrets(stack) === stack)) {
    return error;
  }
  const safe = new Error(hideSecrets(error.message));
  safe.name = error.name;
  safe.stack = hideSecrets(error.stack ?? '');
  return safe;
}
