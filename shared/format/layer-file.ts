import { createHash } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { BackupError } from '../domain/errors.ts';
import { CLEARED, type Extent, dataBlocks } from '../domain/extent.ts';
import type { Frame, Layer, PackUse } from '../domain/layer.ts';
import { HASH_BYTES } from '../domain/units.ts';
import { ColumnReader, ColumnWriter } from './columns.ts';

/**
 * A layer file: a 96-byte header, the map (compressed columns), then the hash column, which a restore can skip until it
 * verifies. Both checksums are taken over the layer's own name first: a file that was swapped with a sibling or replaced by
 * an older one is found, not only a damaged one.
 */
const MAGIC = 'STRATALY';
const VERSION = 1;
export const LAYER_HEADER_BYTES = 96;
/** A region has 65,536 blocks; its map in the worst case takes 25 bytes for each. */
const MOST_MAP_BYTES = 16 * 1024 * 1024;

const OPTIONS = { params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_checksumFlag]: 1 } };

function digest(name: string, ...parts: Uint8Array[]): Buffer {
  const hash = createHash('sha256').update(`${name}\n`);
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** The bytes of `layer`, to be stored under `name` and nowhere else. The layer's hashes must be there. */
export function encodeLayer(name: string, layer: Layer): Uint8Array {
  const stored = dataBlocks(layer.extents);
  const hashes = layer.hashes;
  if (hashes === undefined || hashes.length !== stored * HASH_BYTES) {
    throw new TypeError(`${name}: ${stored} stored blocks need ${stored * HASH_BYTES} bytes of hashes`);
  }
  const raw = encodeMap(layer);
  const map = zstdCompressSync(raw, OPTIONS);
  const header = Buffer.alloc(LAYER_HEADER_BYTES);
  header.write(MAGIC, 0, 'latin1');
  header.writeUInt16LE(VERSION, 8);
  header.writeUInt32LE(map.length, 12);
  header.writeUInt32LE(raw.length, 16);
  header.writeUInt32LE(stored, 20);
  digest(name, hashes).copy(header, 32);
  digest(name, header.subarray(0, 64), map).copy(header, 64);
  return Buffer.concat([header, map, hashes]);
}

function encodeMap(layer: Layer): Uint8Array {
  const columns = new ColumnWriter();
  columns.u32(layer.packs.length);
  for (const pack of layer.packs) {
    columns.text(pack.name);
    columns.u32(pack.totalBytes);
  }
  columns.u32(layer.frames.length);
  for (const frame of layer.frames) columns.u32(frame.pack);
  for (const frame of layer.frames) columns.u32(frame.offset);
  for (const frame of layer.frames) columns.u32(frame.storedBytes);
  for (const frame of layer.frames) columns.u16(frame.blocks);
  for (const frame of layer.frames) columns.u8(frame.codec);
  columns.u32(layer.extents.length);
  let end = 0;
  for (const extent of layer.extents) {
    columns.u32(extent.start - end);
    end = extent.start + extent.count;
  }
  for (const extent of layer.extents) columns.u32(extent.count);
  for (const extent of layer.extents) columns.u32(extent.frame + 1);
  for (const extent of layer.extents) columns.u16(extent.slot);
  return columns.finish();
}

/**
 * The layer in the file `name`. With `bytes` cut after the map (see layerMapBytes) the hashes are left undefined.
 * @throws BackupError LayerCorrupt, FormatUnsupported
 */
export function decodeLayer(name: string, bytes: Uint8Array): Layer {
  const corrupt = (what: string, cause?: unknown): BackupError =>
    new BackupError('LayerCorrupt', `${name} ${what}`, { target: name, cause });
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < LAYER_HEADER_BYTES) throw corrupt(`is only ${file.length} bytes long`);
  if (file.toString('latin1', 0, 8) !== MAGIC) throw corrupt('is not a layer');
  const version = file.readUInt16LE(8);
  if (version !== VERSION) {
    throw new BackupError('FormatUnsupported', `${name} has layer version ${version}; this version reads ${VERSION}`, { target: name });
  }
  const mapBytes = file.readUInt32LE(12);
  const rawBytes = file.readUInt32LE(16);
  const stored = file.readUInt32LE(20);
  const hashesAt = LAYER_HEADER_BYTES + mapBytes;
  if (file.length < hashesAt) throw corrupt(`is cut: ${file.length} bytes of at least ${hashesAt}`);
  const map = file.subarray(LAYER_HEADER_BYTES, hashesAt);
  if (!digest(name, file.subarray(0, 64), map).equals(file.subarray(64, 96))) {
    throw corrupt('fails its checksum: damaged, or not the file that belongs under this name');
  }
  let hashes: Buffer | undefined;
  if (file.length > hashesAt || stored === 0) {
    hashes = file.subarray(hashesAt);
    if (hashes.length !== stored * HASH_BYTES) throw corrupt(`has ${hashes.length} bytes of hashes for ${stored} blocks`);
    if (!digest(name, hashes).equals(file.subarray(32, 64))) throw corrupt('has hashes that fail their checksum');
  }
  if (rawBytes > MOST_MAP_BYTES) throw corrupt(`states a map of ${rawBytes} bytes`);
  try {
    const raw = zstdDecompressSync(map, { maxOutputLength: Math.max(rawBytes, 1) });
    return { ...decodeMap(raw), hashes };
  } catch (cause) {
    throw corrupt('has a map that does not read', cause);
  }
}

function decodeMap(raw: Uint8Array): Omit<Layer, 'hashes'> {
  const columns = new ColumnReader(raw);
  const packs: PackUse[] = Array.from({ length: columns.u32() }, () => ({ name: columns.text(), totalBytes: columns.u32() }));
  const frameCount = columns.u32();
  const pack = columns.u32s(frameCount);
  const offset = columns.u32s(frameCount);
  const storedBytes = columns.u32s(frameCount);
  const blocks = columns.u16s(frameCount);
  const codec = columns.u8s(frameCount);
  const frames: Frame[] = Array.from({ length: frameCount }, (_, i) => ({
    pack: pack[i]!,
    offset: offset[i]!,
    storedBytes: storedBytes[i]!,
    blocks: blocks[i]!,
    codec: codec[i]!,
  }));
  const extentCount = columns.u32();
  const gap = columns.u32s(extentCount);
  const count = columns.u32s(extentCount);
  const frame = columns.u32s(extentCount);
  const slot = columns.u16s(extentCount);
  let start = 0;
  const extents: Extent[] = Array.from({ length: extentCount }, (_, i) => {
    start += gap[i]! + (i === 0 ? 0 : count[i - 1]!);
    return { start, count: count[i]!, frame: frame[i]! - 1, slot: frame[i] === 0 ? 0 : slot[i]! };
  });
  columns.end();
  for (const extent of extents) {
    if (extent.frame !== CLEARED && extent.frame >= frameCount) throw new RangeError(`extent in frame ${extent.frame} of ${frameCount}`);
  }
  return { packs, frames, extents };
}

/** How many bytes from its start a reader needs who does not want the hashes, told by the header. */
export function layerMapBytes(header: Uint8Array): number {
  return LAYER_HEADER_BYTES + Buffer.from(header.buffer, header.byteOffset, header.byteLength).readUInt32LE(12);
}
