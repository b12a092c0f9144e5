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

/** Level 1: in bench/frames the stored size hardly falls above it and the time rises. */
const OPTIONS = { params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 } };

/** Compresses whole blocks; where that does not save anything they are stored raw. */
export function encodeFrame(blocks: Uint8Array): StoredFrame {
  const packed = zstdCompressSync(blocks, OPTIONS);
  return packed.length < blocks.length ? { codec: CODEC.zstd, bytes: packed } : { codec: CODEC.raw, bytes: blocks };
}

/**
 * The `blocks` raw blocks of a stored frame. `where` names it for the error.
 * @throws BackupError PackCorrupt
 */
export function decodeFrame(stored: Uint8Array, codec: number, blocks: number, where: string): Uint8Array {
  const expected = blocks * BLOCK_BYTES;
  let raw: Uint8Array;
  try {
    raw = codec === CODEC.zstd ? zstdDecompressSync(stored, { maxOutputLength: expected }) : stored;
  } catch (cause) {
    throw new BackupError('PackCorrupt', `${where} does not decompress`, { cause, target: where });
  }
  if (codec !== CODEC.zstd && codec !== CODEC.raw) {
    throw new BackupError('PackCorrupt', `${where} has the unknown codec ${codec}`, { target: where });
  }
  if (raw.length !== expected) {
    throw new BackupError('PackCorrupt', `${where} holds ${raw.length} bytes, expected ${expected}`, { target: where });
  }
  return raw;
}
