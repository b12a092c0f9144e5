import type { ByteRange } from '../domain/units.ts';
import { giveBuffer, takeBuffer } from './buffers.ts';
import { inOrder } from './pipeline.ts';

/** Reads under way: more streams on one blob do not help past its cap. */
const READS_IN_FLIGHT = 4;

/**
 * Reads pieces, several at once, and yields them in order. The bytes are good until the next piece is asked for: then their memory is
 * used again. What was read when the caller stops early, or when a read fails, is not used again.
 */
export async function* readAhead<Piece extends { readonly range: ByteRange }>(
  pieces: Iterable<Piece>,
  read: (range: ByteRange, into: Uint8Array, piece: Piece) => Promise<Uint8Array>,
): AsyncGenerator<{ piece: Piece; bytes: Uint8Array }> {
  const reads = inOrder(pieces, READS_IN_FLIGHT, async (piece) => {
    const { range } = piece;
    const into = takeBuffer(range.end - range.start);
    return { into, bytes: await read(range, into, piece) };
  });
  for await (const { item: piece, result } of reads) {
    yield { piece, bytes: result.bytes };
    giveBuffer(result.into);
  }
}
