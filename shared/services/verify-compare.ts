import { touchedBlocks } from '../domain/changes.ts';
import { isBackupError } from '../domain/errors.ts';
import { type BlockRun, CLEARED, append } from '../domain/extent.ts';
import type { RegionView } from '../domain/region-view.ts';
import { BLOCK_BYTES, type ByteRange, blocksIn } from '../domain/units.ts';
import type { DiskSnapshot, DiskSnapshots } from '../disk/disk-snapshots.ts';
import type { RestoreTargets } from '../disk/restore-targets.ts';
import { readPieces } from './changed-blocks.ts';
import { inOrder } from './pipeline.ts';
import { RegionHashes } from './read-back.ts';
import { hashBlock, padded } from './region-bytes.ts';

const READ_BYTES = 8 * 1024 * 1024;
const READS_IN_FLIGHT = 4;

/**
 * The blocks of a region in which a snapshot differs from `expected`: what is allocated is read and hashed, what is not must be expected
 * to be zeros. Undefined when the snapshot is gone. Memory: four reads and two regions' hashes.
 */
export async function differences(
  snapshots: DiskSnapshots,
  snapshot: DiskSnapshot,
  window: ByteRange,
  expected: RegionHashes,
): Promise<BlockRun[] | undefined> {
  try {
    const found = await hashesIn(
      window,
      (part) => snapshots.allocated(snapshot, part),
      (range) => snapshots.read(snapshot, range),
    );
    const differing: { start: number; count: number; frame: number; slot: number }[] = [];
    for (let block = 0; block < expected.blocks; block++) {
      if (!expected.of(block).equals(found.of(block)))
        append(differing, { start: block, count: 1, frame: CLEARED, slot: 0 });
    }
    return differing.map(({ start, count }) => ({ start, count }));
  } catch (error) {
    if (isBackupError(error, 'UserErrorInstantRpNotFound')) return undefined;
    throw error;
  }
}

/** The hashes that a view says, cut at the end of the disk. */
export function viewHashes(view: RegionView, window: ByteRange): RegionHashes {
  const hashes = new RegionHashes(blocksIn(window.end - window.start));
  for (const { start, count, frame } of view.extents) {
    if (frame === CLEARED) continue;
    const end = Math.min(start + count, hashes.blocks);
    for (let block = start; block < end; block++) hashes.set(block, view.hashOf!(block));
  }
  return hashes;
}

/** The hashes of what a restored disk holds. */
export function targetHashes(
  targets: RestoreTargets,
  target: { url: string; leaseId: string },
  window: ByteRange,
): Promise<RegionHashes> {
  return hashesIn(
    window,
    (part) => targets.allocated(target, part),
    (range) => targets.readBack(target.url, range),
  );
}

async function hashesIn(
  window: ByteRange,
  allocatedIn: (window: ByteRange) => AsyncIterable<ByteRange>,
  read: (range: ByteRange) => Promise<Uint8Array>,
): Promise<RegionHashes> {
  const hashes = new RegionHashes(blocksIn(window.end - window.start));
  const allocated: ByteRange[] = [];
  for await (const range of allocatedIn(window)) allocated.push(range);
  const wanted = readPieces(touchedBlocks(allocated, window), window, READ_BYTES);
  for await (const { item, result } of inOrder(wanted, READS_IN_FLIGHT, ({ range }) => read(range))) {
    for (let at = 0; at < result.length; at += BLOCK_BYTES) {
      hashes.set(item.block + at / BLOCK_BYTES, hashBlock(padded(result.subarray(at, at + BLOCK_BYTES))));
    }
  }
  return hashes;
}
