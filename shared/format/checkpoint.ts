import { createHash } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { BackupError } from '../domain/errors.ts';
import { CLEARED, type Extent, dataBlocks } from '../domain/extent.ts';
import { attemptId, pointId } from '../domain/ids.ts';
import { type KnownBlocks, type OwnerMap, hashesOf } from '../domain/known-blocks.ts';
import type { LayerName } from '../domain/point-stack.ts';
import { HASH_BYTES } from '../domain/units.ts';
import { ColumnReader, ColumnWriter } from './columns.ts';

/**
 * A checkpoint: the extent map of a region's view, with the layer in which each block's bytes are to be found, and the hashes. It
 * holds no bytes of blocks and knows of no pack, so nothing is lost with it: a reader that cannot use it reads the layers.
 * A 64-byte header, the map (compressed columns), the hash column.
 */
const MAGIC = 'STRATACP';
const VERSION = 1;
export const CHECKPOINT_HEADER_BYTES = 64;
const MOST_MAP_BYTES = 16 * 1024 * 1024;
const OPTIONS = { params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_checksumFlag]: 1 } };

/** The view above a stack of layers. */
export interface Checkpoint {
  /** The stack that it stands for, oldest first. */
  readonly layers: readonly LayerName[];
  /** Extents of layer numbers in `layers`. */
  readonly extents: OwnerMap;
  /** SHA-256 of each stored block, in the order of the extents. */
  readonly hashes: Uint8Array;
}

/** The checkpoint of a stack whose blocks are known by owner. */
export function checkpointOf(layers: readonly LayerName[], known: KnownBlocks & { extents: OwnerMap }): Checkpoint {
  return { layers, extents: known.extents, hashes: hashesOf(known) };
}

/** The bytes of a checkpoint, to be stored under `name` and nowhere else. */
export function encodeCheckpoint(name: string, { layers, extents, hashes }: Checkpoint): Uint8Array {
  const columns = new ColumnWriter();
  columns.u32(layers.length);
  for (const { point, attempt, slab } of layers) {
    columns.text(point);
    columns.text(attempt);
    columns.u8(slab === undefined ? 0 : 1);
    columns.u32(slab?.number ?? 0);
    columns.u32(slab?.offset ?? 0);
    columns.u32(slab?.bytes ?? 0);
  }
  columns.u32(extents.length);
  let end = 0;
  for (const { start, count } of extents) {
    columns.u32(start - end);
    end = start + count;
  }
  for (const { count } of extents) columns.u32(count);
  for (const { frame } of extents) columns.u32(frame + 1);
  const raw = columns.finish();
  const map = zstdCompressSync(raw, OPTIONS);
  const header = Buffer.alloc(CHECKPOINT_HEADER_BYTES);
  header.write(MAGIC, 0, 'latin1');
  header.writeUInt16LE(VERSION, 8);
  header.writeUInt32LE(map.length, 12);
  header.writeUInt32LE(raw.length, 16);
  digest(name, header.subarray(0, 32), map, hashes).copy(header, 32);
  return Buffer.concat([header, map, hashes]);
}

function digest(name: string, ...parts: Uint8Array[]): Buffer {
  const hash = createHash('sha256').update(`${name}\n`);
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** @throws BackupError CheckpointCorrupt, FormatUnsupported */
export function decodeCheckpoint(name: string, bytes: Uint8Array): Checkpoint {
  const corrupt = (what: string, cause?: unknown): BackupError =>
    new BackupError('CheckpointCorrupt', `${name} ${what}`, { target: name, cause });
  if (bytes.length < CHECKPOINT_HEADER_BYTES) throw corrupt(`is only ${bytes.length} bytes long`);
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, CHECKPOINT_HEADER_BYTES);
  if (header.toString('latin1', 0, 8) !== MAGIC) throw corrupt('is not a checkpoint');
  const version = header.readUInt16LE(8);
  if (version !== VERSION) {
    const message = `${name} has checkpoint version ${version}; this version reads ${VERSION}`;
    throw new BackupError('FormatUnsupported', message, { target: name });
  }
  const mapEnd = CHECKPOINT_HEADER_BYTES + header.readUInt32LE(12);
  const rawBytes = header.readUInt32LE(16);
  const map = bytes.subarray(CHECKPOINT_HEADER_BYTES, mapEnd);
  const hashes = bytes.subarray(mapEnd);
  if (!digest(name, header.subarray(0, 32), map, hashes).equals(header.subarray(32)))
    throw corrupt('fails its checksum');
  if (rawBytes > MOST_MAP_BYTES) throw corrupt(`states a map of ${rawBytes} bytes`);
  try {
    const checkpoint = { ...decodeMap(zstdDecompressSync(map, { maxOutputLength: Math.max(rawBytes, 1) })), hashes };
    if (dataBlocks(checkpoint.extents) * HASH_BYTES !== hashes.length)
      throw new RangeError('another number of hashes than blocks');
    return checkpoint;
  } catch (cause) {
    throw corrupt('has a map that does not read', cause);
  }
}

function decodeMap(raw: Uint8Array): Omit<Checkpoint, 'hashes'> {
  const columns = new ColumnReader(raw);
  const layers: LayerName[] = [];
  for (let left = columns.u32(); left > 0; left--) {
    const named = { point: pointId(columns.text()), attempt: attemptId(columns.text()) };
    const inSlab = columns.u8s(1)[0] === 1;
    const slab = { number: columns.u32(), offset: columns.u32(), bytes: columns.u32() };
    layers.push(inSlab ? { ...named, slab } : named);
  }
  const extentCount = columns.u32();
  const gap = columns.u32s(extentCount);
  const count = columns.u32s(extentCount);
  const frame = columns.u32s(extentCount);
  columns.end();
  const extents: Extent[] = [];
  let end = 0;
  for (let i = 0; i < extentCount; i++) {
    if (frame[i]! > layers.length) throw new RangeError(`an extent of layer ${frame[i]! - 1} of ${layers.length}`);
    const start = end + gap[i]!;
    const owner = frame[i]! - 1;
    extents.push({ start, count: count[i]!, frame: owner, slot: owner === CLEARED ? 0 : start });
    end = start + count[i]!;
  }
  return { layers, extents };
}
