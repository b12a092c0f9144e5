import { hash } from 'node:crypto';
import { BackupError, isBackupError } from '../domain/errors.ts';
import { type BlockRun, CLEARED, type Extent, cut } from '../domain/extent.ts';
import type { RegionView } from '../domain/region-view.ts';
import { BLOCK_BYTES, type ByteRange, HASH_BYTES, blocksIn } from '../domain/units.ts';
import { CODEC, decodeFrame } from '../format/frame.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { Ports } from './ports.ts';
import { giveBuffer, takeBuffer } from './buffers.ts';
import { readAhead } from './read-ahead.ts';

/** Most bytes of a pack that are read at once: a pack is about as long. */
const READ_BYTES = 9 * 1024 * 1024;
/** Dead bytes between two wanted frames that are read along rather than asked around: about what one more request costs. */
const GAP_BYTES = 64 * 1024;
/** Blocks of the disk whose frames are read together (16 MiB): half as much in a pack, or less, comes with one or two reads. */
const SEGMENT_BLOCKS = 1024;
/** Blocks that are handed on together (4 MiB): the most that one write of a page blob takes. */
const RUN_BLOCKS = 256;

/** A run of adjacent blocks with their bytes, which are good until the next run is asked for. */
export interface BlockBytes {
  readonly start: number;
  /** A multiple of 16 KiB. */
  readonly bytes: Uint8Array;
  /** The SHA-256 of each block, 32 bytes each. */
  readonly hashes: Uint8Array;
}

/** All blocks of a region. */
export const wholeRegion = ({ settings }: Pick<Ports, 'settings'>): BlockRun => ({
  start: 0,
  count: settings.geometry.regionBytes / BLOCK_BYTES,
});

/** Whole blocks: the last one of a disk may be cut and is padded with zeros. */
export function padded(bytes: Uint8Array): Uint8Array {
  if (bytes.length % BLOCK_BYTES === 0) return bytes;
  const whole = new Uint8Array(blocksIn(bytes.length) * BLOCK_BYTES);
  whole.set(bytes);
  return whole;
}

/** SHA-256, 32 bytes. */
export function hashBlock(block: Uint8Array): Buffer {
  // A buffer of `hash` itself would be memory of its own, which the collector has to follow; this one is a part of a common one.
  return Buffer.from(hash('sha256', block, 'binary'), 'latin1');
}

/**
 * Yields the stored blocks of a view with their bytes and hashes, in ascending order, as few and as long runs as 4 MiB at a time allow.
 * Each block is checked against its hash, unless `check` is false: then a frame's own checksum has to do where it has one, the hashes are
 * the layers', and whoever takes the bytes has to see that they fit. Every frame is read and
 * unpacked once. Those that reach over the end of a segment are kept until they are used up: of each layer at most one, since a
 * layer's frames ascend as its blocks do.
 * @throws BackupError PackCorrupt, VaultObjectMissing: naming the pack and the blocks that it should give
 */
export async function* readBlocks(
  container: VaultContainer,
  view: RegionView,
  { check = true }: { readonly check?: boolean } = {},
): AsyncGenerator<BlockBytes> {
  const { segments, lastUse } = planSegments(view);
  const unpacked = new Map<number, Uint8Array>();
  const reads = readAhead(
    segments.flatMap(({ pieces }) => pieces.map((piece) => ({ piece, range: rangeOf(piece) }))),
    (_, into, { piece }) => readPiece(container, piece, into),
  );
  const room = takeBuffer(RUN_BLOCKS * BLOCK_BYTES);
  for (const [index, { pieces, extents }] of segments.entries()) {
    for (let i = 0; i < pieces.length; i++) {
      const next = await reads.next();
      if (next.done !== true) unpack(next.value.piece.piece, next.value.bytes, unpacked);
    }
    for (const run of adjoining(extents)) yield putTogether(view, run, unpacked, room, check);
    for (const { frame } of extents) if (lastUse.get(frame) === index) unpacked.delete(frame);
  }
  giveBuffer(room);
}

interface Piece {
  readonly pack: string;
  readonly offset: number;
  length: number;
  readonly frames: { number: number; frame: RegionView['frames'][number]; extents: readonly Extent[] }[];
}

/** A part of the region: what it has to show, and the reads of frames that it is the first to need. */
interface Segment {
  readonly extents: readonly Extent[];
  readonly pieces: readonly Piece[];
}

function planSegments(view: RegionView): { segments: Segment[]; lastUse: Map<number, number> } {
  const byFrame = new Map<number, Extent[]>();
  const cuts: Extent[][] = [];
  const lastUse = new Map<number, number>();
  let segmentNumber = -1;
  for (const extent of view.extents) {
    if (extent.frame === CLEARED) continue;
    const extents = byFrame.get(extent.frame);
    if (extents === undefined) byFrame.set(extent.frame, [extent]);
    else extents.push(extent);
    const end = extent.start + extent.count;
    for (let at = extent.start; at < end;) {
      const number = Math.floor(at / SEGMENT_BLOCKS);
      const stop = Math.min(end, (Math.floor(at / RUN_BLOCKS) + 1) * RUN_BLOCKS);
      if (number !== segmentNumber) cuts.push([]);
      segmentNumber = number;
      cuts.at(-1)!.push(cut(extent, at, stop));
      lastUse.set(extent.frame, cuts.length - 1);
      at = stop;
    }
  }
  const planned = new Set<number>();
  const segments = cuts.map((extents): Segment => {
    const fresh = [...new Set(extents.map(({ frame }) => frame))].filter((frame) => !planned.has(frame));
    for (const frame of fresh) planned.add(frame);
    return { extents, pieces: planReads(view, fresh, byFrame) };
  });
  return { segments, lastUse };
}

/** The reads that bring `frames`: neighbours in a pack together. */
function planReads(
  view: RegionView,
  frames: readonly number[],
  byFrame: ReadonlyMap<number, readonly Extent[]>,
): Piece[] {
  const wanted = frames
    .map((number) => ({ number, frame: view.frames[number]!, extents: byFrame.get(number)! }))
    .sort((a, b) => a.frame.pack - b.frame.pack || a.frame.offset - b.frame.offset);
  const pieces: Piece[] = [];
  for (const own of wanted) {
    const { frame } = own;
    const pack = view.packs[frame.pack]!.name;
    const last = pieces.at(-1);
    const end = frame.offset + frame.storedBytes;
    if (
      last !== undefined &&
      last.pack === pack &&
      frame.offset - (last.offset + last.length) <= GAP_BYTES &&
      end - last.offset <= READ_BYTES
    ) {
      last.length = end - last.offset;
      last.frames.push(own);
    } else {
      pieces.push({ pack, offset: frame.offset, length: frame.storedBytes, frames: [own] });
    }
  }
  return pieces;
}

function unpack(piece: Piece, bytes: Uint8Array, unpacked: Map<number, Uint8Array>): void {
  for (const { number, frame, extents } of piece.frames) {
    const at = frame.offset - piece.offset;
    const where = (): string => `frame at ${frame.offset} of ${piece.pack} (${blocksOf(extents)})`;
    const stored = bytes.subarray(at, at + frame.storedBytes);
    const raw = decodeFrame(stored, frame.codec, frame.blocks, where, piece.pack);
    // A frame that was stored raw is the very bytes that were read, and those do not last.
    unpacked.set(number, raw === stored ? new Uint8Array(raw) : raw);
  }
}

/** Extents in groups without a hole between, up to each multiple of RUN_BLOCKS. */
function adjoining(extents: readonly Extent[]): Extent[][] {
  const runs: Extent[][] = [];
  let end = -1;
  for (const extent of extents) {
    if (extent.start === end && extent.start % RUN_BLOCKS !== 0) runs.at(-1)!.push(extent);
    else runs.push([extent]);
    end = extent.start + extent.count;
  }
  return runs;
}

function putTogether(
  view: RegionView,
  run: readonly Extent[],
  unpacked: ReadonlyMap<number, Uint8Array>,
  room: Uint8Array,
  check: boolean,
): BlockBytes {
  const start = run[0]!.start;
  const last = run.at(-1)!;
  const count = last.start + last.count - start;
  const bytes = room.subarray(0, count * BLOCK_BYTES);
  const hashes = Buffer.allocUnsafe(count * HASH_BYTES);
  for (const extent of run) {
    const raw = unpacked.get(extent.frame)!;
    const at = extent.start - start;
    bytes.set(raw.subarray(extent.slot * BLOCK_BYTES, (extent.slot + extent.count) * BLOCK_BYTES), at * BLOCK_BYTES);
    const own = bytes.subarray(at * BLOCK_BYTES, (at + extent.count) * BLOCK_BYTES);
    writeHashes(
      view,
      extent,
      check || view.frames[extent.frame]!.codec === CODEC.raw ? own : undefined,
      hashes.subarray(at * HASH_BYTES),
    );
  }
  return { start, bytes, hashes };
}

const rangeOf = ({ offset, length }: Piece): ByteRange => ({ start: offset, end: offset + length });

async function readPiece(container: VaultContainer, piece: Piece, into: Uint8Array): Promise<Uint8Array> {
  try {
    return await container.read(piece.pack, piece.offset, piece.length, into);
  } catch (error) {
    const blocks = blocksOf(piece.frames.flatMap(({ extents }) => extents));
    if (isBackupError(error, 'BlobNotFound')) {
      throw new BackupError('VaultObjectMissing', `pack ${piece.pack} is gone; it holds ${blocks}`, {
        cause: error,
        target: piece.pack,
      });
    }
    if (isBackupError(error, 'PackCorrupt')) {
      throw new BackupError('PackCorrupt', `${error.message}; it holds ${blocks}`, {
        cause: error,
        target: piece.pack,
      });
    }
    throw error;
  }
}

/** Writes the hash that its layer has of each block of `extent`, and compares the blocks with it where their bytes are given. */
function writeHashes(view: RegionView, extent: Extent, bytes: Uint8Array | undefined, hashes: Uint8Array): void {
  if (view.hashOf === undefined) throw new TypeError('blocks are only read with their hashes');
  for (let i = 0; i < extent.count; i++) {
    const expected = view.hashOf(extent.start + i);
    hashes.set(expected, i * HASH_BYTES);
    const actual = bytes && hashBlock(bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
    if (actual?.equals(expected) === false) {
      const pack = view.packs[view.frames[extent.frame]!.pack]!.name;
      throw new BackupError(
        'PackCorrupt',
        `block ${extent.start + i} in pack ${pack} hashes to ${actual.toString('hex')}, its layer says ${Buffer.from(expected).toString('hex')}`,
        { target: pack },
      );
    }
  }
}

function blocksOf(extents: readonly Extent[]): string {
  const runs = extents.map(({ start, count }) => (count === 1 ? `${start}` : `${start}-${start + count - 1}`));
  const shown = runs.slice(0, 8).join(', ');
  return `block${runs.length === 1 && extents[0]!.count === 1 ? '' : 's'} ${shown}${runs.length > 8 ? ` and ${runs.length - 8} runs more` : ''}`;
}
