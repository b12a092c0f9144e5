import { storedRuns } from '../domain/changes.ts';
import { isBackupError } from '../domain/errors.ts';
import { type RunId, runId } from '../domain/ids.ts';
import { stacksOf } from '../domain/point-stack.ts';
import { type RegionView, regionView } from '../domain/region-view.ts';
import { BLOCK_BYTES } from '../domain/units.ts';
import { type LayerRef, type TransferPlan, transferPlan } from '../format/documents.ts';
import { type LayerKey, layerName } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { changedBlocks, readPieces } from './changed-blocks.ts';
import { LayerWriter } from './layer-writer.ts';
import { readView } from './layers.ts';
import { inOrder } from './pipeline.ts';
import { openPlan } from './open-plan.ts';
import type { Ports } from './ports.ts';
import { hashBlock } from './region-bytes.ts';

/** Most bytes asked of a snapshot at once. */
const READ_BYTES = 8 * 1024 * 1024;
/** Reads of one unit under way: more streams on one blob do not help past its cap. */
const READS_IN_FLIGHT = 4;

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/**
 * One unit of a transfer: one region of one disk becomes one layer. Safe to run again, late, or beside its twin: the layer is
 * the unit's one object, the first one stands, and pack names carry this run's nonce.
 */
export async function transferUnit(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; unit: number },
): Promise<void> {
  const open = await openPlan(ports, step, transferPlan);
  if (open === undefined) return;
  const { address, container, plan } = open;
  const unit = plan.units[step.unit];
  const disk = unit && plan.disks[unit.disk];
  if (unit === undefined || disk === undefined) return;
  const key: LayerKey = {
    item: plan.item,
    disk: disk.disk,
    point: plan.point,
    region: unit.region,
    attempt: plan.attempt,
  };
  if ((await container.stat(layerName(key))) !== undefined) return;

  const run = runId(ports.ids.hex(8));
  try {
    await writeLayer(ports, container, disk, key, unit.stack, run);
  } catch (error) {
    // The base snapshot went after the plan was made: the job plans again, without it.
    if (isBackupError(error, 'ChangeTrackingUnusable')) {
      return ports.queue.send({ step: 'plan-transfer', v: 1, ...address, instead: step.attempt });
    }
    if (!isBackupError(error, 'VaultObjectMissing')) throw error;
    const stack = await stackAtBase(container, plan, key);
    if (stack === undefined) return; // the base was merged away: the coordinator plans again
    if (JSON.stringify(stack) === JSON.stringify(unit.stack)) throw error; // nothing has moved: this is damage
    await writeLayer(ports, container, disk, key, stack, run);
  }
}

async function writeLayer(
  ports: Ports,
  container: VaultContainer,
  disk: TransferPlan['disks'][number],
  key: LayerKey,
  stack: readonly LayerRef[],
  run: RunId,
): Promise<void> {
  const base: RegionView = stack.length === 0 ? regionView([]) : await readView(container, key, stack);
  const { window, read, cleared } = await changedBlocks(
    ports.snapshots,
    disk,
    key.region,
    base,
    ports.settings.geometry,
  );
  const hasData = membership(storedRuns(base.extents));
  const writer = new LayerWriter(container, key, run);
  const snapshot = { url: disk.url, id: disk.snapshot };

  let nextCleared = 0;
  const clearUpTo = (block: number): void => {
    for (; nextCleared < cleared.length && cleared[nextCleared]!.start < block; nextCleared++) {
      const { start, count } = cleared[nextCleared]!;
      for (let i = start; i < start + count; i++) if (hasData(i)) writer.cleared(i, 1);
    }
  };
  const pieces = readPieces(read, window, READ_BYTES);
  for await (const { item, result } of inOrder(pieces, READS_IN_FLIGHT, ({ range }) =>
    ports.snapshots.read(snapshot, range),
  )) {
    for (let at = 0; at < result.length; at += BLOCK_BYTES) {
      const block = item.block + at / BLOCK_BYTES;
      const bytes = padded(result.subarray(at, at + BLOCK_BYTES));
      clearUpTo(block);
      if (ZERO_BLOCK.equals(bytes)) {
        if (hasData(block)) writer.cleared(block, 1);
        continue;
      }
      const hash = hashBlock(bytes);
      if (hasData(block) && hash.equals(base.hashOf!(block))) continue;
      await writer.data(block, bytes, hash);
    }
  }
  clearUpTo(Infinity);
  await writer.finish();
}

/** The last block of a disk may be cut: it is padded with zeros. */
function padded(bytes: Uint8Array): Uint8Array {
  if (bytes.length === BLOCK_BYTES) return bytes;
  const whole = new Uint8Array(BLOCK_BYTES);
  whole.set(bytes);
  return whole;
}

/** A test for ascending questions: is this block in one of the runs? */
function membership(runs: readonly { start: number; count: number }[]): (block: number) => boolean {
  let at = 0;
  return (block) => {
    while (at > 0 && runs[at - 1]!.start + runs[at - 1]!.count > block) at--;
    while (at < runs.length && runs[at]!.start + runs[at]!.count <= block) at++;
    return at < runs.length && runs[at]!.start <= block;
  };
}

/** The unit's stack as the newest record has it at the plan's base; undefined when the disk's base is live no more. */
async function stackAtBase(
  container: VaultContainer,
  plan: TransferPlan,
  key: LayerKey,
): Promise<LayerRef[] | undefined> {
  const base = plan.disks.find(({ disk }) => disk === key.disk)?.base;
  const chain = new Chain(container, plan.item);
  const record = await chain.newest();
  if (base === null || base === undefined || !record.points.some(({ point }) => point === base)) return undefined;
  return stacksOf(key.disk, await chain.manifests(record, base)).get(key.region) ?? [];
}
