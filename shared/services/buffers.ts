/**
 * Memory for bytes on their way, used again and again: new memory for each read weighs on the garbage collector more than the read
 * itself, since V8 collects the whole heap for every few dozen MiB of it.
 */

/** The lengths of buffers, for small reads, for runs of blocks and for the longest reads, and how many are kept when nobody needs them: 104 MiB in all. */
const CLASSES = [
  { bytes: 256 * 1024, kept: 32 },
  { bytes: 4 * 1024 * 1024, kept: 6 },
  { bytes: 9 * 1024 * 1024, kept: 8 },
];
const free = CLASSES.map((): Uint8Array[] => []);

/** A buffer of at least `bytes`, with anything in it. */
export function takeBuffer(bytes: number): Uint8Array {
  const own = CLASSES.findIndex((each) => bytes <= each.bytes);
  return free[own]?.pop() ?? Buffer.allocUnsafeSlow(CLASSES[own]?.bytes ?? bytes);
}

/** Gives a buffer back that nobody looks at or writes to any more. */
export function giveBuffer(buffer: Uint8Array): void {
  const own = CLASSES.findIndex(({ bytes }) => bytes === buffer.length);
  if (own >= 0 && free[own]!.length < CLASSES[own]!.kept) free[own]!.push(buffer);
}
