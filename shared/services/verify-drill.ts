import type { JobRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import { regionRange } from '../domain/units.ts';
import { restorePlan } from '../format/documents.ts';
import type { VerifyPlan, VerifyUnit } from '../format/verify-plan.ts';
import { backOffSeconds } from './back-off.ts';
import { endJob } from './end-job.ts';
import { type Found, DAMAGE_CODES, recordFinding } from './findings.ts';
import { ENDED, type JobAddress, changeJob, readJob } from './jobs.ts';
import { readPlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { startRestore } from './restore.ts';
import { differences, targetHashes } from './verify-compare.ts';
import type { VerifyWork } from './verify-work.ts';

/*
 * A drill is a real restore from the vault into a scratch container, by a restore job of its own whose id the verify job has noted before
 * it starts it. When all is restored and read back, that job does not hand its disks over: it waits, under its leases and with the
 * mark that says that they are not complete, until the verify job has compared them with the snapshots or runs no more. Then it
 * takes them away as a failed restore does. So they go whatever is killed, and by the same means as always.
 */

/** The container of drills, in the app's own account. Each drill has a folder in it. */
const SCRATCH = 'strata-drill';

/** Starts the restore of a drill, once. A drill that cannot start says why on the verify job. */
export async function startDrill({ ports, job }: VerifyWork, address: JobAddress): Promise<void> {
  const drill = job.verify?.drill;
  if (drill === undefined || drill.refused !== undefined) return;
  const restoring = { vault: address.vault, jobId: drill.jobId };
  const begun = await readJob(ports, restoring);
  if (begun !== undefined) {
    // Whoever made the row may not have got as far as its first message.
    if (begun.status === 'InProgress' && begun.attempt === undefined)
      await ports.queue.send({ step: 'plan-restore', v: 1, ...restoring });
    return;
  }
  try {
    await startRestore(
      ports,
      address.vault,
      job.itemKey,
      drill.point,
      { accountId: ports.settings.drillAccount ?? '', containerName: `${SCRATCH}/${drill.jobId}` },
      { jobId: drill.jobId, verifyJob: job.jobId },
    );
  } catch (error) {
    if (isBackupError(error, 'RowAlreadyExists')) return; // a twin has started it
    if (
      !isBackupError(
        error,
        'UserErrorRecoveryPointLeaving',
        'ResourceNotFound',
        'UserErrorInvalidRestoreRequest',
        'UserErrorInstantRpNotFound',
      )
    )
      throw error;
    await changeDrill(ports, address, (now) => ({ ...now, refused: error.message }));
  }
}

type Drill = NonNullable<NonNullable<JobRow['verify']>['drill']>;

export async function changeDrill(ports: Ports, address: JobAddress, change: (drill: Drill) => Drill): Promise<void> {
  await changeJob(ports, address, (row) =>
    row.status !== 'InProgress' || row.verify?.drill === undefined
      ? undefined
      : { ...row, verify: { ...row.verify, drill: change(row.verify.drill) } },
  );
}

/**
 * The end of a drill's restore, once every unit has been restored: it waits until its verify job has compared the disks, or runs no more,
 * and ends by taking them away.
 */
export async function holdForDrill(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; round: number },
  job: JobRow,
): Promise<void> {
  const address: JobAddress = { vault: step.vault, jobId: job.jobId };
  const verify = await readJob(ports, { vault: step.vault, jobId: job.restore!.verifyJob! });
  if (verify?.status !== 'InProgress' || verify.verify?.drill?.compared === true) {
    return endJob(ports, address, 'Completed');
  }
  await changeJob(ports, address, (row) =>
    row.status === 'InProgress' && row.restore !== undefined
      ? {
          ...row,
          doneBytes: row.totalBytes,
          restore: { ...row.restore, restoredAt: row.restore.restoredAt ?? ports.clock.now() },
        }
      : undefined,
  );
  await ports.queue.send({ ...step, step: 'finish-restore', v: 1, round: step.round + 1 }, backOffSeconds(step.round));
}

/** Compares a restored region with the living snapshot of its disk, byte by byte (by hashes of what both read). */
export async function compareRestored(
  { ports, container, job }: VerifyWork,
  address: JobAddress,
  plan: VerifyPlan,
  unit: Extract<VerifyUnit, { kind: 'drill' }>,
): Promise<Found[]> {
  const disk = plan.disks[unit.disk]!;
  const restore = await readJob(ports, { vault: address.vault, jobId: job.verify!.drill!.jobId });
  if (restore?.status !== 'InProgress' || restore.attempt === undefined || disk.drill === null) return [];
  const { targets } = await readPlan(container, restore.itemId, restore.attempt, restorePlan);
  const target = targets.find((each) => each.disk === disk.disk);
  if (target === undefined) return [];
  const window = regionRange(unit.region, target.sizeBytes, ports.settings.geometry);
  if (window.start === window.end) return [];
  let restored: Awaited<ReturnType<typeof targetHashes>>;
  try {
    restored = await targetHashes(ports.targets, target, window);
  } catch (error) {
    // The restore was cancelled meanwhile: that is told of as such.
    if (isBackupError(error, 'BlobNotFound')) return [];
    throw error;
  }
  const runs = await differences(ports.snapshots, disk.drill, window, restored);
  if (runs === undefined || runs.length === 0) return [];
  const point = plan.drilled!;
  const object = `${disk.drill.url}?snapshot=${disk.drill.id}`;
  const message = `restored from point ${point} the disk has other bytes than its snapshot ${disk.drill.id}`;
  const newest = disk.points.at(-1);
  return [
    { kind: 'drill', object, code: 'ViewDiffers', message, disk, region: unit.region, runs, points: [point], newest },
  ];
}

/** How a drill stands. `unstarted`: its restore has no row. `failed`: it ended without anything to compare. */
export type DrillState =
  | { readonly state: 'unstarted' | 'restoring' | 'restored' | 'ended' | 'none' }
  | { readonly state: 'failed'; readonly reason: string };

/** Looks at a drill's restore; a failure that is damage is a finding. */
export async function drillState(work: VerifyWork, vault: string, plan: VerifyPlan): Promise<DrillState> {
  const { ports, job } = work;
  const drill = job.verify?.drill;
  if (drill === undefined) return { state: 'none' };
  if (drill.refused !== undefined) return { state: 'failed', reason: drill.refused };
  const restoring = { vault, jobId: drill.jobId };
  let restore = await readJob(ports, restoring);
  // An end that was begun is ended, as the watch would.
  if (restore?.status === 'Ending' || restore?.status === 'Cancelling') {
    await endJob(ports, restoring, restore.outcome ?? 'Failed');
    restore = await readJob(ports, restoring);
  }
  // A start that met a merge has taken its row back, and died before it noted why: the watch has it started again.
  if (restore === undefined) return { state: 'unstarted' };
  if (!ENDED.has(restore.status))
    return { state: restore.restore?.restoredAt === undefined ? 'restoring' : 'restored' };
  if (restore.status === 'Completed') return { state: 'ended' };
  const [error] = restore.errors;
  const reason = error === undefined ? `the restore ended as ${restore.status}` : `${error.code}: ${error.message}`;
  const isDamage = error !== undefined && [...DAMAGE_CODES, 'RestoreVerificationFailed'].includes(error.code);
  if (isDamage) {
    const object = `restore of ${drill.point}`;
    const found: Found = {
      kind: 'drill',
      object,
      code: error.code,
      message: error.message,
      runs: [],
      points: [drill.point],
    };
    await recordFinding(ports, work.partition, { ...found, newest: plan.disks[0]?.points.at(-1) }, job.jobId);
  }
  return { state: 'failed', reason };
}
