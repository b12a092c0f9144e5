import { isBackupError } from '../domain/errors.ts';
import { touchedBlocks } from '../domain/changes.ts';
import { type CheckpointName, type LayerName, stackDigest } from '../domain/point-stack.ts';
import { BLOCK_BYTES, type ByteRange, HASH_BYTES, blocksIn, regionRange } from '../domain/units.ts';
import { type RestorePlan, restorePlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { readPieces } from './changed-blocks.ts';
import { readView } from './layers.ts';
import { runningJob } from './jobs.ts';
import { newestStacks } from './newest-stacks.ts';
import { ahead, inOrder } from './pipeline.ts';
import { openUnit } from './open-plan.ts';
import type { Ports } from './ports.ts';
import { type BlockBytes, hashBlock, padded, readBlocks } from './region-bytes.ts';
import { readBack, RegionHashes } from './read-back.ts';
import { hashesAsCut } from './restored-form.ts';
import { TargetWriter } from './target-writer.ts';

const READ_BYTES = 8 * 1024 * 1024;
const READS_IN_FLIGHT = 4;
const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/** The key of a unit's mark. */
export const unitRowKey = (unit: number): string => unit.toString().padStart(7, '0');

/**
 * One region of one disk is written to its target under the job's lease, and read back. Writing the same bytes again does no harm;
 * once the target has been handed over the lease is gone and a late write is refused. A finished unit leaves a mark.
 */
export async function restoreUnit(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; unit: number },
): Promise<void> {
  const key = unitRowKey(step.unit);
  const mark = ahead(ports.catalog.units.get(step.attempt, key));
  const open = await openUnit(ports, step, restorePlan);
  // A run that came after the job's end may have died before it took its mark away.
  if (open === undefined) return ports.catalog.units.remove(step.attempt, key);
  const { address, container, plan, unit } = open;
  const target = plan.targets[unit.target];
  if (target === undefined) return;
  if ((await mark) !== undefined) return;

  const window = regionRange(unit.region, target.sizeBytes, ports.settings.geometry);
  let hashes: RegionHashes;
  try {
    hashes =
      target.source === null
        ? await fromVault(ports, container, plan, target, unit, window)
        : await copy(ports, target, window, snapshotBlocks(ports, target.source, window));
  } catch (error) {
    if (!isBackupError(error, 'UserErrorInstantRpNotFound')) throw error;
    // The snapshots went after the plan was made: the job plans again, from the vault if the point is there.
    return ports.queue.send({ step: 'plan-restore', v: 1, ...address, instead: step.attempt });
  }
  await readBack(ports.targets, target, window, hashes);
  await ports.catalog.units.upsert(plan.attempt, key, { bytes: unit.bytes });
  // The job's end takes the marks away: one that came later than that goes too.
  if ((await runningJob(ports, address, step.attempt)) === undefined)
    await ports.catalog.units.remove(plan.attempt, key);
}

type Target = RestorePlan['targets'][number];

async function fromVault(
  ports: Ports,
  container: VaultContainer,
  plan: RestorePlan,
  target: Target,
  unit: RestorePlan['units'][number],
  window: ByteRange,
): Promise<RegionHashes> {
  const { regionBytes } = ports.settings.geometry;
  const at = { item: plan.item, disk: target.disk, region: unit.region, blocks: regionBytes / BLOCK_BYTES };
  const write = async (stack: readonly LayerName[], checkpoint: CheckpointName | undefined): Promise<RegionHashes> =>
    copy(ports, target, window, readBlocks(container, await readView(container, at, stack, checkpoint)));
  try {
    return await write(unit.stack, unit.checkpoint);
  } catch (error) {
    if (!isBackupError(error, 'VaultObjectMissing')) throw error;
    // Merges below a pinned point go on: it starts again with the stack as the newest record has it.
    const stacks = await newestStacks(container, plan.item, target.disk, plan.point, [unit.region]);
    const now = stacks && (stacks.get(unit.region) ?? { layers: [] });
    if (now === undefined || stackDigest(now.layers) === stackDigest(unit.stack)) throw error; // nothing has moved: this is damage
    return write(now.layers, now.checkpoint);
  }
}

/** Writes runs of blocks to the target, cut at the disk's end; answers the hashes of what was written. */
async function copy(
  ports: Ports,
  target: Target,
  window: ByteRange,
  blocks: AsyncIterable<BlockBytes>,
): Promise<RegionHashes> {
  const hashes = new RegionHashes(blocksIn(window.end - window.start));
  const writer = new TargetWriter(ports.targets, target, window.end);
  for await (const run of blocks) {
    const { start, bytes } = run;
    hashes.set(start, hashesAsCut(window, run));
    await writer.write(window.start + start * BLOCK_BYTES, bytes);
  }
  await writer.finish();
  return hashes;
}

/** The blocks of a snapshot's region that hold anything but zeros. */
async function* snapshotBlocks(
  ports: Ports,
  snapshot: { url: string; id: string },
  window: ByteRange,
): AsyncGenerator<BlockBytes> {
  const allocated: ByteRange[] = [];
  for await (const range of ports.snapshots.allocated(snapshot, window)) allocated.push(range);
  const pieces = readPieces(touchedBlocks(allocated, window), window, READ_BYTES);
  for await (const { item, result } of inOrder(pieces, READS_IN_FLIGHT, ({ range }) =>
    ports.snapshots.read(snapshot, range),
  )) {
    const bytes = padded(result);
    let from = 0;
    for (let at = 0; at <= bytes.length; at += BLOCK_BYTES) {
      const zero = at === bytes.length || ZERO_BLOCK.equals(bytes.subarray(at, at + BLOCK_BYTES));
      if (!zero) continue;
      if (at > from) yield hashed(item.block + from / BLOCK_BYTES, bytes.subarray(from, at));
      from = at + BLOCK_BYTES;
    }
  }
}

function hashed(start: number, bytes: Uint8Array): BlockBytes {
  const hashes = Buffer.allocUnsafe((bytes.length / BLOCK_BYTES) * HASH_BYTES);
  for (let i = 0; i * BLOCK_BYTES < bytes.length; i++) {
    hashes.set(hashBlock(bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)), i * HASH_BYTES);
  }
  return { start, bytes, hashes };
}
