import type { FindingRow } from '../catalog/finding-row.ts';
import type { JobError } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import type { DiskId, PointId } from '../domain/ids.ts';
import { regionsIn } from '../domain/units.ts';
import { type VerifyPlan, verifyPlan } from '../format/verify-plan.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { adviceFor } from './advice.ts';
import { backOffSeconds } from './back-off.ts';
import { endJob } from './end-job.ts';
import {
  DAMAGE_CODES,
  checkKey,
  damageOf,
  eachOpenFinding,
  forgetHealed,
  forgetPoints,
  healFinding,
} from './findings.ts';
import { type JobAddress, changeJob, readJob } from './jobs.ts';
import { forEachAtOnce } from './pipeline.ts';
import { partsOf, unitCount } from './plans.ts';
import type { Ports } from './ports.ts';
import { changeDrill, drillState, startDrill } from './verify-drill.ts';
import { openVerify } from './verify-unit.ts';
import type { VerifyWork } from './verify-work.ts';

const SENDS_IN_FLIGHT = 8;
/** Units whose numbers are held while they are sent. */
const SENDS_TOGETHER = 1024;

/**
 * Begins a planned verification, or takes it on: starts the drill, and sends what has not been done. Whoever coordinated it before stops:
 * else each time that the job is taken on another would look, and send, beside all those before.
 */
export async function beginVerify(work: VerifyWork, address: JobAddress, plan: VerifyPlan): Promise<void> {
  await startDrill(work, address);
  await sendUnits(work.ports, address, plan, work.job.verify?.drill?.sent === true);
  const coordinator = work.ports.ids.hex(8);
  const taken = await changeJob(work.ports, address, (row) =>
    row.status === 'InProgress' && row.attempt === plan.attempt ? { ...row, coordinator } : undefined,
  );
  if (taken === undefined) return; // it has ended, or has another plan, and with it another coordinator
  const first = { step: 'finish-verify', v: 1, ...address, attempt: plan.attempt, round: 0, coordinator } as const;
  await work.ports.queue.send(first);
}

/** Units of a drill, which are the plan's last, are only sent, and only waited for, once it has restored everything. */
function wantedUnits({ settings }: Ports, plan: VerifyPlan, isRestored: boolean): number {
  const drill = plan.disks.reduce((sum, own) => sum + regionsIn(own.drill?.sizeBytes ?? 0, settings.geometry), 0);
  return unitCount(plan) - (isRestored ? 0 : drill);
}

async function sendUnits(ports: Ports, address: JobAddress, plan: VerifyPlan, isRestored: boolean): Promise<void> {
  const send = (unit: number): Promise<void> =>
    ports.queue.send({ step: 'verify-unit', v: 1, ...address, attempt: plan.attempt, unit });
  let waiting: number[] = [];
  for await (const unit of missingUnits(ports, plan, isRestored)) {
    waiting.push(unit);
    if (waiting.length < SENDS_TOGETHER) continue;
    await forEachAtOnce(waiting, SENDS_IN_FLIGHT, send);
    waiting = [];
  }
  await forEachAtOnce(waiting, SENDS_IN_FLIGHT, send);
}

/** The numbers of the units without a mark, ascending, as the marks do. */
async function* missingUnits(ports: Ports, plan: VerifyPlan, isRestored: boolean): AsyncGenerator<number> {
  const wanted = wantedUnits(ports, plan, isRestored);
  let next = 0;
  for await (const { key } of ports.catalog.units.list(plan.attempt)) {
    for (const done = Math.min(Number(key), wanted); next < done; next++) yield next;
    next = Math.max(next, Number(key) + 1);
  }
  for (; next < wanted; next++) yield next;
}

async function progress(
  ports: Ports,
  plan: VerifyPlan,
  isRestored: boolean,
): Promise<{ missing: number; doneBytes: number; leftovers: number }> {
  const wanted = wantedUnits(ports, plan, isRestored);
  let missing = wanted;
  let doneBytes = 0;
  let leftovers = 0;
  for await (const { key, row } of ports.catalog.units.list(plan.attempt)) {
    if (Number(key) < wanted) missing--;
    doneBytes += row.bytes;
    leftovers += row.leftovers ?? 0;
  }
  return { missing, doneBytes, leftovers };
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
  if (isRestored && missing === 0) await changeDrill(ports, address, (now) => ({ ...now, compared: true }));
  if (missing > 0 || drill.state === 'unstarted' || drill.state === 'restoring' || isRestored) {
    // The watch sends units again that nobody works on, and starts a drill again that has not begun: only progress, and a drill that
    // goes on, are signs of life.
    if (doneBytes > job.doneBytes || drill.state === 'restoring' || (isRestored && missing === 0))
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
  const errors: JobError[] = [];
  let findings = 0;
  let first = '';
  const points = new Set<PointId>();
  for await (const { row } of eachOpenFinding(ports, partition)) {
    if (findings++ === 0) first = row.message;
    for (const point of row.points) points.add(point);
  }
  if (findings > 0) {
    const message = `${findings} findings touch ${points.size} recovery points; the first: ${first}`;
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
            Findings: `${findings}`,
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

async function report(
  { ports, container }: VerifyWork,
  address: JobAddress,
  plan: VerifyPlan,
  leftovers: number,
): Promise<void> {
  let regions = 0;
  let bytes = 0;
  for await (const { part } of partsOf(container, plan, verifyPlan)) {
    regions += part.regions.length;
    for (const own of part.regions) bytes += own.bytes;
  }
  await changeJob(ports, address, (row) =>
    row.status !== 'InProgress'
      ? undefined
      : {
          ...row,
          bag: {
            ...row.bag,
            'Regions Checked': `${regions}`,
            'Bytes Checked': `${bytes}`,
            'Unnamed Objects': `${leftovers}`,
            ...(plan.compared === null ? {} : { 'Compared Recovery Point': plan.compared }),
          },
        },
  );
}

async function healAll({ ports, container, chain, partition, job }: VerifyWork, plan: VerifyPlan): Promise<void> {
  const { points } = await chain.newest();
  const live = new Set(points.map(({ point }) => point));
  const checked = await checkedOf(ports, container, partition, plan);
  const isLive = (row: FindingRow): boolean => row.points.some((point) => live.has(point));
  for await (const { key, row } of eachOpenFinding(ports, partition)) {
    if (row.kind === 'stale') await forgetPoints(ports, partition, key, live);
    const wasRead = row.disk !== undefined && row.region !== undefined && checked.has(checkKey(row.disk, row.region));
    if (wasLookedAt(row, plan, wasRead, isLive(row)))
      await healFinding(ports, partition, key, { since: job.startedAt, by: job.jobId });
  }
}

/** The regions with findings that this run has read, as their checks are called. */
async function checkedOf(
  ports: Ports,
  container: VaultContainer,
  partition: string,
  plan: VerifyPlan,
): Promise<Set<string>> {
  const found = new Set<string>();
  for await (const { row } of eachOpenFinding(ports, partition))
    if (row.disk !== undefined && row.region !== undefined) found.add(checkKey(row.disk, row.region));
  const checked = new Set<string>();
  if (found.size === 0) return checked;
  for await (const { part } of partsOf(container, plan, verifyPlan)) {
    for (const { disk, region } of part.regions) {
      const key = checkKey(plan.disks[disk]!.disk, region);
      if (found.has(key)) checked.add(key);
    }
  }
  return checked;
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
