import { BackupError } from '../domain/errors.ts';
import type { ArmRequest } from './http.ts';

/** The largest body that any call here needs is a policy or a vault, of a few KiB. */
const MOST_BODY_BYTES = 256 * 1024;

/** Nothing of a body that is said to be too large is read. @throws BackupError RequestEntityTooLarge */
export function checkLength({ headers }: ArmRequest): void {
  const said = Number(headers.get('content-length') ?? 0);
  if (said > MOST_BODY_BYTES) throw tooLarge(`has ${said} bytes`);
}

/** @throws BackupError UnsupportedMediaType for a body that says to be something else than JSON; one that does not say is taken for it */
export function checkMediaType({ headers }: ArmRequest): void {
  const given = headers.get('content-type')?.trim() ?? '';
  if (given === '' || /^(?:application|text)\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(given)) return;
  throw new BackupError(
    'UnsupportedMediaType',
    `the content-type is ${JSON.stringify(given.slice(0, 100))}: expected application/json`,
    { target: 'content-type' },
  );
}

/**
 * The body's text; empty when there is none. Of one that is too large no more is read than shows it.
 * @throws BackupError RequestEntityTooLarge, InvalidRequestContent when it is not UTF-8
 */
async function readText(request: ArmRequest): Promise<string> {
  checkLength(request);
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of request.body ?? []) {
    bytes += piece.byteLength;
    if (bytes > MOST_BODY_BYTES) throw tooLarge(`is longer than ${MOST_BODY_BYTES} bytes`);
    pieces.push(piece);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(pieces));
  } catch (cause) {
    throw new BackupError('InvalidRequestContent', 'the body is not UTF-8', { target: 'body', cause });
  }
}

/**
 * The body as JSON; undefined when there is none. `check` is asked about a request that has one.
 * @throws BackupError RequestEntityTooLarge, InvalidRequestContent
 */
export async function readJson(request: ArmRequest, check: (request: ArmRequest) => void = () => {}): Promise<unknown> {
  const text = await readText(request);
  if (text.trim() === '') return undefined;
  check(request);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new BackupError('InvalidRequestContent', `the body is not JSON: ${(cause as Error).message}`, {
      target: 'body',
      cause,
    });
  }
}

function tooLarge(problem: string): BackupError {
  return new BackupError('RequestEntityTooLarge', `the body ${problem}: expected at most ${MOST_BODY_BYTES}`, {
    target: 'body',
  });
}
