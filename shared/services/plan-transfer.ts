import type { JobRow } from '../catalog/catalog.ts';
import { type AttemptId, type JobId, type PointId } from '../domain/ids.ts';
import { inTurns } from '../domain/turns.ts';
import { BLOCK_BYTES } from '../domain/units.ts';
import type { ChainRecord, TransferPlan } from '../format/documents.ts';
import { transferPlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { finishJob } from './end-job.ts';
import { changeJob, readJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { forEachAtOnce } from './pipeline.ts';
import { notedPlan, partsOf } from './plans.ts';
import type { Ports } from './ports.ts';
import { changePoint } from './projection.ts';
import { bytesOf, makeTransferPlan } from './transfer-plan.ts';
import { transferUnit } from './transfer-unit.ts';
import { openVault } from './vault-of.ts';
import { takeTurn } from './wait-turn.ts';

/** Plans of more units than this are never done by the handler that makes them. */
const MOST_ON_THE_SPOT = 16;
const UNITS_ON_THE_SPOT = 4;
/** Messages sent at once. */
const SENDS_IN_FLIGHT = 8;

/**
 * Plans the transfer of a job's point on the newest record, notes the plan on the job, and sends a message for each unit and one for
 * the coordinator. Run again it sends what the noted plan still needs; `instead` names the plan that a coordinator found stale.
 */
export async function planTransfer(
  ports: Ports,
  step: { vault: string; jobId: string; instead?: string | undefined },
): Promise<void> {
  const address = { vault: step.vault, jobId: step.jobId as JobId };
  const job = await readJob(ports, address);
  if (job?.status !== 'InProgress' || job.set === undefined || job.point === undefined) return;
  if (!(await takeTurn(ports, address, job))) return;
  const { container, row: vault } = await openVault(ports, step.vault);
  if (job.attempt !== undefined && job.attempt !== step.instead) {
    if (step.instead !== undefined) return; // another has planned again already, and sends its own messages
    return sendUnits(ports, container, step, await notedPlan(container, job, transferPlan), job.attempt);
  }
  const chain = new Chain(container, job.itemId);
  const partition = pointsPartition(vault.containerName, job.itemId);
  const planning = { container, chain, partition, job, set: job.set, point: job.point };
  const noted = { attempt: job.attempt };
  const plan = await chain.onNewest(async (record) => {
    // The plan that is to be replaced may have been committed by now, by a handler that was past its checks.
    if (job.attempt !== undefined && (await chain.committed(job.attempts, job.planSeq ?? 0, record)) !== undefined)
      return sendCommit(ports, step, job.attempt);
    if (isOvertaken(record, planning.point)) return overtake(ports, step.vault, partition, job, record);
    return makeTransferPlan(ports, address, { ...planning, record }, noted);
  });
  if (plan === undefined) return;
  if (isSmall(plan, ports.settings.onTheSpotBytes)) {
    const units = plan.units.keys();
    await forEachAtOnce(units, UNITS_ON_THE_SPOT, (unit) =>
      transferUnit(ports, { vault: step.vault, jobId: step.jobId, attempt: plan.attempt, unit }),
    );
    await sendCommit(ports, step, plan.attempt);
  } else await sendUnits(ports, container, step, plan, plan.attempt);
}

/** Whether the plan is done faster than its messages travel: a night in which little has changed. */
function isSmall(plan: TransferPlan, mostBytes: number): boolean {
  if (mostBytes === 0 || plan.parts !== undefined || plan.units.length > MOST_ON_THE_SPOT) return false;
  const audited = plan.units
    .flatMap(({ regions }) => regions)
    .reduce((sum, { audit }) => sum + (audit?.blocks ?? 0), 0);
  return bytesOf(plan) + audited * BLOCK_BYTES <= mostBytes;
}

/** Without a plan, which was noted but after a crash not stored, nothing has been begun: the coordinator finds it missing and plans again. */
async function sendUnits(
  ports: Ports,
  container: VaultContainer,
  { vault, jobId }: { vault: string; jobId: string },
  plan: TransferPlan | undefined,
  attempt: AttemptId,
): Promise<void> {
  if (plan !== undefined)
    for await (const { part, first } of partsOf(container, plan, transferPlan))
      await forEachAtOnce(inTurns(part.units), SENDS_IN_FLIGHT, (unit) =>
        ports.queue.send({ step: 'transfer-unit', v: 1, vault, jobId, attempt, unit: first + unit }),
      );
  await sendCommit(ports, { vault, jobId }, attempt);
}

async function sendCommit(
  ports: Ports,
  { vault, jobId }: { vault: string; jobId: string },
  attempt: string,
): Promise<undefined> {
  await ports.queue.send({ step: 'commit', v: 1, vault, jobId, attempt, round: 0 });
}

/** Transfers of an item commit in snapshot order: a point behind a later one can never enter the vault. */
export function isOvertaken(record: ChainRecord, point: PointId): boolean {
  const last = record.points.at(-1)?.point;
  return last !== undefined && last > point;
}

async function overtake(
  ports: Ports,
  vault: string,
  partition: string,
  job: JobRow,
  record: ChainRecord,
): Promise<undefined> {
  const note = `recovery point ${record.points.at(-1)!.point} entered the vault first; this one stays in the snapshot tier and ends with its snapshots`;
  await changePoint(ports, partition, job.point!, (row) => ({ ...row, note }));
  await changeJob(ports, { vault, jobId: job.jobId }, (row) =>
    row.status !== 'InProgress' || row.errors.some(({ code }) => code === 'RecoveryPointOvertaken')
      ? undefined
      : { ...row, errors: [...row.errors, { code: 'RecoveryPointOvertaken', message: note, recommendations: [] }] },
  );
  await finishJob(ports, { vault, jobId: job.jobId }, 'CompletedWithWarnings');
}
