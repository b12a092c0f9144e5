import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { BackupError } from '../domain/errors.ts';

/**
 * JSON documents of a vault (vault.json, chain records, manifests, plans) prove themselves: the text begins with
 * `{"sha256":"<64 hexadecimal digits>",` and the digest is taken over the document's own name, a line feed, and every byte
 * after that comma. So a document that was altered, cut, or put under another's name is found, and any JSON reader can read it.
 */
const PREFIX = '{"sha256":"';
const DIGEST_AT = PREFIX.length;
const BODY_AT = DIGEST_AT + 64 + 2;

function digestOf(name: string, body: Uint8Array): string {
  return createHash('sha256').update(`${name}\n`).update(body).digest('hex');
}

/** The bytes of `value` as the document `name`. The value must be an object with at least one property. */
export function encodeDocument(name: string, value: object): Uint8Array {
  const body = Buffer.from(JSON.stringify(value).slice(1));
  return Buffer.concat([Buffer.from(`${PREFIX}${digestOf(name, body)}",`), body]);
}

/** Of any kind of document: which formats a kind has, its schema says. */
const NEWEST_FORMAT = 3;

/** The hexadecimal digest that a document carries in its first bytes. */
export function documentDigest(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(DIGEST_AT, DIGEST_AT + 64)).toString('latin1');
}

/**
 * The value of the document `name`. `sha256`, where the reader has been told it by the document that names this one, must be
 * the document's own.
 * @throws BackupError DocumentCorrupt, FormatUnsupported when its `format` is newer than `newest`
 */
export function decodeDocument<T>(name: string, bytes: Uint8Array, schema: z.ZodType<T>, sha256?: string): T {
  const corrupt = (what: string, cause?: unknown): BackupError =>
    new BackupError('DocumentCorrupt', `${name} ${what}`, { target: name, cause });
  const head = Buffer.from(bytes.subarray(0, BODY_AT)).toString('latin1');
  if (!/^\{"sha256":"[0-9a-f]{64}",$/.test(head)) throw corrupt('does not begin with its checksum');
  const actual = digestOf(name, bytes.subarray(BODY_AT));
  const stated = documentDigest(bytes);
  if (actual !== stated) throw corrupt(`hashes to ${actual}, it says ${stated} of itself`);
  if (sha256 !== undefined && sha256 !== stated)
    throw corrupt(`carries ${stated}, the record that names it says ${sha256}`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw corrupt('is not JSON', cause);
  }
  const format = (value as { format?: unknown }).format;
  const unsupported = (): BackupError => {
    const message = `${name} has format ${String(format)}, which this version does not read for its kind`;
    return new BackupError('FormatUnsupported', message, { target: name });
  };
  if (!Number.isInteger(format) || (format as number) < 1 || (format as number) > NEWEST_FORMAT) throw unsupported();
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  if (issue?.path[0] === 'format') throw unsupported();
  throw corrupt(`is not as it should be: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`, parsed.error);
}
