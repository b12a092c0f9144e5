import type { DiskId, ItemId, PointId } from '../domain/ids.ts';
import type { RegionStack } from '../domain/point-stack.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { stacksWithin } from './spans.ts';

/**
 * The stacks of some regions of a disk at `point` as the newest record has them: who meets "not found" under a plan's stacks starts its region again
 * with these, since merges go on meanwhile. Undefined when the point is live no more.
 */
export async function newestStacks(
  container: VaultContainer,
  item: ItemId,
  disk: DiskId,
  point: PointId,
  regions: readonly number[],
): Promise<Map<number, RegionStack> | undefined> {
  const chain = new Chain(container, item);
  const span = { from: Math.min(...regions), to: Math.max(...regions) + 1 };
  return chain.onNewest(async (record) => {
    if (!record.points.some((live) => live.point === point)) return undefined;
    return await stacksWithin(chain, await chain.history(record, point), disk, span);
  });
}
