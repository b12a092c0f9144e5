import type { JobRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import { type JobId, type PointId, runId } from '../domain/ids.ts';
import { decideRetention } from '../domain/retention.ts';
import { type ChainRecord, type MergePlan, mergePlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { commitMerge } from './commit-merge.ts';
import { DamagedRegion } from './damaged-region.ts';
import { endJob } from './end-job.ts';
import { recordFailure } from './findings.ts';
import { foldUnit, foldedBytes } from './fold-unit.ts';
import { type JobAddress, changeJob, insertJob, isPinned, isRunning, newJob, readJob, withdrawJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { makeMergePlan } from './merge-plan.ts';
import { forEachAtOnce } from './pipeline.ts';
import { notedPlan, unitCount } from './plans.ts';
import { readPoint } from './projection.ts';
import { policyOf } from './policies.ts';
import { openUnit } from './open-plan.ts';
import type { Ports } from './ports.ts';
import { openVault, readItem } from './vault-of.ts';

/*
 * An expired point goes into its successor: layers that only it has are taken over by name, layers that both have are folded
 * into new ones, and one chain record then drops the point and gives its successors their new manifests. Until that record
 * stands nothing that anybody names has changed; after it nothing that is named is touched.
 *
 * Every run is a new attempt bound to the one record that it was planned on: it commits as the next record or never. The point is
 * marked as leaving on the item's row first, under the ETag with which no pin on it was seen, so no restore can begin to
 * read it while it goes; and its snapshots are deleted before the record that drops it, so that it cannot be found again by them.
 */

/** Folds of one merge that are done on the spot rather than sent to others. */
const MOST_ON_THE_SPOT = 32;
const AT_ONCE = 4;

/** Starts the merge of an expired point. False: the item is held, or the point is pinned. */
export async function startMerge(ports: Ports, vault: string, key: string, point: PointId): Promise<boolean> {
  const { row: item, etag } = await readItem(ports, vault, key);
  if ((await isRunning(ports, vault, item.mergeJob)) || (await isPinned(ports, vault, item, point))) return false;
  const job = newJob(ports, item, key, { operation: 'Merge', userTriggered: false, point });
  const id = job.jobId;
  await insertJob(ports, vault, job);
  try {
    await ports.catalog.items.replace(vault, key, { ...item, mergeJob: id, leaving: point }, etag);
  } catch (error) {
    if (!isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw error; // unclear: the job's first step looks whether it holds the item
    await withdrawJob(ports, { vault, jobId: id });
    return false;
  }
  await ports.queue.send({ step: 'plan-merge', v: 1, vault, jobId: id });
  return true;
}

/** Plans the merge on the newest record and begins its folds. */
export async function planMerge(ports: Ports, step: { vault: string; jobId: string }): Promise<void> {
  const address: JobAddress = { vault: step.vault, jobId: step.jobId as JobId };
  const job = await readJob(ports, address);
  if (job?.status !== 'InProgress' || job.point === undefined) return;
  const { container, row: vault } = await openVault(ports, step.vault);
  const partition = pointsPartition(vault.containerName, job.itemId);
  const chain = new Chain(container, job.itemId);
  const noted = await notedPlan(container, job, mergePlan);
  if (noted !== undefined) return proceed(ports, address, container, partition, noted);
  const planning = { container, chain, partition, job: { ...job, point: job.point }, noted: { attempt: job.attempt } };
  const plan = await chain.onNewest(async (record) => {
    if (await mayGo(ports, step.vault, job, record)) return makeMergePlan(ports, address, { ...planning, record });
    await endJob(ports, address, 'Cancelled');
    return undefined;
  });
  if (plan !== undefined) await proceed(ports, address, container, partition, plan);
}

/**
 * The policy may have changed, and the point may be the newest by now, since cleanup chose it. The item must be held, with the point
 * marked as leaving. The item's state is the record's.
 */
async function mayGo(ports: Ports, vault: string, job: JobRow, record: ChainRecord): Promise<boolean> {
  if (record.state !== 'protected') return false;
  const { row: item } = await readItem(ports, vault, job.itemKey);
  if (item.mergeJob !== job.jobId || item.leaving !== job.point) return false;
  const { row: vaultRow } = await openVault(ports, vault);
  const partition = pointsPartition(vaultRow.containerName, job.itemId);
  const rows = await Promise.all(record.points.map(({ point }) => readPoint(ports, partition, point)));
  const policy = await policyOf(ports, vault, item);
  const verdicts = decideRetention(
    rows.filter((row) => row !== undefined),
    policy,
    ports.clock.now(),
  );
  return verdicts.some(({ point, verdict }) => point === job.point && verdict === 'expire');
}

async function proceed(
  ports: Ports,
  address: JobAddress,
  container: VaultContainer,
  partition: string,
  plan: MergePlan,
): Promise<void> {
  const { vault, jobId: id } = address;
  const totalBytes = plan.parts?.reduce((sum, { bytes }) => sum + bytes, 0) ?? foldedBytes(plan);
  await changeJob(ports, address, (row) => (row.totalBytes === totalBytes ? undefined : { ...row, totalBytes }));
  if (plan.parts === undefined && plan.units.length <= MOST_ON_THE_SPOT) {
    await forEachAtOnce(plan.units, AT_ONCE, (unit) => fold(ports, container, partition, plan, unit));
    return commitMerge(ports, { vault, jobId: id, attempt: plan.attempt, round: 0 });
  }
  await forEachAtOnce(Array(unitCount(plan)).keys(), AT_ONCE, (unit) =>
    ports.queue.send({ step: 'merge-unit', v: 1, vault, jobId: id, attempt: plan.attempt, unit }),
  );
  await ports.queue.send({ step: 'commit', v: 1, vault, jobId: id, attempt: plan.attempt, round: 0 });
}

/** One unit of a merge. */
export async function mergeUnit(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; unit: number },
): Promise<void> {
  const open = await openUnit(ports, step, mergePlan);
  if (open !== undefined) await fold(ports, open.container, open.partition, open.plan, open.unit);
}

/** Damage that a fold meets is noted: the merge fails, and the next one leaves the region's layers as they are. */
async function fold(
  ports: Ports,
  container: VaultContainer,
  partition: string,
  plan: MergePlan,
  unit: MergePlan['units'][number],
): Promise<void> {
  try {
    await foldUnit(container, ports.settings.geometry, plan, unit, runId(ports.ids.hex(8)));
  } catch (error) {
    if (!(error instanceof DamagedRegion)) throw error;
    // A run that comes late finds its layers deleted by a later merge: nothing is wrong then.
    const { seq } = await new Chain(container, plan.item).newest();
    const { disk, region, cause } = error;
    // What is damaged is in the list of one of the two: layers of later points lie above it.
    const at = { disk: { disk }, region, point: plan.point, newest: unit.into };
    if (seq === plan.seq) await recordFailure(ports, partition, cause, at);
    throw cause;
  }
}
