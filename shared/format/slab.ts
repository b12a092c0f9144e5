import { createHash } from 'node:crypto';
import { BackupError } from '../domain/errors.ts';
import type { SlabPlace } from '../domain/point-stack.ts';
import type { StoredFrame } from './frame.ts';

/**
 * A slab: a 16-byte header, frames one after another, the layer files of several thin regions, a directory of them, and a 48-byte
 * footer. Each layer is what its file of its own would be, under the same name; its one pack is the slab.
 */
const MAGIC = 'STRATASL';
const VERSION = 1;
const HEADER_BYTES = 16;
const FOOTER_BYTES = 48;
const ENTRY_BYTES = 24;

/** What the directory says of a layer. */
export interface SlabEntry {
  readonly region: number;
  readonly place: Omit<SlabPlace, 'number'>;
  readonly dataBlocks: number;
  readonly clearedBlocks: number;
  /** The layer's share of the slab: its file, its frames, its line in the directory; the first has header and footer too. */
  readonly storedBytes: number;
}

/** One region of a slab before it is put together. */
interface SlabPart {
  readonly region: number;
  readonly frameBytes: number;
  readonly dataBlocks: number;
  readonly clearedBlocks: number;
  /** The layer as a file. */
  readonly file: Uint8Array;
}

/** How many bytes at the end of a slab of `regions` regions its directory and footer take. */
export const slabTailBytes = (regions: number): number => regions * ENTRY_BYTES + FOOTER_BYTES;

/** Gathers the frames of a slab, then its layers. */
export class SlabBuilder {
  readonly #frames: Uint8Array[] = [];
  #framesEnd = HEADER_BYTES;

  /** Where the frames end so far: the size of the pack that the layers refer to. */
  get framesEnd(): number {
    return this.#framesEnd;
  }

  /** Adds a frame, whose bytes are copied; answers its offset in the slab. */
  add({ bytes }: StoredFrame): number {
    const offset = this.#framesEnd;
    this.#frames.push(new Uint8Array(bytes)); // a Buffer's slice would be no copy
    this.#framesEnd += bytes.length;
    return offset;
  }

  /** The slab's bytes; `name` is bound into its checksum. */
  finish(name: string, layers: readonly SlabPart[]): Uint8Array {
    let offset = this.#framesEnd;
    const entries = layers.map(({ region, frameBytes, file, dataBlocks, clearedBlocks }, index): SlabEntry => {
      const place = { offset, bytes: file.length };
      offset += file.length;
      const storedBytes = file.length + frameBytes + ENTRY_BYTES + (index === 0 ? HEADER_BYTES + FOOTER_BYTES : 0);
      return { region, place, dataBlocks, clearedBlocks, storedBytes };
    });
    const header = Buffer.alloc(HEADER_BYTES);
    header.write(MAGIC, 0, 'latin1');
    header.writeUInt16LE(VERSION, 8);
    const directory = encodeDirectory(entries);
    const footer = Buffer.alloc(FOOTER_BYTES);
    footer.writeUInt32LE(entries.length, 0);
    footer.set(directoryDigest(name, directory), 8);
    footer.write(MAGIC, 40, 'latin1');
    return Buffer.concat([header, ...this.#frames, ...layers.map(({ file }) => file), directory, footer]);
  }
}

function encodeDirectory(entries: readonly SlabEntry[]): Buffer {
  const directory = Buffer.alloc(entries.length * ENTRY_BYTES);
  for (const [i, { region, place, dataBlocks, clearedBlocks, storedBytes }] of entries.entries()) {
    const fields = [region, place.offset, place.bytes, dataBlocks, clearedBlocks, storedBytes];
    for (const [k, field] of fields.entries()) directory.writeUInt32LE(field, i * ENTRY_BYTES + k * 4);
  }
  return directory;
}

const directoryDigest = (name: string, directory: Uint8Array): Buffer =>
  createHash('sha256').update(`${name}\n`).update(directory).digest();

/**
 * The directory of slab `name`, from its last bytes: `slabTailBytes` of its number of regions, or more.
 * @throws BackupError SlabCorrupt
 */
export function readSlabDirectory(name: string, tail: Uint8Array): SlabEntry[] {
  const corrupt = (what: string): BackupError => new BackupError('SlabCorrupt', `${name} ${what}`, { target: name });
  const bytes = Buffer.from(tail.buffer, tail.byteOffset, tail.byteLength);
  if (bytes.length < FOOTER_BYTES) throw corrupt(`is only ${bytes.length} bytes long`);
  const footer = bytes.subarray(bytes.length - FOOTER_BYTES);
  if (footer.toString('latin1', 40) !== MAGIC) throw corrupt('is not a slab');
  const count = footer.readUInt32LE(0);
  const at = bytes.length - slabTailBytes(count);
  if (at < 0) throw corrupt(`has a directory of ${count} regions, longer than what was read`);
  const directory = bytes.subarray(at, bytes.length - FOOTER_BYTES);
  if (!directoryDigest(name, directory).equals(footer.subarray(8, 40)))
    throw corrupt('has a directory that fails its checksum');
  return Array.from({ length: count }, (_, i): SlabEntry => {
    const field = (k: number): number => directory.readUInt32LE(i * ENTRY_BYTES + k * 4);
    return {
      region: field(0),
      place: { offset: field(1), bytes: field(2) },
      dataBlocks: field(3),
      clearedBlocks: field(4),
      storedBytes: field(5),
    };
  });
}
