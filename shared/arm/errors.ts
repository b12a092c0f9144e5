import { BackupError, ERROR_TABLE } from '../domain/errors.ts';
import { hideSecrets } from '../domain/secrets.ts';
import type { Log } from '../services/ports.ts';
import type { ArmAnswer } from './http.ts';

/** Seconds after which a caller may try again what can succeed without any change. */
const RETRY_AFTER_SECONDS = '10';

/**
 * The one place where failures become ARM error bodies. A BackupError speaks for itself; anything else is a fault of ours: the log
 * gets all of it, the caller only `reference` to ask about. What a caller or a storage has put into a message may be secret, and is hidden.
 */
export function errorAnswer(error: unknown, reference: string, log: Log): ArmAnswer {
  if (!(error instanceof BackupError) || error.code === 'InternalError') {
    log(`error ${reference}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`, 'error');
    const message = `an unexpected error; the log has it under ${reference}`;
    return { status: 500, body: { error: { code: 'InternalError', message } } };
  }
  const { http, retry } = ERROR_TABLE[error.code];
  if (http >= 500) log(`error ${reference}: ${error.code}: ${error.message}`, 'error');
  return {
    status: http,
    headers: {
      ...(retry ? { 'retry-after': RETRY_AFTER_SECONDS } : {}),
      ...(http === 401 ? { 'www-authenticate': 'Bearer' } : {}),
      ...(error instanceof MethodNotAllowedError ? { allow: error.allowed.join(', ') } : {}),
    },
    body: {
      error: {
        code: error.code,
        message: hideSecrets(error.message),
        ...(error.target === undefined ? {} : { target: hideSecrets(error.target) }),
        ...(error instanceof FieldsError
          ? { details: error.details.map((own) => ({ ...own, message: hideSecrets(own.message) })) }
          : {}),
      },
    },
  };
}

/** What is wrong with one field of a request. */
export interface FieldProblem {
  readonly code: string;
  readonly target: string;
  readonly message: string;
}

/** A request with fields that do not fit: all of them are named. */
export class FieldsError extends BackupError {
  readonly details: readonly FieldProblem[];

  constructor(code: BackupError['code'], problems: readonly { target: string; message: string }[]) {
    const text = problems.map(({ target, message }) => `${target}: ${message}`).join('; ');
    super(code, `the request is not valid: ${text}`, { target: problems[0]?.target ?? 'body' });
    this.details = problems.map((problem) => ({ code, ...problem }));
  }
}

/** A path that exists, asked with a method that it does not have. */
export class MethodNotAllowedError extends BackupError {
  readonly allowed: readonly string[];

  constructor(method: string, allowed: readonly string[], why?: string) {
    super('MethodNotAllowed', why ?? `${method} is not allowed here; allowed are ${allowed.join(', ')}`);
    this.allowed = allowed;
  }
}

/** The front door's own words for a resource that is not there: clients look for the code, people for the rest. */
export function resourceNotFound(type: string, name: string, resourceGroup: string): BackupError {
  return new BackupError(
    'ResourceNotFound',
    `The Resource '${type}/${name}' under resource group '${resourceGroup}' was not found.`,
  );
}
