import { type AuditRun, AuditWalk, auditGap } from '../domain/audit.ts';
import { auditBudget } from '../domain/trust.ts';
import { BLOCK_BYTES, blocksIn } from '../domain/units.ts';
import type { PlanDisk } from '../format/documents.ts';
import type { Ports } from './ports.ts';

/**
 * Chooses what of a disk is audited: read and compared although its source calls it unchanged. Only a diff is; the other sources read
 * everything anyway. `known` are the regions that the base has layers of. It is 1 % of what the disk has allocated, and no more than the disk
 * gives in `auditSeconds`. Costs a page of a listing, seldom more.
 */
export async function planAudit(
  ports: Ports,
  disk: PlanDisk,
  known: Iterable<number>,
): Promise<{ disk: PlanDisk; regions: ReadonlyMap<number, AuditRun> }> {
  if (disk.source !== 'diff') return { disk, regions: new Map() };
  const blocks = blocksIn(disk.sizeBytes);
  const { auditSeconds, sourceRates, geometry } = ports.settings;
  const { bytesPerSecond } = sourceRates[ports.accounts.kindOf(disk.url)];
  const inTime = Math.floor((auditSeconds * bytesPerSecond) / BLOCK_BYTES);
  const budgetBlocks = Math.min(auditBudget(disk.trust, blocks), inTime);
  const walk = new AuditWalk({
    from: disk.trust?.auditedTo ?? 0,
    blocks,
    regionBlocks: geometry.regionBytes / BLOCK_BYTES,
    known,
    budgetBlocks,
  });
  const window = { start: walk.from * BLOCK_BYTES, end: disk.sizeBytes };
  for await (const { start, end } of ports.snapshots.allocated({ url: disk.url, id: disk.snapshot }, window)) {
    if (!walk.add(Math.floor(start / BLOCK_BYTES), Math.ceil(end / BLOCK_BYTES))) break;
  }
  const { windows, next, allocated } = walk.finish();
  return { disk: { ...disk, audit: { next, allocated, gap: auditGap(budgetBlocks) } }, regions: windows };
}
