import { storedRuns, without } from '../domain/changes.ts';
import type { ChurnCount } from '../domain/churn.ts';
import { type BlockRun, blockCount, normalise } from '../domain/extent.ts';
import type { KnownBlocks } from '../domain/known-blocks.ts';
import { requestBlocks } from '../domain/source-rates.ts';
import { BLOCK_BYTES, blocksIn } from '../domain/units.ts';
import type { PlanDisk, TransferPlan } from '../format/documents.ts';
import { type ChangedBlocks, type Source, changedBlocks, readPlan } from './changed-blocks.ts';
import type { RegionWriter } from './layer-writer.ts';
import type { Ports } from './ports.ts';
import { readAhead } from './read-ahead.ts';
import { hashBlock, padded, wholeRegion } from './region-bytes.ts';
import type { Probing } from './still-wanted.ts';

/** Most bytes asked of a snapshot at once. */
const READ_BYTES = 8 * 1024 * 1024;

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/** What region writing needs of the ports. */
type SourcePorts = Pick<Ports, 'settings' | 'accounts' | 'clock'> & Probing & { readonly snapshots: Source };
/** A region as the plan has it. */
type Work = Pick<TransferPlan['units'][number]['regions'][number], 'region' | 'heal' | 'audit'>;

/**
 * Gives `writer` what a disk's snapshot has changed in one region since `base`: blocks with other bytes, and those that are zero
 * now. Blocks to be healed are written whatever the source and the base say of them; so is what was called unchanged and has been read
 * all the same, where it differs. What was met is added to `churn`.
 *
 * Resolves the blocks that were called unchanged and differ.
 */
export async function writeRegion(
  ports: SourcePorts,
  disk: PlanDisk,
  work: Work,
  base: KnownBlocks,
  writer: RegionWriter,
  churn: ChurnCount,
): Promise<BlockRun[]> {
  const { heal } = work;
  let since = ports.clock.now();
  const found = await blocksToWrite(ports, disk, work, base);
  const { read, reported, cleared, requests, savedRequests } = found;
  const hasData = membership(storedRuns(base.extents));
  const wounded = membership(heal === 'all' ? [wholeRegion(ports)] : normalise(heal ?? []));
  const isReported = membership(reported);

  let nextCleared = 0;
  const clearUpTo = (block: number): void => {
    for (; nextCleared < cleared.length && cleared[nextCleared]!.start < block; nextCleared++) {
      const { start, count } = cleared[nextCleared]!;
      for (let i = start; i < start + count; i++) if (hasData(i) || wounded(i)) clear(i);
    }
  };
  const missed: BlockRun[] = [];
  const miss = (block: number): void => {
    churn.missedBlocks += 1;
    missed.push({ start: block, count: 1 });
  };
  const clear = (block: number): void => {
    writer.cleared(block, 1);
    if (hasData(block)) churn.removedBlocks += 1;
    if (!isReported(block)) miss(block);
  };
  const plan = readPlan(found, READ_BYTES);
  churn.extents += reported.length;
  churn.changedBlocks += blockCount(reported);
  churn.readBlocks += blockCount(read);
  churn.requests += requests + plan.reduce((sum, each) => sum + ('long' in each ? 1 : each.pieces.length), 0);
  churn.savedRequests += savedRequests;
  const snapshot = { url: disk.url, id: disk.snapshot };
  const look = async (first: number, piece: Uint8Array): Promise<void> => {
    churn.sourceMs += ports.clock.now() - since;
    await ports.stillWanted?.();
    for (let at = 0; at < piece.length; at += BLOCK_BYTES) {
      const block = first + at / BLOCK_BYTES;
      const bytes = padded(piece.subarray(at, at + BLOCK_BYTES));
      const isTold = isReported(block);
      if (!isTold) churn.auditedBlocks += 1;
      clearUpTo(block);
      if (ZERO_BLOCK.equals(bytes)) {
        if (hasData(block) || wounded(block)) clear(block);
        continue;
      }
      const hash = hashBlock(bytes);
      const isKnown = hasData(block);
      if (isKnown && !wounded(block) && hash.equals(base.hashOf!(block))) {
        if (isTold) churn.equalBlocks += 1;
        continue;
      }
      if (!isKnown) churn.addedBlocks += 1;
      if (!isTold) miss(block);
      await writer.data(block, bytes, hash);
    }
    since = ports.clock.now();
  };
  for (const each of plan) {
    if ('long' in each) {
      let { block } = each.long;
      await ports.snapshots.readLong(snapshot, each.long.range, async (bytes) => {
        await look(block, bytes);
        block += bytes.length / BLOCK_BYTES;
      });
      continue;
    }
    for await (const { piece, bytes } of readAhead(each.pieces, (range, into) =>
      ports.snapshots.read(snapshot, range, into),
    ))
      await look(piece.block, bytes);
  }
  churn.sourceMs += ports.clock.now() - since;
  clearUpTo(Infinity);
  return normalise(missed);
}

/** What the source says, and what is to be healed. Where the whole view is lost, the new layer speaks of every block of the region. */
async function blocksToWrite(
  ports: SourcePorts,
  disk: PlanDisk,
  { region, heal, audit }: Work,
  base: KnownBlocks,
): Promise<ChangedBlocks> {
  const { geometry, sourceRates } = ports.settings;
  const asked: PlanDisk = heal === 'all' ? { ...disk, source: 'full', since: null, baseSizeBytes: null } : disk;
  const asking = { geometry, requestBlocks: requestBlocks(sourceRates[ports.accounts.kindOf(disk.url)]), audit };
  const found = await changedBlocks(ports.snapshots, asked, region, base, asking);
  if (heal === undefined) return found;
  if (heal === 'all') {
    const whole = [wholeRegion(ports)];
    return { ...found, reported: whole, cleared: without(whole, found.read) };
  }
  const onDisk = blocksIn(found.window.end - found.window.start);
  const past = without(normalise(heal), [{ start: 0, count: onDisk }]);
  const read = normalise([...found.read, ...without(normalise(heal), past)]);
  const reported = normalise([...found.reported, ...heal]);
  return { ...found, read, reported, cleared: normalise([...without(found.cleared, read), ...past]) };
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
