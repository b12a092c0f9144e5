import type { CleanUpReportRow } from '../catalog/clean-up-row.ts';
import type { ItemRow, PointRow } from '../catalog/catalog.ts';
import type { BackupPolicy } from '../domain/policy.ts';
import type { PointId } from '../domain/ids.ts';
import { instantExpiry } from '../domain/retention.ts';
import type { OpenReport } from './clean-up-report.ts';
import { holdsItem } from './holders.ts';
import { isPinned, isRunning } from './jobs.ts';
import { itemKey } from './keys.ts';
import type { Ports } from './ports.ts';
import { changePoint, readPoint, readPoints } from './projection.ts';
import { OUT_OF_REACH_MS, type OutOfReach, leaveToSweep, removeSnapshots } from './remove-snapshots.ts';

/** Points that are noted on a report at once. */
const BATCH = 50;

/** The item whose snapshots are to end, as far as it matters here. */
export interface InstantTier {
  readonly vault: string;
  readonly partition: string;
  readonly item: ItemRow;
  readonly policy: BackupPolicy;
  /** The newest vault point: its snapshots are where the next diff starts. */
  readonly anchor: PointId | undefined;
  /** When the cleanup run began. */
  readonly runStartedAt: number;
}

/** A point whose snapshots should have gone. */
type Failure = CleanUpReportRow['failures'][number];

/**
 * Ends the instant tier: snapshots past their instant retention go, except the anchor's; a point that never reached the vault goes
 * with them. What is going to end is noted on the report first and counted afterwards, so that it is counted once, wherever a
 * handler is killed. Resolves the points whose snapshots are out of reach: the others must not wait for them.
 * @throws BackupError StorageUnavailable, when all else is done, where that may be passing trouble
 */
export async function endInstantTier(ports: Ports, tier: InstantTier, report: OpenReport): Promise<Failure[]> {
  const kept = new Map<PointId, OutOfReach>();
  const seen = new Set<PointId>();
  for (;;) {
    let batch = report.row.ending;
    if (batch.length === 0) {
      batch = await nextBatch(ports, tier, seen);
      if (batch.length === 0) return failuresOf(ports, tier, kept);
      await report.change({ ending: batch });
    }
    let { endedSnapshots, removedPoints } = report.row;
    for (const { point, snapshots, removes } of batch) {
      seen.add(point);
      const ended = await endPoint(ports, tier, point);
      if (typeof ended === 'object') kept.set(point, ended);
      if (ended !== true) continue;
      endedSnapshots += snapshots;
      if (removes) removedPoints++;
    }
    await report.change({ ending: [], endedSnapshots, removedPoints });
  }
}

/** So long after the run's start it may be passing trouble: shorter than the watch waits before it wakes an item. */
const PASSING_MS = 10 * 60_000;

/** @throws what keeps them while the queue is to try again */
function failuresOf(ports: Ports, tier: InstantTier, kept: ReadonlyMap<PointId, OutOfReach>): Failure[] {
  const [first] = kept.values();
  if (first !== undefined && ports.clock.now() - tier.runStartedAt < PASSING_MS) throw first.error;
  return [...kept].map(([point, { error }]) => ({ point, code: error.code, message: error.message.slice(0, 300) }));
}

async function nextBatch(
  ports: Ports,
  tier: InstantTier,
  seen: ReadonlySet<PointId>,
): Promise<CleanUpReportRow['ending']> {
  const batch: CleanUpReportRow['ending'] = [];
  for (const row of await readPoints(ports, tier.partition)) {
    if (batch.length === BATCH) break;
    if (seen.has(row.point) || !(await mayEnd(ports, tier, row))) continue;
    const snapshots = row.instant === 'Valid' ? row.set.disks.length : 0;
    batch.push({ point: row.point, snapshots, removes: row.vault === 'None' });
  }
  return batch;
}

async function mayEnd(ports: Ports, { vault, item, policy, anchor }: InstantTier, row: PointRow): Promise<boolean> {
  const ends = instantExpiry(row, policy);
  // A point that is in no tier any more goes too, once its time is over: somebody has deleted its snapshots.
  const hasAny = row.instant === 'Valid' || (row.instant === 'Lost' && row.vault === 'None');
  if (!hasAny || ends === undefined || ends > ports.clock.now()) return false;
  if (row.point === anchor || (await isPinned(ports, vault, item, row.point))) return false;
  // Its transfer still reads them, or is going to.
  return !(row.vault === 'None' && holdsItem(item, row.jobId) && (await isRunning(ports, vault, row.jobId)));
}

/**
 * True when the point's snapshots are gone, now or by an earlier run of this, or are left to the sweep because their account has not
 * answered for days; a point that is nowhere else stays. Else what keeps them.
 */
async function endPoint(ports: Ports, tier: InstantTier, point: PointId): Promise<boolean | OutOfReach> {
  const row = await readPoint(ports, tier.partition, point);
  if (row === undefined || row.instant === 'Deleted') return true;
  if (!(await mayEnd(ports, tier, row))) return false;
  const left = await removeSnapshots(ports, row.set.disks);
  if (left[0] !== undefined) {
    const since = instantExpiry(row, tier.policy) ?? ports.clock.now();
    if (row.vault === 'None' || ports.clock.now() - since < OUT_OF_REACH_MS) return left[0];
    await leaveToSweep(ports, tier.vault, itemKey(tier.item.resourceGroup, tier.item.vmName), left);
  }
  let ended = true;
  await changePoint(ports, tier.partition, point, (now) => {
    if (now.vault === 'None') return 'remove';
    if (now.instant === 'Valid') return { ...now, instant: 'Deleted' };
    ended = now.instant === 'Deleted';
    return undefined;
  });
  return ended;
}
