import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { BackupError } from '../domain/errors.ts';
import { BLOCK_BYTES } from '../domain/units.ts';

/** How a frame's bytes are stored: as they are, or as one zstd frame with a content checksum. */
export const CODEC = { raw: 0, zstd: 1 } as const;
export type Codec = (typeof CODEC)[keyof typeof CODEC];

/** A run of raw blocks as it lies in a pack. */
export interface StoredFrame {
  readonly codec: Codec;
  readonly bytes: Uint8Array;
}

/** Compresses whole blocks, at once or in its own time; what is stored raw is the very bytes given. */
export type FrameEncoder = (blocks: Uint8Array) => StoredFrame | Promise<StoredFrame>;

/** Level 1: in bench/frames the stored size hardly falls above it and the time rises. */
export const ZSTD_PARAMS = { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 };

/** Room for a whole frame and a little more: zlib would make its output of 16 KiB pieces, and begin another where one is just full. */
const SPARE_BYTES = 64;

/** Compresses whole blocks; where that does not save anything they are stored raw, as the very bytes given. */
export function encodeFrame(blocks: Uint8Array): StoredFrame {
  const packed = zstdCompressSync(blocks, { params: ZSTD_PARAMS, chunkSize: blocks.length + SPARE_BYTES });
  return packed.length < blocks.length ? { codec: CODEC.zstd, bytes: packed } : { codec: CODEC.raw, bytes: blocks };
}

/**
 * The `blocks` raw blocks of a stored frame. For an error `where` names it, and `pack` the object that is damaged.
 * @throws BackupError PackCorrupt
 */
export function decodeFrame(
  stored: Uint8Array,
  codec: number,
  blocks: number,
  where: () => string,
  pack?: string,
): Uint8Array {
  const expected = blocks * BLOCK_BYTES;
  const corrupt = (what: string, cause?: unknown): BackupError =>
    new BackupError('PackCorrupt', `${where()} ${what}`, { cause, target: pack ?? where() });
  let raw: Uint8Array;
  try {
    raw =
      codec === CODEC.zstd
        ? zstdDecompressSync(stored, { maxOutputLength: expected, chunkSize: expected + SPARE_BYTES })
        : stored;
  } catch (cause) {
    throw corrupt('does not decompress', cause);
  }
  if (codec !== CODEC.zstd && codec !== CODEC.raw) throw corrupt(`has the unknown codec ${codec}`);
  if (raw.length !== expected) throw corrupt(`holds ${raw.length} bytes, expected ${expected}`);
  return raw;
}
