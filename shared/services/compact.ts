import { isBackupError } from '../domain/errors.ts';
import { type JobId, attemptId } from '../domain/ids.ts';
import { type CompactPlan, compactPlan } from '../format/compact-plan.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { chooseUnits } from './compact-choice.ts';
import { commitCompaction } from './compact-commit.ts';
import { compactRegion } from './compact-region.ts';
import { endJob } from './end-job.ts';
import { type JobAddress, changeJob, insertJob, isRunning, newJob, noteAttempt, readJob, withdrawJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { openPlan } from './open-plan.ts';
import { forEachAtOnce } from './pipeline.ts';
import { notedPlan, storePlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { openVault, readItem } from './vault-of.ts';

/*
 * What merges leave of packs is compacted: for each layer whose packs have become sparse, a layer of the same point and region is
 * written that says the same and has its frames in dense packs; one chain record then names the new layers in place of the old
 * ones. No view changes, at no point. As a merge, it is an attempt bound to the one record that it was planned on, it holds the
 * item's row so that there is one at a time, and what nothing names any more is deleted after the grace.
 *
 * No point leaves and none is pinned: readers that miss a layer or a pack look at the newest record and start their region again.
 */

/** Units of one compaction that are done on the spot rather than sent to others, and the most bytes that they may move. */
const MOST_ON_THE_SPOT = 8;
const MOST_BYTES_ON_THE_SPOT = 64 * 1024 * 1024;
const AT_ONCE = 2;

/** What became of a wish to compact. */
export interface CompactionStart {
  readonly started: boolean;
  /** How many bytes it is going to move: what it takes from the budget. */
  readonly bytes: number;
  /** About how many bytes more it would pay to move, but not within this budget. */
  readonly left: number;
}

/**
 * Starts a compaction of an item, if there is anything that pays. Nothing is started while a backup, a merge or another compaction
 * holds the item, or while its protection is stopped. Reads the item's manifests, and the maps of layers until the budget is used up.
 */
export async function startCompaction(
  ports: Ports,
  vault: string,
  key: string,
  budgetBytes: number,
): Promise<CompactionStart> {
  const { row: item, etag } = await readItem(ports, vault, key);
  const none = { started: false, bytes: 0, left: 0 };
  if (budgetBytes <= 0 || (await isRunning(ports, vault, item.mergeJob))) return none;
  // Its commit would come first, and all would have been in vain.
  if (await isRunning(ports, vault, item.activeJob)) return none;
  const { row: vaultRow, container } = await openVault(ports, vault);
  const chain = new Chain(container, item.itemId);
  const source = { vault, partition: pointsPartition(vaultRow.containerName, item.itemId), item, container, chain };
  const { units, bytes, left } = await chooseUnits(ports, source, await chain.newest(), budgetBytes);
  if (units.length === 0) return { ...none, left };
  const job = newJob(ports, item, key, { operation: 'Compact', userTriggered: false, budgetBytes: bytes });
  await insertJob(ports, vault, job);
  try {
    await ports.catalog.items.replace(vault, key, { ...item, mergeJob: job.jobId }, etag);
  } catch (error) {
    if (!isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw error; // unclear: the job's first step looks whether it holds the item
    await withdrawJob(ports, { vault, jobId: job.jobId });
    return none;
  }
  await ports.queue.send({ step: 'plan-compaction', v: 1, vault, jobId: job.jobId });
  return { started: true, bytes, left };
}

/** Plans the compaction on the newest record and begins its units. */
export async function planCompaction(ports: Ports, step: { vault: string; jobId: string }): Promise<void> {
  const address: JobAddress = { vault: step.vault, jobId: step.jobId as JobId };
  const job = await readJob(ports, address);
  if (job?.status !== 'InProgress') return;
  const { container, row: vault } = await openVault(ports, step.vault);
  const noted = await notedPlan(container, job, compactPlan);
  if (noted !== undefined) return proceed(ports, address, container, noted);
  const chain = new Chain(container, job.itemId);
  const record = await chain.newest();
  const { row: item } = await readItem(ports, step.vault, job.itemKey);
  const source = {
    vault: step.vault,
    partition: pointsPartition(vault.containerName, job.itemId),
    item,
    container,
    chain,
  };
  // The item must be held by this job, or a merge might be running beside. What paid may not do so any more.
  const isHeld = item.mergeJob === job.jobId;
  const units = isHeld ? (await chooseUnits(ports, source, record, job.budgetBytes ?? 0)).units : [];
  if (units.length === 0) {
    await endJob(ports, address, 'Cancelled');
    return ports.queue.send({ step: 'clean-item', v: 1, vault: step.vault, itemId: job.itemKey });
  }
  const plan: CompactPlan = {
    format: 1,
    kind: 'compact',
    spanRegions: ports.settings.layout.spanRegions,
    item: job.itemId,
    attempt: attemptId(ports.ids.hex(16)),
    job: job.jobId,
    seq: record.seq,
    units: [...units],
  };
  if (!(await noteAttempt(ports, address, plan.attempt, job.attempt, record.seq))) return;
  await storePlan(container, plan);
  await proceed(ports, address, container, plan);
}

async function proceed(ports: Ports, address: JobAddress, container: VaultContainer, plan: CompactPlan): Promise<void> {
  const { vault, jobId } = address;
  const bytes = plan.units.reduce((sum, { movedBytes }) => sum + movedBytes, 0);
  await changeJob(ports, address, (row) => (row.totalBytes === bytes ? undefined : { ...row, totalBytes: bytes }));
  if (plan.units.length <= MOST_ON_THE_SPOT && bytes <= MOST_BYTES_ON_THE_SPOT) {
    await forEachAtOnce(plan.units, AT_ONCE, (unit) => compactRegion(ports, container, plan, unit));
    return commitCompaction(ports, { vault, jobId, attempt: plan.attempt, round: 0 });
  }
  await forEachAtOnce(plan.units.keys(), AT_ONCE, (unit) =>
    ports.queue.send({ step: 'compact-unit', v: 1, vault, jobId, attempt: plan.attempt, unit }),
  );
  await ports.queue.send({ step: 'commit', v: 1, vault, jobId, attempt: plan.attempt, round: 0 });
}

/** One unit of a compaction: the sparse packs of one layer. */
export async function compactUnit(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; unit: number },
): Promise<void> {
  const open = await openPlan(ports, step, compactPlan);
  const unit = open?.plan.units[step.unit];
  if (open !== undefined && unit !== undefined) await compactRegion(ports, open.container, open.plan, unit);
}
