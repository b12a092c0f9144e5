import type { Readable } from 'node:stream';
import type { BlobClient } from '@azure/storage-blob';
import { readBlobInto } from '../azure/blob-bytes.ts';
import type { TryWatch } from '../azure/observed-tries.ts';
import { BackupError } from '../domain/errors.ts';
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

/** What `readLong` hands on at once. */
const LONG_PIECE_BYTES = 1_048_576;
/** A long read is given up when it goes on more slowly than this, after its first minute. */
export const LEAST_BYTES_PER_MS = 4_194_304 / 1_000;

/** What a taker has thrown, `thrown`, on its way past those who would ask again. */
class TakerFailed extends Error {
  readonly thrown: unknown;

  constructor(thrown: unknown) {
    super('whoever takes the bytes has failed');
    this.thrown = thrown;
  }
}

/**
 * Gives `take` the blob's bytes of `range` in pieces, by one request. Where the connection breaks, the client asks for the rest.
 * @throws RangeError when the blob ends before, and what `take` throws
 */
export async function readThrough(
  client: BlobClient,
  { start, end }: ByteRange,
  take: (bytes: Uint8Array) => Promise<void>,
  abortSignal: AbortSignal,
): Promise<void> {
  const answer = await client.download(start, end - start, { abortSignal, maxRetryRequests: 5 });
  const body = answer.readableStreamBody as Readable;
  if (answer.contentLength !== end - start) {
    body.resume();
    throw beyondEnd(client.url, { start, end });
  }
  const room = Buffer.allocUnsafe(Math.min(LONG_PIECE_BYTES, end - start));
  let filled = 0;
  let taken = 0;
  const handOn = async (): Promise<void> => {
    await take(room.subarray(0, filled));
    taken += filled;
    filled = 0;
  };
  for await (const chunk of body as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length;) {
      const count = chunk.copy(room, filled, at);
      filled += count;
      at += count;
      if (filled === room.length) await handOn();
    }
  }
  if (filled > 0) await handOn();
  if (taken !== end - start)
    throw new BackupError('StorageUnavailable', `a body of ${end - start} bytes broke off after ${taken}`);
}

/**
 * Does `request` with what is left of `range`, and with a taker that keeps count: so whatever does it again, for another grant or after a
 * refusal, goes on behind what has been taken. A taker that fails ends all of it: what it throws is thrown as it is.
 */
export async function goingOn(
  range: ByteRange,
  take: (bytes: Uint8Array) => Promise<void>,
  request: (left: () => ByteRange, take: (bytes: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<void> {
  let at = range.start;
  try {
    await request(
      () => ({ start: at, end: range.end }),
      async (bytes) => {
        try {
          await take(bytes);
        } catch (error) {
          throw new TakerFailed(error);
        }
        at += bytes.length;
      },
    );
  } catch (error) {
    throw error instanceof TakerFailed ? error.thrown : error;
  }
}

export function beyondEnd(url: string, { start, end }: ByteRange): RangeError {
  return new RangeError(`bytes ${start} to ${end} of ${url.split('?')[0]} lie beyond its end`);
}
