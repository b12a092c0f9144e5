import { createHash } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { BackupError } from '../domain/errors.ts';
import { CLEARED, type Extent, dataBlocks } from '../domain/extent.ts';
import type { Frame, Layer, PackUse } from '../domain/layer.ts';
import { BLOCK_BYTES, HASH_BYTES, REGION_BYTES } from '../domain/units.ts';
import { ColumnReader, ColumnWriter } from './columns.ts';

/**
 * A layer file: a 96-byte header, the map (compressed columns), then the hash column, which a restore can skip until it
 * verifies. Both checksums are taken over the layer's own name first: a file that was swapped with a sibling or replaced by
 * an older one is found, not only a damaged one.
 */
const MAGIC = 'STRATALY';
const VERSION = 1;
export const LAYER_HEADER_BYTES = 96;
/** A region has at most so many blocks, so a layer can speak of no others. */
export const MOST_BLOCKS = REGION_BYTES / BLOCK_BYTES;
/** Raw blocks in a frame, at most (4 MiB): who unpacks one makes room for so many. */
export const MOST_FRAME_BLOCKS = 256;
/** The map of a full region takes 29 bytes for each block in the worst case, and a few packs besides. */
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
 * The layer in the file `name`, its hashes checked.
 * @throws BackupError LayerCorrupt, FormatUnsupported
 */
export function decodeLayer(name: string, bytes: Uint8Array): Layer & { hashes: Uint8Array } {
  const { layer, stored, hashesAt, hashesDigest } = openLayer(name, bytes);
  const hashes = bytes.subarray(hashesAt);
  if (hashes.length !== stored * HASH_BYTES)
    throw corrupt(name, `has ${hashes.length} bytes of hashes for ${stored} blocks`);
  if (!digest(name, hashes).equals(hashesDigest)) throw corrupt(name, 'has hashes that fail their checksum');
  return { ...layer, hashes };
}

/**
 * The layer in the file `name` without its hashes, from as many of the file's bytes as `layerMapBytes` says, or more.
 * @throws BackupError LayerCorrupt, FormatUnsupported
 */
export function decodeLayerMap(name: string, bytes: Uint8Array): Layer {
  return { ...openLayer(name, bytes).layer, hashes: undefined };
}

/** How many bytes from its start a reader needs who does not want the hashes. @throws BackupError LayerCorrupt, FormatUnsupported */
export function layerMapBytes(name: string, header: Uint8Array): number {
  return LAYER_HEADER_BYTES + readHeader(name, header).mapBytes;
}

const corrupt = (name: string, what: string, cause?: unknown): BackupError =>
  new BackupError('LayerCorrupt', `${name} ${what}`, { target: name, cause });

/** What the first 96 bytes say; they are not trusted before their checksum has been compared. */
function readHeader(
  name: string,
  bytes: Uint8Array,
): { header: Buffer; mapBytes: number; rawBytes: number; stored: number } {
  if (bytes.length < LAYER_HEADER_BYTES) throw corrupt(name, `is only ${bytes.length} bytes long`);
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, LAYER_HEADER_BYTES);
  if (header.toString('latin1', 0, 8) !== MAGIC) throw corrupt(name, 'is not a layer');
  const version = header.readUInt16LE(8);
  if (version !== VERSION) {
    throw new BackupError('FormatUnsupported', `${name} has layer version ${version}; this version reads ${VERSION}`, {
      target: name,
    });
  }
  return {
    header,
    mapBytes: header.readUInt32LE(12),
    rawBytes: header.readUInt32LE(16),
    stored: header.readUInt32LE(20),
  };
}

function openLayer(
  name: string,
  bytes: Uint8Array,
): { layer: Omit<Layer, 'hashes'>; stored: number; hashesAt: number; hashesDigest: Buffer } {
  const { header, mapBytes, rawBytes, stored } = readHeader(name, bytes);
  const hashesAt = LAYER_HEADER_BYTES + mapBytes;
  if (bytes.length < hashesAt) throw corrupt(name, `is cut: ${bytes.length} bytes of at least ${hashesAt}`);
  const map = bytes.subarray(LAYER_HEADER_BYTES, hashesAt);
  if (!digest(name, header.subarray(0, 64), map).equals(header.subarray(64, 96))) {
    throw corrupt(name, 'fails its checksum: damaged, or not the file that belongs under this name');
  }
  if (rawBytes > MOST_MAP_BYTES) throw corrupt(name, `states a map of ${rawBytes} bytes`);
  try {
    const raw = zstdDecompressSync(map, { maxOutputLength: Math.max(rawBytes, 1) });
    if (raw.length !== rawBytes) throw new RangeError(`map of ${raw.length} bytes, its header says ${rawBytes}`);
    const layer = decodeMap(raw);
    checkTables(layer, stored);
    return { layer, stored, hashesAt, hashesDigest: header.subarray(32, 64) };
  } catch (cause) {
    throw corrupt(name, 'has a map that does not read', cause);
  }
}

function decodeMap(raw: Uint8Array): Omit<Layer, 'hashes'> {
  const columns = new ColumnReader(raw);
  const packs: PackUse[] = [];
  for (let left = columns.u32(); left > 0; left--) packs.push({ name: columns.text(), totalBytes: columns.u32() });
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
  columns.end();
  let start = 0;
  const extents: Extent[] = Array.from({ length: extentCount }, (_, i) => {
    start += gap[i]! + (i === 0 ? 0 : count[i - 1]!);
    return { start, count: count[i]!, frame: frame[i]! - 1, slot: slot[i]! };
  });
  return { packs, frames, extents };
}

/** Whether the tables fit together, so that nobody who uses them has to ask. @throws RangeError */
function checkTables({ packs, frames, extents }: Omit<Layer, 'hashes'>, stored: number): void {
  for (const { pack, offset, storedBytes, blocks } of frames) {
    if (blocks < 1 || blocks > MOST_FRAME_BLOCKS) throw new RangeError(`a frame of ${blocks} blocks`);
    const total = packs[pack]?.totalBytes;
    if (total === undefined || offset + storedBytes > total)
      throw new RangeError(`a frame at ${offset} of pack ${pack} that is not there`);
  }
  for (const { start, count, frame, slot } of extents) {
    if (count < 1 || start + count > MOST_BLOCKS) throw new RangeError(`an extent of ${count} blocks at ${start}`);
    const room = frame === CLEARED ? slot === 0 : slot + count <= (frames[frame]?.blocks ?? 0);
    if (!room) throw new RangeError(`an extent of ${count} blocks in slot ${slot} of frame ${frame}`);
  }
  const found = dataBlocks(extents);
  if (found !== stored) throw new RangeError(`${found} stored blocks, its header says ${stored}`);
}
