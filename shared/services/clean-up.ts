import type { ItemRow, PointRow } from '../catalog/catalog.ts';
import type { BackupPolicy } from '../domain/policy.ts';
import { decideRetention, instantExpiry } from '../domain/retention.ts';
import { isBackupError } from '../domain/errors.ts';
import { Chain } from './chain.ts';
import { releaseEnded } from './end-job.ts';
import { isPinned, isRunning } from './jobs.ts';
import { forEachItem } from './items.ts';
import { pointsPartition } from './keys.ts';
import { startMerge } from './merge.ts';
import { policyOf } from './policies.ts';
import type { Ports } from './ports.ts';
import { changePoint, project, readPoints } from './projection.ts';
import { openVault, readItem } from './vault-of.ts';

/** The daily cleanup: leaves a message for each item, so that each is one bounded step. */
export function cleanUp(ports: Ports): Promise<number> {
  return forEachItem(ports, (vault, itemId) => ports.queue.send({ step: 'clean-item', v: 1, vault, itemId }));
}

/**
 * Applies retention to one item: snapshots past their instant retention go, except the anchor of the next diff; an expired
 * point that never reached the vault goes; the oldest expired vault point begins to merge. Each merge leaves another message
 * like this one, so they follow one another until nothing is expired.
 */
export async function cleanItem(ports: Ports, step: { vault: string; itemId: string }): Promise<void> {
  await releaseEnded(ports, step.vault, step.itemId);
  let found;
  try {
    found = await readItem(ports, step.vault, step.itemId);
  } catch (error) {
    if (isBackupError(error, 'ResourceNotFound')) return;
    throw error;
  }
  const item = found.row;
  const policy = await policyOf(ports, step.vault, item);
  if (policy === undefined) return; // stopped with data retained: nothing expires
  const { container, row: vault } = await openVault(ports, step.vault);
  const partition = pointsPartition(vault.containerName, item.itemId);
  const chain = new Chain(container, item.itemId);
  const record = await chain.newest();
  await project(ports, partition, chain, record);
  const rows = await readPoints(ports, partition);
  await endInstantTier(ports, step.vault, partition, item, policy, rows, record.points.at(-1)?.point);

  const live = new Set(record.points.map(({ point }) => point));
  const verdicts = decideRetention(
    rows.filter(({ point }) => live.has(point)),
    policy,
    ports.clock.now(),
  );
  for (const { point, verdict } of verdicts) {
    if (verdict === 'expire' && (await startMerge(ports, step.vault, step.itemId, point))) return;
  }
}

async function endInstantTier(
  ports: Ports,
  vault: string,
  partition: string,
  item: ItemRow,
  policy: BackupPolicy,
  rows: readonly PointRow[],
  anchor: string | undefined,
): Promise<void> {
  for (const row of rows) {
    const ends = instantExpiry(row, policy);
    // A point that is in no tier any more goes too, once its time is over: somebody has deleted its snapshots.
    const hasAny = row.instant === 'Valid' || (row.instant === 'Lost' && row.vault === 'None');
    if (!hasAny || ends === undefined || ends > ports.clock.now()) continue;
    if (row.point === anchor || (await isPinned(ports, vault, item, row.point))) continue;
    if (row.vault === 'None' && item.activeJob === row.jobId && (await isRunning(ports, vault, row.jobId))) continue; // read by its transfer
    for (const { url, snapshot } of row.set.disks) await ports.snapshots.remove({ url, id: snapshot });
    await changePoint(ports, partition, row.point, (now) => {
      if (now.vault === 'None') return 'remove';
      return now.instant === 'Valid' ? { ...now, instant: 'Deleted' } : undefined;
    });
  }
}
