import { isBackupError } from '../domain/errors.ts';
import { labelled, type WorkIds, withIds } from '../services/request-context.ts';

/**
 * Runs a trigger's work in the name of its invocation, or of the job that its message belongs to. A failure is logged and thrown again, so that the platform redelivers the message; what it says is one line,
 * and the stack only where the failure is not one that Strata understands.
 */
export function settle(
  context: { readonly invocationId: string; error(line: string): void },
  work: () => Promise<unknown>,
  jobId?: string,
): Promise<void> {
  const { invocationId } = context;
  const ids: WorkIds = {
    requestId: invocationId,
    correlationId: invocationId,
    ...(jobId === undefined ? {} : { jobId }),
  };
  return withIds(ids, async () => {
    try {
      await work();
    } catch (error) {
      context.error(labelled(textOf(error)));
      throw error;
    }
  });
}

function textOf(error: unknown): string {
  if (isBackupError(error)) return `${error.code}: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
