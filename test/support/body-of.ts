import { Readable } from 'node:stream';

/** A request's body as a server hands it on, in pieces of at most 64 KiB. */
export function bodyOf(text: string): AsyncIterable<Uint8Array> | null {
  if (text === '') return null;
  const bytes = Buffer.from(text);
  const pieces = Array.from({ length: Math.ceil(bytes.byteLength / 65_536) }, (_, i) =>
    bytes.subarray(i * 65_536, (i + 1) * 65_536),
  );
  return Readable.from(pieces);
}
