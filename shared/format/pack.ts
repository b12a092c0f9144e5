import { createHash } from 'node:crypto';
import { BackupError } from '../domain/errors.ts';
import { PACK_BYTES } from '../domain/units.ts';
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

/** What a builder has room for at first, and then: it keeps what it has for the next pack. */
const FIRST_ROOM_BYTES = 512 * 1024;
const FULL_ROOM_BYTES = PACK_BYTES + FIRST_ROOM_BYTES;

/** Gathers frames until they make a pack, in memory of its own. */
export class PackBuilder {
  #room = Buffer.allocUnsafeSlow(FIRST_ROOM_BYTES);
  #frames: PackedFrame[] = [];
  #bytes = 0;

  constructor() {
    this.clear();
  }

  /** Begins another pack in the same memory: bytes that `finish` gave are overwritten from here on. */
  clear(): void {
    this.#frames = [];
    this.#bytes = 0;
    this.#append(packHeader());
  }

  /** Bytes so far, without table and footer. */
  get storedBytes(): number {
    return this.#bytes;
  }

  get frames(): readonly PackedFrame[] {
    return this.#frames;
  }

  /** Adds a frame, whose bytes are copied; answers its number in this pack. */
  add(frame: StoredFrame, blocks: readonly number[]): number {
    this.#frames.push({ offset: this.#bytes, storedBytes: frame.bytes.length, codec: frame.codec, blocks });
    this.#append(frame.bytes);
    return this.#frames.length - 1;
  }

  /** The pack's bytes, good until `clear`; `name` is bound into its checksum. Nothing can be added after. */
  finish(name: string): Uint8Array {
    this.#append(packTail(name, this.#frames));
    return this.#room.subarray(0, this.#bytes);
  }

  #append(bytes: Uint8Array): void {
    const end = this.#bytes + bytes.length;
    if (end > this.#room.length) {
      const larger = Buffer.allocUnsafeSlow(end > FULL_ROOM_BYTES ? 2 * end : FULL_ROOM_BYTES);
      this.#room.copy(larger, 0, 0, this.#bytes);
      this.#room = larger;
    }
    this.#room.set(bytes, this.#bytes);
    this.#bytes = end;
  }
}

/** What a pack begins with. */
export function packHeader(): Uint8Array {
  const header = Buffer.alloc(PACK_HEADER_BYTES);
  header.write(MAGIC, 0, 'latin1');
  header.writeUInt16LE(VERSION, 8);
  return header;
}

/** What a pack of these frames ends with: their table and the footer. */
export function packTail(name: string, frames: readonly PackedFrame[]): Uint8Array {
  const table = encodeTable(frames);
  const footer = Buffer.alloc(FOOTER_BYTES);
  footer.writeUInt32LE(frames.length, 0);
  footer.writeUInt32LE(table.length, 4);
  footer.set(tableDigest(name, table), 8);
  footer.write(MAGIC, 40, 'latin1');
  return Buffer.concat([table, footer]);
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

const corrupt = (name: string, what: string): BackupError =>
  new BackupError('PackCorrupt', `${name} ${what}`, { target: name });

/**
 * The frame table of a whole pack, read from its end. The frames' bytes are not looked at: what hashes vouch for them, layers have.
 * @throws BackupError PackCorrupt, FormatUnsupported
 */
export function readPackTable(name: string, pack: Uint8Array): PackedFrame[] {
  const bytes = Buffer.from(pack.buffer, pack.byteOffset, pack.byteLength);
  if (bytes.length < PACK_HEADER_BYTES + FOOTER_BYTES) throw corrupt(name, `is only ${bytes.length} bytes long`);
  if (bytes.toString('latin1', 0, 8) !== MAGIC) throw corrupt(name, 'is not a pack');
  const version = bytes.readUInt16LE(8);
  if (version !== VERSION) {
    throw new BackupError('FormatUnsupported', `${name} has pack version ${version}; this version reads ${VERSION}`, {
      target: name,
    });
  }
  const frames = readPackTail(name, bytes, bytes.length);
  if (typeof frames === 'number') throw corrupt(name, 'has a frame table longer than itself');
  return frames;
}

/**
 * The frame table of a pack of `totalBytes`, from as many of its last bytes as the caller has guessed; or, where those are too few,
 * how many there have to be.
 * @throws BackupError PackCorrupt
 */
export function readPackTail(name: string, tail: Uint8Array, totalBytes: number): PackedFrame[] | number {
  const bytes = Buffer.from(tail.buffer, tail.byteOffset, tail.byteLength);
  const footer = bytes.subarray(Math.max(0, bytes.length - FOOTER_BYTES));
  if (footer.length < FOOTER_BYTES) throw corrupt(name, `is only ${totalBytes} bytes long`);
  if (footer.toString('latin1', 40) !== MAGIC) throw corrupt(name, 'is not a pack');
  const frameCount = footer.readUInt32LE(0);
  const tableBytes = footer.readUInt32LE(4);
  const tableAt = totalBytes - FOOTER_BYTES - tableBytes;
  if (tableAt < PACK_HEADER_BYTES) throw corrupt(name, 'has a frame table longer than itself');
  if (tableBytes + FOOTER_BYTES > bytes.length) return tableBytes + FOOTER_BYTES;
  const table = bytes.subarray(bytes.length - FOOTER_BYTES - tableBytes, bytes.length - FOOTER_BYTES);
  if (!tableDigest(name, table).equals(footer.subarray(8, 40)))
    throw corrupt(name, 'has a frame table that fails its checksum');
  const frames = decodeTable(table);
  if (frames?.length !== frameCount) throw corrupt(name, `has a frame table that does not hold ${frameCount} frames`);
  const end = frames.reduce(
    (at, { offset, storedBytes }) => (at === offset ? offset + storedBytes : -1),
    PACK_HEADER_BYTES,
  );
  if (end !== tableAt) throw corrupt(name, 'has frames that do not lie one after another up to the table');
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
