import { AsyncLocalStorage } from 'node:async_hooks';
import { hideSecrets } from '../domain/secrets.ts';
import type { LogLevel } from '../services/ports.ts';
import { currentIds, labelled } from '../services/request-context.ts';

/** What of an invocation's context the log needs: its name in the host, and where its lines go. */
export interface Invocation {
  readonly invocationId: string;
  readonly functionName: string;
  info(line: string): void;
  warn(line: string): void;
  error(line: string): void;
}

export interface LogOptions {
  /** `json`: one object a line, for machines. `text`: the same for a person at a terminal. */
  readonly format: 'json' | 'text';
  /** Secrets of this deployment: hidden wherever they stand in a line. */
  readonly secrets: readonly string[];
  /** Where lines go that belong to no invocation. */
  readonly print: (line: string) => void;
}

const invocations = new AsyncLocalStorage<Invocation>();

/** Runs `work`; its lines go to the invocation, whose host knows their level and what they belong to. */
export function inInvocation<Result>(invocation: Invocation, work: () => Result): Result {
  return invocations.run(invocation, work);
}

/**
 * The one way into the log. What a line says is passed through `hideSecrets` here, whoever has written it, and gets the ids of the work
 * in hand. In JSON these are fields: `time` (the machine's, in UTC), `level`, `message`, and, where they are known, `function`, `invocationId`,
 * `requestId`, `correlationId`, `jobId`, `vault`, `item`.
 */
export function createLog({ format, secrets, print }: LogOptions): (message: string, level?: LogLevel) => void {
  return (message, level = 'warning') => {
    const invocation = invocations.getStore();
    const shown = hideSecrets(message, secrets);
    const line = format === 'text' ? labelled(shown) : JSON.stringify(record(shown, level, invocation));
    if (invocation === undefined) print(line);
    else if (level === 'info') invocation.info(line);
    else if (level === 'warning') invocation.warn(line);
    else invocation.error(line);
  };
}

function record(message: string, level: LogLevel, invocation: Invocation | undefined): Record<string, unknown> {
  const { requestId, correlationId, jobId, vault, item } = currentIds() ?? {};
  return {
    time: new Date().toISOString(),
    level,
    message,
    function: invocation?.functionName,
    invocationId: invocation?.invocationId,
    requestId,
    correlationId,
    jobId,
    vault,
    item,
  };
}
