import type { ItemRow, JobRow } from '../catalog/catalog.ts';
import { BackupError } from '../domain/errors.ts';
import { type ItemId, type JobId, attemptId } from '../domain/ids.ts';
import { instantExpiry } from '../domain/retention.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { finishJob } from './end-job.ts';
import { insertJob, isPinned, newJob } from './jobs.ts';
import { itemKey } from './keys.ts';
import { policyOf } from './policies.ts';
import type { Ports } from './ports.ts';
import { changePoint, readPoints } from './projection.ts';
import { leaveToSweep, removeSnapshots } from './remove-snapshots.ts';

/* What every change of an item's protection does besides its row: the chain's state, the anchor's snapshots, a job that tells. */

/**
 * Says in the chain whether merges may go on: a merge takes the item's state from the record that it builds on. `isWanted` is asked before
 * each try: who comes late must not undo what others have done since.
 */
export async function setState(
  ports: Ports,
  container: VaultContainer,
  item: ItemId,
  state: 'protected' | 'stopped',
  isWanted: () => Promise<boolean> = async () => true,
): Promise<void> {
  const chain = new Chain(container, item);
  for (;;) {
    const newest = await chain.newest();
    if (newest.state === state || !(await isWanted())) return;
    const { won } = await chain.append(newest, {
      kind: 'state',
      attempt: attemptId(ports.ids.hex(16)),
      job: null,
      writtenAt: new Date(ports.clock.now()).toISOString(),
      state,
    });
    if (won) return;
  }
}

/**
 * The newest vault point keeps its snapshots past their time for the next diff alone: without one they go. Those that are out of reach
 * are left to the sweep: a VM is often stopped when its disks are gone, and nothing else ends them afterwards.
 */
export async function dropAnchor(ports: Ports, vault: string, partition: string, item: ItemRow): Promise<void> {
  const policy = await policyOf(ports, vault, item);
  const anchor = (await readPoints(ports, partition)).findLast((row) => row.vault === 'Valid');
  const ends = anchor && instantExpiry(anchor, policy);
  if (anchor?.instant !== 'Valid' || ends === undefined || ends > ports.clock.now()) return;
  if (await isPinned(ports, vault, item, anchor.point)) return;
  const left = await removeSnapshots(ports, anchor.set.disks);
  if (left.length > 0) await leaveToSweep(ports, vault, itemKey(item.resourceGroup, item.vmName), left);
  await changePoint(ports, partition, anchor.point, (row) =>
    row.instant === 'Valid' ? { ...row, instant: 'Deleted' } : undefined,
  );
}

/** A job that tells what has just been done: clients ask for one after every change. */
export async function recordChange(
  ports: Ports,
  vault: string,
  key: string,
  operation: JobRow['operation'],
  bag: Record<string, string>,
): Promise<JobId> {
  const item = (await ports.catalog.items.get(vault, key))?.row;
  if (item === undefined) throw new BackupError('ResourceNotFound', `there is no protected item ${key} in this vault`);
  const job = newJob(ports, item, key, { operation, userTriggered: true, bag: { 'VM Name': item.vmName, ...bag } });
  await insertJob(ports, vault, job);
  await finishJob(ports, { vault, jobId: job.jobId }, 'Completed');
  return job.jobId;
}
