import { createHash } from 'node:crypto';
import { BackupError } from '../domain/errors.ts';
import type { StoredFrame } from './frame.ts';

/**
 * A pack: a 16-byte header, frames one after another, then a table of the frames and a 48-byte footer, so that a pack alone
 * tells which block of its region each piece is. Restores do not read the table: layers say where frames are.
 */
const MAGIC = 'STRATAPK';
const VERSION = 1;
export const PACK_HEADER_BYTES = 16;
const FOOTER_BYTES = 48;
const ENTRY_BYTES = 12;

/** A frame in a pack: where its stored bytes lie, how, and which blocks of the region they are, in order. */
export interface PackedFrame {
  readonly offset: number;
  readonly storedBytes: number;
  readonly codec: number;
  /** Block numbers within the region, one for each block in the frame. */
  readonly blocks: readonly number[];
}

/** Gathers frames until they make a pack. */
export class PackBuilder {
  readonly #parts: Uint8Array[] = [];
  readonly #frames: PackedFrame[] = [];
  #bytes = PACK_HEADER_BYTES;

  /** Bytes so far, without table and footer. */
  get storedBytes(): number {
    return this.#bytes;
  }

  get frames(): readonly PackedFrame[] {
    return this.#frames;
  }

  /** Adds a frame; answers its number in this pack. */
  add(frame: StoredFrame, blocks: readonly number[]): number {
    this.#frames.push({ offset: this.#bytes, storedBytes: frame.bytes.length, codec: frame.codec, blocks });
    this.#parts.push(frame.bytes);
    this.#bytes += frame.bytes.length;
    return this.#frames.length - 1;
  }

  /** The pack's bytes; `name` is bound into its checksum. */
  finish(name: string): Uint8Array {
    const header = Buffer.alloc(PACK_HEADER_BYTES);
    header.write(MAGIC, 0, 'latin1');
    header.writeUInt16LE(VERSION, 8);
    const table = encodeTable(this.#frames);
    const footer = Buffer.alloc(FOOTER_BYTES);
    footer.writeUInt32LE(this.#frames.length, 0);
    footer.writeUInt32LE(table.length, 4);
    footer.set(tableDigest(name, table), 8);
    footer.write(MAGIC, 40, 'latin1');
    return Buffer.concat([header, ...this.#parts, table, footer]);
  }
}

function encodeTable(frames: readonly PackedFrame[]): Buffer {
  const blocks = frames.reduce((sum, frame) => sum + frame.blocks.length, 0);
  const table = Buffer.alloc(frames.length * ENTRY_BYTES + blocks * 4);
  let at = 0;
  for (const frame of frames) {
    table.writeUInt32LE(frame.offset, at);
    table.writeUInt32LE(frame.storedBytes, at + 4);
    table.writeUInt16LE(frame.blocks.length, at + 8);
    table.writeUInt8(frame.codec, at + 10);
    at += ENTRY_BYTES;
    for (const block of frame.blocks) at = table.writeUInt32LE(block, at);
  }
  return table;
}

function tableDigest(name: string, table: Uint8Array): Buffer {
  return createHash('sha256').update(`${name}\n`).update(table).digest();
}

/**
 * The frame table of a whole pack, read from its end. The frames' bytes are not looked at: what hashes vouch for them, layers have.
 * @throws BackupError PackCorrupt, FormatUnsupported
 */
export function readPackTable(name: string, pack: Uint8Array): PackedFrame[] {
  const corrupt = (what: string): BackupError => new BackupError('PackCorrupt', `${name} ${what}`, { target: name });
  const bytes = Buffer.from(pack.buffer, pack.byteOffset, pack.byteLength);
  if (bytes.length < PACK_HEADER_BYTES + FOOTER_BYTES) throw corrupt(`is only ${bytes.length} bytes long`);
  const footer = bytes.subarray(bytes.length - FOOTER_BYTES);
  if (bytes.toString('latin1', 0, 8) !== MAGIC || footer.toString('latin1', 40) !== MAGIC)
    throw corrupt('is not a pack');
  const version = bytes.readUInt16LE(8);
  if (version !== VERSION) {
    throw new BackupError('FormatUnsupported', `${name} has pack version ${version}; this version reads ${VERSION}`, {
      target: name,
    });
  }
  const frameCount = footer.readUInt32LE(0);
  const tableBytes = footer.readUInt32LE(4);
  const tableAt = bytes.length - FOOTER_BYTES - tableBytes;
  if (tableAt < PACK_HEADER_BYTES) throw corrupt('has a frame table longer than itself');
  const table = bytes.subarray(tableAt, tableAt + tableBytes);
  if (!tableDigest(name, table).equals(footer.subarray(8, 40)))
    throw corrupt('has a frame table that fails its checksum');
  const frames = decodeTable(table);
  if (frames?.length !== frameCount) throw corrupt(`has a frame table that does not hold ${frameCount} frames`);
  const end = frames.reduce(
    (at, { offset, storedBytes }) => (at === offset ? offset + storedBytes : -1),
    PACK_HEADER_BYTES,
  );
  if (end !== tableAt) throw corrupt('has frames that do not lie one after another up to the table');
  return frames;
}

/** Undefined when the bytes are no whole number of entries. */
function decodeTable(table: Buffer): PackedFrame[] | undefined {
  const frames: PackedFrame[] = [];
  for (let at = 0; at < table.length;) {
    if (at + ENTRY_BYTES > table.length) return undefined;
    const count = table.readUInt16LE(at + 8);
    const next = at + ENTRY_BYTES + count * 4;
    if (next > table.length) return undefined;
    const blocksAt = at + ENTRY_BYTES;
    frames.push({
      offset: table.readUInt32LE(at),
      storedBytes: table.readUInt32LE(at + 4),
      codec: table.readUInt8(at + 10),
      blocks: Array.from({ length: count }, (_, k) => table.readUInt32LE(blocksAt + k * 4)),
    });
    at = next;
  }
  return frames;
}
