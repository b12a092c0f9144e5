import { createHash } from 'node:crypto';
import { BackupError, isBackupError } from '../domain/errors.ts';
import { CLEARED, type Extent } from '../domain/extent.ts';
import type { RegionView } from '../domain/region-view.ts';
import { BLOCK_BYTES } from '../domain/units.ts';
import { decodeFrame } from '../format/frame.ts';
import type { VaultContainer } from '../vault/vault-container.ts';

/** Most bytes of a pack that are read at once. */
const READ_BYTES = 4 * 1024 * 1024;
/** Dead bytes between two wanted frames that are read along rather than asked around: about what one more request costs. */
const GAP_BYTES = 64 * 1024;

/** A run of adjacent blocks with their bytes. */
export interface BlockBytes {
  readonly start: number;
  /** A multiple of 16 KiB. */
  readonly bytes: Uint8Array;
}

/** SHA-256, 32 bytes. */
export function hashBlock(block: Uint8Array): Buffer {
  return createHash('sha256').update(block).digest();
}

/**
 * Yields the stored blocks of a view with their bytes, each block checked against its hash. Order is that of the packs, in
 * which neighbours on the disk lie together; blocks that the view calls cleared or does not speak of are left out. A pack
 * is read in pieces of up to 4 MiB, the next piece while the last one is used.
 * @throws BackupError PackCorrupt, VaultObjectMissing: naming the pack and the blocks that it should give
 */
export async function* readBlocks(container: VaultContainer, view: RegionView): AsyncGenerator<BlockBytes> {
  const pieces = planReads(view);
  let next = pieces.length > 0 ? readPiece(container, pieces[0]!) : undefined;
  for (let i = 0; i < pieces.length; i++) {
    const bytes = await next!;
    if (i + 1 < pieces.length) {
      next = readPiece(container, pieces[i + 1]!);
      next.catch(() => undefined); // awaited in the next round
    }
    const piece = pieces[i]!;
    for (const { frame, extents } of piece.frames) {
      const stored = bytes.subarray(frame.offset - piece.offset, frame.offset - piece.offset + frame.storedBytes);
      const raw = decodeFrame(stored, frame.codec, frame.blocks, `frame at ${frame.offset} of ${piece.pack} (${blocksOf(extents)})`);
      for (const extent of extents) {
        const run = raw.subarray(extent.slot * BLOCK_BYTES, (extent.slot + extent.count) * BLOCK_BYTES);
        checkHashes(view, extent, run, piece.pack);
        yield { start: extent.start, bytes: run };
      }
    }
  }
}

interface Piece {
  readonly pack: string;
  readonly offset: number;
  length: number;
  readonly frames: { frame: RegionView['frames'][number]; extents: Extent[] }[];
}

function planReads(view: RegionView): Piece[] {
  const byFrame = new Map<number, Extent[]>();
  for (const extent of view.extents) {
    if (extent.frame === CLEARED) continue;
    const extents = byFrame.get(extent.frame) ?? [];
    extents.push(extent);
    byFrame.set(extent.frame, extents);
  }
  const wanted = [...byFrame]
    .map(([frame, extents]) => ({ frame: view.frames[frame]!, extents }))
    .sort((a, b) => a.frame.pack - b.frame.pack || a.frame.offset - b.frame.offset);
  const pieces: Piece[] = [];
  for (const { frame, extents } of wanted) {
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
      last.frames.push({ frame, extents });
    } else {
      pieces.push({ pack, offset: frame.offset, length: frame.storedBytes, frames: [{ frame, extents }] });
    }
  }
  return pieces;
}

async function readPiece(container: VaultContainer, piece: Piece): Promise<Uint8Array> {
  try {
    return await container.read(piece.pack, piece.offset, piece.length);
  } catch (error) {
    const blocks = blocksOf(piece.frames.flatMap(({ extents }) => extents));
    if (isBackupError(error, 'BlobNotFound')) {
      throw new BackupError('VaultObjectMissing', `pack ${piece.pack} is gone; it holds ${blocks}`, { cause: error, target: piece.pack });
    }
    if (isBackupError(error, 'PackCorrupt')) {
      throw new BackupError('PackCorrupt', `${error.message}; it holds ${blocks}`, { cause: error, target: piece.pack });
    }
    throw error;
  }
}

function checkHashes(view: RegionView, extent: Extent, bytes: Uint8Array, pack: string): void {
  if (view.hashOf === undefined) throw new TypeError('blocks are only read with their hashes');
  for (let i = 0; i < extent.count; i++) {
    const actual = hashBlock(bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
    const expected = view.hashOf(extent.start + i);
    if (!actual.equals(expected)) {
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
