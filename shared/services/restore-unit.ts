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
import { openUnit } from './open-plan.ts';
import type { Ports } from './ports.ts';
import { type BlockBytes, hashBlock, padded, readBlocks } from './region-bytes.ts';
import { readAhead } from './read-ahead.ts';
import { readBack, RegionHashes } from './read-back.ts';
import { hashesAsCut } from './restored-form.ts';
import { TargetWriter } from './target-writer.ts';

const READ_BYTES = 8 * 1024 * 1024;
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
  const open = await openUnit(ports, step, restorePlan);
  const key = unitRowKey(step.unit);
  // A run that came after the job's end may have died before it took its mark away.
  if (open === undefined) return ports.catalog.units.remove(step.attempt, key);
  const { address, container, plan, unit } = open;
  const target = plan.targets[unit.target];
  if (target === undefined) return;
  if ((await ports.catalog.units.get(plan.attempt, key)) !== undefined) return;

  const window = regionRange(unit.region, target.sizeBytes, ports.settings.geometry);
  // What is read back is compared with the layers' hashes, all but a block that the disk's end cuts: that has another one there.
  const isCut = window.end % BLOCK_BYTES !== 0;
  let hashes: RegionHashes;
  try {
    hashes =
      target.source === null
        ? await fromVault(ports, container, plan, target, unit, isCut, (blocks) => copy(ports, target, window, blocks))
        : await copy(ports, target, window, snapshotBlocks(ports, target.source, window));
  } catch (error) {
    if (!isBackupError(error, 'UserErrorInstantRpNotFound')) throw error;
    // The snapshots went after the plan was made: the job plans again, from the vault if the point is there.
    return ports.queue.send({ step: 'plan-restore', v: 1, ...address, instead: step.attempt });
  }
  try {
    await readBack(ports.targets, target, window, hashes);
  } catch (error) {
    // Damage in the vault shows on the disk; a second look at the vault's bytes tells whose fault it is.
    if (isBackupError(error, 'RestoreVerificationFailed') && target.source === null)
      await fromVault(ports, container, plan, target, unit, true, async (blocks) => {
        for await (const _ of blocks) void _;
      });
    throw error;
  }
  await ports.catalog.units.upsert(plan.attempt, key, { bytes: unit.bytes });
  // The job's end takes the marks away: one that came later than that goes too.
  if ((await runningJob(ports, address, step.attempt)) === undefined)
    await ports.catalog.units.remove(plan.attempt, key);
}

type Target = RestorePlan['targets'][number];

/**
 * Hands the blocks that a unit restores to `use`, which may be asked twice.
 * @param check whether each block is compared with its hash
 */
async function fromVault<Result>(
  ports: Ports,
  container: VaultContainer,
  plan: RestorePlan,
  target: Target,
  unit: RestorePlan['units'][number],
  check: boolean,
  use: (blocks: AsyncIterable<BlockBytes>) => Promise<Result>,
): Promise<Result> {
  const { regionBytes } = ports.settings.geometry;
  const at = { item: plan.item, disk: target.disk, region: unit.region, blocks: regionBytes / BLOCK_BYTES };
  const read = async (stack: readonly LayerName[], checkpoint: CheckpointName | undefined): Promise<Result> =>
    use(readBlocks(container, await readView(container, at, stack, checkpoint), { check }));
  try {
    return await read(unit.stack, unit.checkpoint);
  } catch (error) {
    if (!isBackupError(error, 'VaultObjectMissing')) throw error;
    // Merges below a pinned point go on: it starts again with the stack as the newest record has it.
    const stacks = await newestStacks(container, plan.item, target.disk, plan.point, [unit.region]);
    const now = stacks && (stacks.get(unit.region) ?? { layers: [] });
    if (now === undefined || stackDigest(now.layers) === stackDigest(unit.stack)) throw error; // nothing has moved: this is damage
    return read(now.layers, now.checkpoint);
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
  for await (const { piece, bytes: found } of readAhead(pieces, (range, into) =>
    ports.snapshots.read(snapshot, range, into),
  )) {
    const bytes = padded(found);
    let from = 0;
    for (let at = 0; at <= bytes.length; at += BLOCK_BYTES) {
      const zero = at === bytes.length || ZERO_BLOCK.equals(bytes.subarray(at, at + BLOCK_BYTES));
      if (!zero) continue;
      if (at > from) yield hashed(piece.block + from / BLOCK_BYTES, bytes.subarray(from, at));
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
