import type { FindingRow } from '../catalog/finding-row.ts';
import type { JobError } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import type { DiskId } from '../domain/ids.ts';
import type { VerifyPlan } from '../format/verify-plan.ts';
import { adviceFor } from './advice.ts';
import { backOffSeconds } from './back-off.ts';
import { endJob } from './end-job.ts';
import { DAMAGE_CODES, checkKey, damageOf, forgetHealed, forgetPoints, healFinding, openFindings } from './findings.ts';
import { type JobAddress, changeJob, readJob } from './jobs.ts';
import { forEachAtOnce } from './pipeline.ts';
import type { Ports } from './ports.ts';
import { unitRowKey } from './restore-unit.ts';
import { changeDrill, drillState, startDrill } from './verify-drill.ts';
import { openVerify } from './verify-unit.ts';
import type { VerifyWork } from './verify-work.ts';

const SENDS_IN_FLIGHT = 8;

/**
 * Begins a planned verification, or takes it on: starts the drill, and sends what has not been done. Whoever coordinated it before stops:
 * else each time that the job is taken on another would look, and send, beside all those before.
 */
export async function beginVerify(work: VerifyWork, address: JobAddress, plan: VerifyPlan): Promise<void> {
  await startDrill(work, address);
  await sendUnits(work.ports, address, plan, work.job.verify?.drill?.sent === true);
  const coordinator = work.ports.ids.hex(8);
  await changeJob(work.ports, address, (row) => (row.status === 'InProgress' ? { ...row, coordinator } : undefined));
  const first = { step: 'finish-verify', v: 1, ...address, attempt: plan.attempt, round: 0, coordinator } as const;
  await work.ports.queue.send(first);
}

/** Units of a drill are only sent, and only waited for, once it has restored everything. */
async function sendUnits(ports: Ports, address: JobAddress, plan: VerifyPlan, isRestored: boolean): Promise<void> {
  const { missing } = await progress(ports, plan, isRestored);
  await forEachAtOnce(missing, SENDS_IN_FLIGHT, (unit) =>
    ports.queue.send({ step: 'verify-unit', v: 1, ...address, attempt: plan.attempt, unit }),
  );
}

async function progress(
  ports: Ports,
  plan: VerifyPlan,
  withDrill: boolean,
): Promise<{ missing: number[]; doneBytes: number; leftovers: number }> {
  const done = new Map<string, number>();
  let doneBytes = 0;
  for await (const { key, row } of ports.catalog.units.list(plan.attempt)) {
    done.set(key, row.leftovers ?? 0);
    doneBytes += row.bytes;
  }
  const missing = [...plan.units.entries()]
    .filter(([number, { kind }]) => (withDrill || kind !== 'drill') && !done.has(unitRowKey(number)))
    .map(([number]) => number);
  return { missing, doneBytes, leftovers: [...done.values()].reduce((sum, count) => sum + count, 0) };
}

/** The coordinator of a verification: reports progress, sees to the drill, and ends the job when all has been looked at. */
export async function finishVerify(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; round: number; coordinator?: string | undefined },
): Promise<void> {
  const open = await openVerify(ports, step);
  if (open === undefined || open.job.coordinator !== step.coordinator) return;
  const { address, plan, work, job } = open;
  const drill = await drillState(work, step.vault, plan);
  const isRestored = drill.state === 'restored';
  if (isRestored && job.verify?.drill?.sent !== true) {
    await sendUnits(ports, address, plan, true);
    await changeDrill(ports, address, (now) => ({ ...now, sent: true }));
  }
  const { missing, doneBytes, leftovers } = await progress(ports, plan, isRestored);
  if (isRestored && missing.length === 0) await changeDrill(ports, address, (now) => ({ ...now, compared: true }));
  if (missing.length > 0 || drill.state === 'unstarted' || drill.state === 'restoring' || isRestored) {
    // The watch sends units again that nobody works on, and starts a drill again that has not begun: only progress, and a drill that
    // goes on, are signs of life.
    if (doneBytes > job.doneBytes || drill.state === 'restoring' || (isRestored && missing.length === 0))
      await changeJob(ports, address, (row) => (row.status === 'InProgress' ? { ...row, doneBytes } : undefined));
    return ports.queue.send(
      { ...step, step: 'finish-verify', v: 1, round: step.round + 1 },
      backOffSeconds(step.round),
    );
  }
  await report(work, address, plan, leftovers);
  await endVerify(work, address, plan, drill.state === 'failed' ? drill.reason : undefined);
}

/** Ends the job with what is known to be wrong now: what this run looked at and did not find again has healed. */
export async function endVerify(
  work: VerifyWork,
  address: JobAddress,
  plan: VerifyPlan | undefined,
  drillFailure?: string,
): Promise<void> {
  const { ports, partition, job } = work;
  if (plan !== undefined) await healAll(work, plan);
  for (const { disk } of plan?.disks ?? []) await noteCovered(work, disk);
  await forgetHealed(ports, partition);
  const open = await openFindings(ports, partition);
  const errors: JobError[] = [];
  if (open.length > 0) {
    const points = new Set(open.flatMap(({ row }) => row.points));
    const message = `${open.length} findings touch ${points.size} recovery points; the first: ${open[0]!.row.message}`;
    errors.push({ code: 'VaultDamaged', message, recommendations: adviceFor('VaultDamaged') });
  }
  if (drillFailure !== undefined)
    errors.push({
      code: 'DrillFailed',
      message: `the restore drill failed: ${drillFailure}`,
      recommendations: adviceFor('DrillFailed'),
    });
  const drill = job.verify?.drill;
  const restore = drill && (await readJob(ports, { vault: address.vault, jobId: drill.jobId }));
  const restoredAt = restore?.restore?.restoredAt;
  await changeJob(ports, address, (row) =>
    row.status !== 'InProgress'
      ? undefined
      : {
          ...row,
          errors,
          bag: {
            ...row.bag,
            Findings: `${open.length}`,
            ...(restore === undefined || restoredAt === undefined
              ? {}
              : {
                  'Drill Recovery Point': restore.point ?? '',
                  'Drill Bytes': `${restore.totalBytes}`,
                  'Drill Seconds': `${Math.round((restoredAt - restore.startedAt) / 1000)}`,
                }),
          },
        },
  );
  await endJob(ports, address, errors.length > 0 ? 'CompletedWithWarnings' : 'Completed');
}

/** Notes which findings the newest point does not show any more; where documents are damaged nobody knows. */
async function noteCovered({ ports, partition }: VerifyWork, disk: DiskId): Promise<void> {
  try {
    await damageOf(ports, partition, disk);
  } catch (error) {
    if (!isBackupError(error, ...DAMAGE_CODES)) throw error;
  }
}

async function report({ ports }: VerifyWork, address: JobAddress, plan: VerifyPlan, leftovers: number): Promise<void> {
  const bytes = plan.regions.reduce((sum, region) => sum + region.bytes, 0);
  await changeJob(ports, address, (row) =>
    row.status !== 'InProgress'
      ? undefined
      : {
          ...row,
          bag: {
            ...row.bag,
            'Regions Checked': `${plan.regions.length}`,
            'Bytes Checked': `${bytes}`,
            'Unnamed Objects': `${leftovers}`,
            ...(plan.compared === null ? {} : { 'Compared Recovery Point': plan.compared }),
          },
        },
  );
}

async function healAll({ ports, chain, partition, job }: VerifyWork, plan: VerifyPlan): Promise<void> {
  const { points } = await chain.newest();
  const live = new Set(points.map(({ point }) => point));
  const checked = new Set(plan.regions.map(({ disk, region }) => checkKey(plan.disks[disk]!.disk, region)));
  const isLive = (row: FindingRow): boolean => row.points.some((point) => live.has(point));
  for (const { key, row } of await openFindings(ports, partition)) {
    if (row.kind === 'stale') await forgetPoints(ports, partition, key, live);
    const wasRead = row.disk !== undefined && row.region !== undefined && checked.has(checkKey(row.disk, row.region));
    if (wasLookedAt(row, plan, wasRead, isLive(row)))
      await healFinding(ports, partition, key, { since: job.startedAt, by: job.jobId });
  }
}

/** Whether this run would have found it again. */
function wasLookedAt(row: FindingRow, plan: VerifyPlan, wasRead: boolean, isLive: boolean): boolean {
  if (row.kind === 'document') return true;
  if (row.kind === 'stale') return !isLive; // nothing that could be found again
  if (row.kind === 'drill') return !isLive || (plan.drilled !== null && row.points.includes(plan.drilled));
  if (row.kind !== 'view') return wasRead;
  const compared = plan.disks.find(({ disk }) => disk === row.disk)?.compare;
  return !isLive || (wasRead && row.object === `${compared?.url}?snapshot=${compared?.id}`);
}
