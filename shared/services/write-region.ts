import { storedRuns, without } from '../domain/changes.ts';
import { type BlockRun, normalise } from '../domain/extent.ts';
import type { KnownBlocks } from '../domain/known-blocks.ts';
import { BLOCK_BYTES, blocksIn } from '../domain/units.ts';
import type { PlanDisk, TransferPlan } from '../format/documents.ts';
import { type ChangedBlocks, changedBlocks, readPieces } from './changed-blocks.ts';
import type { RegionWriter } from './layer-writer.ts';
import type { Ports } from './ports.ts';
import { readAhead } from './read-ahead.ts';
import { hashBlock } from './region-bytes.ts';

/** Most bytes asked of a snapshot at once. */
const READ_BYTES = 8 * 1024 * 1024;

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

type Heal = TransferPlan['units'][number]['regions'][number]['heal'];

/**
 * Gives `writer` what a disk's snapshot has changed in one region since `base`: blocks with other bytes, and those that are zero
 * now. Blocks to be healed are written whatever the source and the base say of them.
 */
export async function writeRegion(
  ports: Pick<Ports, 'snapshots' | 'settings'>,
  disk: PlanDisk,
  region: number,
  base: KnownBlocks,
  heal: Heal,
  writer: RegionWriter,
): Promise<void> {
  const { window, read, cleared } = await blocksToWrite(ports, disk, region, base, heal);
  const hasData = membership(storedRuns(base.extents));
  const wounded = membership(heal === 'all' ? [wholeRegion(ports)] : normalise(heal ?? []));

  let nextCleared = 0;
  const clearUpTo = (block: number): void => {
    for (; nextCleared < cleared.length && cleared[nextCleared]!.start < block; nextCleared++) {
      const { start, count } = cleared[nextCleared]!;
      for (let i = start; i < start + count; i++) if (hasData(i) || wounded(i)) writer.cleared(i, 1);
    }
  };
  const pieces = readPieces(read, window, READ_BYTES);
  const snapshot = { url: disk.url, id: disk.snapshot };
  for await (const { piece, bytes: found } of readAhead(pieces, (range, into) =>
    ports.snapshots.read(snapshot, range, into),
  )) {
    for (let at = 0; at < found.length; at += BLOCK_BYTES) {
      const block = piece.block + at / BLOCK_BYTES;
      const bytes = padded(found.subarray(at, at + BLOCK_BYTES));
      clearUpTo(block);
      if (ZERO_BLOCK.equals(bytes)) {
        if (hasData(block) || wounded(block)) writer.cleared(block, 1);
        continue;
      }
      const hash = hashBlock(bytes);
      if (hasData(block) && !wounded(block) && hash.equals(base.hashOf!(block))) continue;
      await writer.data(block, bytes, hash);
    }
  }
  clearUpTo(Infinity);
}

/** What the source says, and what is to be healed. Where the whole view is lost, the new layer speaks of every block of the region. */
async function blocksToWrite(
  ports: Pick<Ports, 'snapshots' | 'settings'>,
  disk: PlanDisk,
  region: number,
  base: KnownBlocks,
  heal: Heal,
): Promise<ChangedBlocks> {
  const { geometry } = ports.settings;
  const asked: PlanDisk = heal === 'all' ? { ...disk, source: 'full', since: null, baseSizeBytes: null } : disk;
  const found = await changedBlocks(ports.snapshots, asked, region, base, geometry);
  if (heal === undefined) return found;
  if (heal === 'all') return { ...found, cleared: without([wholeRegion(ports)], found.read) };
  const onDisk = blocksIn(found.window.end - found.window.start);
  const past = without(normalise(heal), [{ start: 0, count: onDisk }]);
  const read = normalise([...found.read, ...without(normalise(heal), past)]);
  return { ...found, read, cleared: normalise([...without(found.cleared, read), ...past]) };
}

const wholeRegion = ({ settings }: Pick<Ports, 'settings'>): BlockRun => ({
  start: 0,
  count: settings.geometry.regionBytes / BLOCK_BYTES,
});

/** The last block of a disk may be cut: it is padded with zeros. */
function padded(bytes: Uint8Array): Uint8Array {
  if (bytes.length === BLOCK_BYTES) return bytes;
  const whole = new Uint8Array(BLOCK_BYTES);
  whole.set(bytes);
  return whole;
}

/** A test for ascending questions: is this block in one of the runs? */
function membership(runs: readonly BlockRun[]): (block: number) => boolean {
  let at = 0;
  return (block) => {
    while (at > 0 && runs[at - 1]!.start + runs[at - 1]!.count > block) at--;
    while (at < runs.length && runs[at]!.start + runs[at]!.count <= block) at++;
    return at < runs.length && runs[at]!.start <= block;
  };
}
