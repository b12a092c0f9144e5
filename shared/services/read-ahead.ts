import type { ByteRange } from '../domain/units.ts';
import { inOrder } from './pipeline.ts';

/** Reads under way: more streams on one blob do not help past its cap. */
const READS_IN_FLIGHT = 4;

/** The lengths of buffers, of small reads and of the longest, and how many of each are kept when nobody reads: 80 MiB in all. */
const CLASSES = [
  { bytes: 256 * 1024, kept: 32 },
  { bytes: 9 * 1024 * 1024, kept: 8 },
];
const free = CLASSES.map((): Uint8Array[] => []);

/** A buffer of at least `bytes`, with anything in it. */
function take(bytes: number): Uint8Array {
  const own = CLASSES.findIndex((each) => bytes <= each.bytes);
  return free[own]?.pop() ?? Buffer.allocUnsafeSlow(CLASSES[own]?.bytes ?? bytes);
}

/** Gives a buffer back that nobody looks at or writes to any more. */
function give(buffer: Uint8Array): void {
  const own = CLASSES.findIndex(({ bytes }) => bytes === buffer.length);
  if (own >= 0 && free[own]!.length < CLASSES[own]!.kept) free[own]!.push(buffer);
}

/**
 * Reads pieces, several at once, and yields them in order. The bytes are good until the next piece is asked for: then their memory is
 * used again, since new memory for each read weighs on the garbage collector more than the read itself. What was read when the
 * caller stops early, or when a read fails, is not used again.
 */
export async function* readAhead<Piece extends { readonly range: ByteRange }>(
  pieces: Iterable<Piece>,
  read: (range: ByteRange, into: Uint8Array, piece: Piece) => Promise<Uint8Array>,
): AsyncGenerator<{ piece: Piece; bytes: Uint8Array }> {
  const reads = inOrder(pieces, READS_IN_FLIGHT, async (piece) => {
    const { range } = piece;
    const into = take(range.end - range.start);
    return { into, bytes: await read(range, into, piece) };
  });
  for await (const { item: piece, result } of reads) {
    yield { piece, bytes: result.bytes };
    give(result.into);
  }
}
