import { createCipheriv, createHash } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import { BLOCK_BYTES, FRAME_BLOCKS, REGION_BYTES } from '../shared/domain/units.ts';

/** What is made at once: a multiple of a block, and the most that Put Page takes. */
export const PIECE_BYTES = 4 * 1024 * 1024;
export const DISK_BYTES = 4 * REGION_BYTES;

const MIB = 1024 * 1024;
/** Runs of data in a region. Between them lie holes. */
const RUNS = 4;
const TEXT_BYTES = 8 * MIB;
/** Content of one kind lies together in runs of this, as files do. */
const FILE_BYTES = 64 * 1024;
/** Of 16 runs these are noise (media, archives) and text; the rest are records with 2 KiB of text in each 16 KiB and zeros behind. */
const NOISE_RUNS = 5;
const TEXT_RUNS = 7;
const RECORD_BYTES = 2 * 1024;

/** A stream of pseudo-random bytes that depends on `name` alone. */
function noise(name: string, bytes: number): Buffer {
  const seed = createHash('sha256').update(`strata bench ${name}`).digest();
  return createCipheriv('aes-128-ctr', seed.subarray(0, 16), seed.subarray(16)).update(Buffer.alloc(bytes));
}

/** Words of three to ten letters in random order, some words far more often than others. */
function words(): Buffer {
  const dice = noise('text', TEXT_BYTES);
  const letters = 'etaoinshrdlucmfwypvbgkjqxz';
  const known = Array.from({ length: 4096 }, (_, i) =>
    Array.from(
      { length: 3 + (i % 8) },
      (_, k) => letters[(dice[(i * 11 + k) % TEXT_BYTES]! * dice[i + k]!) % 26]!,
    ).join(''),
  );
  const parts: string[] = [];
  for (let at = 0, bytes = 0; bytes < TEXT_BYTES; at += 3) {
    const common = dice[at % TEXT_BYTES]! < 128;
    const word = known[(dice[(at + 1) % TEXT_BYTES]! * 256 + dice[(at + 2) % TEXT_BYTES]!) % (common ? 128 : 4096)]!;
    parts.push(word);
    bytes += word.length + 1;
  }
  return Buffer.from(parts.join(' '), 'latin1').subarray(0, TEXT_BYTES);
}

let text: Buffer | undefined;

/** `bytes` of disk content, the same for the same name in every run. */
export function content(name: string, bytes: number): Buffer {
  text ??= words();
  const made = noise(name, bytes);
  for (let at = 0; at < bytes; at += FILE_BYTES) {
    const kind = made[at]! % 16;
    const end = Math.min(at + FILE_BYTES, bytes);
    const from = made.readUInt32LE(at + 4) % (TEXT_BYTES - FILE_BYTES);
    if (kind < NOISE_RUNS) continue;
    if (kind < NOISE_RUNS + TEXT_RUNS) {
      text.copy(made, at, from, from + end - at);
      continue;
    }
    for (let record = at; record < end; record += BLOCK_BYTES) {
      text.copy(made, record, from + record - at, from + record - at + RECORD_BYTES);
      made.fill(0, record + RECORD_BYTES, Math.min(record + BLOCK_BYTES, end));
    }
  }
  return made;
}

/** What zstd at level 1 leaves of this content when it works on runs as long as a frame: 0.5 is half. */
export function compressedShare(): number {
  const sample = content('sample', 16 * PIECE_BYTES);
  const frame = FRAME_BLOCKS * BLOCK_BYTES;
  let left = 0;
  for (let at = 0; at < sample.length; at += frame) {
    left += zstdCompressSync(sample.subarray(at, at + frame), { params: { 100: 1 } }).length;
  }
  return left / sample.length;
}

export interface Write {
  readonly offset: number;
  readonly bytes: number;
}

/** Where the data of a disk with `sizeMib` MiB of it lies: in every region some runs with holes between. */
export function initialWrites(sizeMib: number): Write[] {
  const run = (sizeMib * MIB) / (4 * RUNS);
  const writes: Write[] = [];
  for (let at = 0; at < DISK_BYTES; at += REGION_BYTES / RUNS) {
    for (let done = 0; done < run; done += PIECE_BYTES) {
      writes.push({ offset: at + done, bytes: Math.min(PIECE_BYTES, run - done) });
    }
  }
  return writes;
}

/**
 * A night's changes of `share` of the data: half of the bytes in runs of 1 MiB (logs, databases being loaded), half in writes
 * of 4 to 16 KiB at multiples of 4 KiB all over the data. Writes do not overlap.
 */
export function nightlyWrites(sizeMib: number, share: number): Write[] {
  const runBytes = (sizeMib * MIB) / (4 * RUNS);
  const dataBytes = sizeMib * MIB;
  const dice = noise('night', 8 * MIB);
  let thrown = 0;
  const below = (limit: number): number => dice.readUInt32LE(thrown++ * 4) % limit;
  const taken = new Set<number>();
  const writes: Write[] = [];
  const page = 4096;
  const add = (budget: number, size: () => number): void => {
    for (let left = budget; left > 0;) {
      const bytes = Math.min(size(), left);
      const at = below(dataBytes / page) * page;
      const inRun = at % runBytes;
      if (inRun + bytes > runBytes) continue;
      const pages = Array.from({ length: bytes / page }, (_, i) => at / page + i);
      if (pages.some((own) => taken.has(own))) continue;
      for (const own of pages) taken.add(own);
      writes.push({ offset: Math.floor(at / runBytes) * (REGION_BYTES / RUNS) + inRun, bytes });
      left -= bytes;
    }
  };
  const half = Math.floor((dataBytes * share) / 2 / page) * page;
  add(half, () => MIB);
  add(half, () => page * (1 + below(4)));
  return writes.sort((a, b) => a.offset - b.offset);
}
