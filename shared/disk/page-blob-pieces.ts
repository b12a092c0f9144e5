import type { BlobClient } from '@azure/storage-blob';
import { readBlobInto } from '../azure/blob-bytes.ts';
import type { TryWatch } from '../azure/observed-tries.ts';
import type { ByteRange } from '../domain/units.ts';

/** Most bytes in one Put Page: https://learn.microsoft.com/rest/api/storageservices/put-page */
export const WRITE_BYTES = 4_194_304;

/** Most bytes in one read. Azurite takes every range of up to 4 MiB from its disk twice, for an MD5 that nobody asked for. */
export const READ_BYTES = 8_388_608;

/** Cuts `range` into pieces of at most `mostBytes`, in order. */
export function piecesOf({ start, end }: ByteRange, mostBytes: number): ByteRange[] {
  const pieces: ByteRange[] = [];
  for (let at = start; at < end; at += mostBytes) pieces.push({ start: at, end: Math.min(at + mostBytes, end) });
  return pieces;
}

/** Memory for the bytes of `range`: the first of `into`, where that is given. */
export function roomFor({ start, end }: ByteRange, into: Uint8Array | undefined): Uint8Array {
  if (into !== undefined && into.byteLength < end - start)
    throw new RangeError(`${end - start} bytes do not fit into ${into.byteLength}`);
  return into?.subarray(0, end - start) ?? new Uint8Array(end - start);
}

/** The part of `bytes`, which are those of `range`, that a piece of the range takes. */
export function partOf(bytes: Uint8Array, range: ByteRange, piece: ByteRange): Uint8Array {
  return bytes.subarray(piece.start - range.start, piece.end - range.start);
}

/**
 * Runs `task` for each piece, at most `bound` at once. After a failure no further piece begins, and the failure is thrown when
 * those that run have ended: nothing goes on behind the caller's back.
 */
export async function eachPiece(
  pieces: readonly ByteRange[],
  bound: number,
  task: (piece: ByteRange) => Promise<void>,
): Promise<void> {
  const waiting = pieces.values();
  let failed: { error: unknown } | undefined;
  const lane = async (): Promise<void> => {
    for (const piece of waiting) {
      if (failed !== undefined) return;
      try {
        await task(piece);
      } catch (error) {
        failed ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(bound, pieces.length) }, lane));
  if (failed !== undefined) throw failed.error;
}

/**
 * Fills `into` with the blob's bytes from `offset`, by one request.
 * @throws RangeError when the blob ends before: callers know its size
 */
export async function readInto(
  client: BlobClient,
  offset: number,
  into: Uint8Array,
  abortSignal: AbortSignal,
  tries?: TryWatch,
): Promise<void> {
  const found = await readBlobInto(client, offset, into, abortSignal, tries);
  if (found !== into.byteLength) throw beyondEnd(client.url, { start: offset, end: offset + into.byteLength });
}

export function beyondEnd(url: string, { start, end }: ByteRange): RangeError {
  return new RangeError(`bytes ${start} to ${end} of ${url.split('?')[0]} lie beyond its end`);
}
