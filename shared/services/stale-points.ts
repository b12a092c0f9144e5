import { blockCount, type BlockRun } from '../domain/extent.ts';
import { writtenFrom } from '../domain/findings.ts';
import type { OwnerMap } from '../domain/known-blocks.ts';
import { type LayerName, chainOf } from '../domain/point-stack.ts';
import { BLOCK_BYTES } from '../domain/units.ts';
import type { PlanDisk, TransferPlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { recordFinding } from './findings.ts';
import type { Ports } from './ports.ts';

/** Blocks of a region that the source of changes has called unchanged and that are not what the base has. */
export interface Missed {
  readonly disk: PlanDisk;
  readonly region: number;
  readonly runs: readonly BlockRun[];
  /** The region's view at the base: its layers, oldest first, and which of them has each block. */
  readonly stack: readonly LayerName[];
  readonly base: OwnerMap;
}

/**
 * Records which points may show older bytes than their disk had: a change of these blocks was left out some time between the newest layer
 * that has them and now, and nobody can tell any more after which of the points in between. Where nothing was known of a block they are
 * all that the disk's chain has. The point that is being written is sound. Repeats safely.
 */
export async function recordStalePoints(
  ports: Ports,
  container: VaultContainer,
  partition: string,
  { item, point }: Pick<TransferPlan, 'item' | 'point'>,
  { disk, region, runs, stack, base }: Missed,
): Promise<void> {
  const chain = new Chain(container, item);
  const { manifests } = await chain.readable(await chain.newest());
  const layer = writtenFrom(base, runs);
  const from = layer === undefined ? '' : stack[layer]!.point;
  const points = chainOf(disk.disk, manifests)
    .map((own) => own.point)
    .filter((own) => own >= from && own < point);
  if (points.length === 0) return;
  const blocks = blockCount(runs);
  await recordFinding(ports, partition, {
    kind: 'stale',
    object: `${disk.url}?snapshot=${disk.since}`,
    code: 'ChangedBlocksMissed',
    message:
      `${blocks} blocks of ${BLOCK_BYTES / 1024} KiB that the source of changes called unchanged since snapshot ${disk.since} of ${disk.url} ` +
      `differ from point ${disk.base}: this and earlier points may show older bytes there; ${point} has them right`,
    disk,
    region,
    runs,
    points,
    newest: point,
  });
}
