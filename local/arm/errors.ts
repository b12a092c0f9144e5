import type { ZodType } from 'zod';

/**
 * A failure as Azure Resource Manager words it. `code` is Azure's own where Azure has one for the case, so that clients
 * that branch on codes meet here what they meet there.
 */
export class ArmError extends Error {
  override readonly name = 'ArmError';
  readonly status: number;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: string, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** 400: a value that the caller sent. */
export function invalidParameter(message: string): ArmError {
  return new ArmError(400, 'InvalidParameter', message);
}

/** 409: a sound request at the wrong moment. */
export function notAllowed(message: string): ArmError {
  return new ArmError(409, 'OperationNotAllowed', message);
}

/** 404 for a resource that has its own path. */
export function resourceNotFound(type: string, name: string, resourceGroup: string): ArmError {
  return new ArmError(
    404,
    'ResourceNotFound',
    `The Resource '${type}/${name}' under resource group '${resourceGroup}' was not found.`,
  );
}

/** @throws ArmError 405 unless the request's method is one of `allowed`. */
export function requireMethod(request: Request, allowed: string[]): void {
  if (!allowed.includes(request.method)) throw methodNotAllowed(request, allowed);
}

export function methodNotAllowed(request: Request, allowed: string[]): ArmError {
  return new ArmError(
    405,
    'MethodNotAllowed',
    `The method ${request.method} is not allowed here; allowed are ${allowed.join(', ')}.`,
    { allow: allowed.join(', ') },
  );
}

/** `{error:{code,message}}` with the matching status; anything that is not an ArmError is a fault of this server (500). */
export function errorResponse(error: unknown): Response {
  if (error instanceof ArmError) {
    return Response.json(
      { error: { code: error.code, message: error.message } },
      { status: error.status, headers: { ...error.headers } },
    );
  }
  console.error(error);
  const message = error instanceof Error ? error.message : String(error);
  return Response.json({ error: { code: 'InternalServerError', message } }, { status: 500 });
}

/** The request's body as a JSON value. @throws ArmError when it is not JSON, or empty while `required`. */
export async function readJson(request: Request, required = true): Promise<unknown> {
  const text = await request.text();
  if (text.trim() === '' && !required) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = text.trim() === '' ? 'the body is empty' : (error as Error).message;
    throw new ArmError(
      400,
      'InvalidRequestContent',
      `The request content was invalid and could not be deserialized: ${reason}. It must be a JSON object.`,
    );
  }
}

/** The value as `schema` shapes it. @throws ArmError naming each field that does not fit and why. */
export function parseBody<T>(schema: ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const complaints = result.error.issues.map((issue) => `'${issue.path.join('.') || 'body'}': ${issue.message}`);
  throw invalidParameter(`The request is invalid: ${complaints.join('; ')}.`);
}
