import type { JobRow } from '../catalog/catalog.ts';
import { type AttemptId, type JobId, type PointId } from '../domain/ids.ts';
import { inTurns } from '../domain/turns.ts';
import type { ChainRecord, TransferPlan } from '../format/documents.ts';
import { transferPlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { finishJob } from './end-job.ts';
import { changeJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { isSmall, transferOnTheSpot } from './on-the-spot.ts';
import { ahead, forEachAtOnce } from './pipeline.ts';
import { notedPlan, partsOf, storePlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { changePoint } from './projection.ts';
import { rememberedListings } from './remembered-listings.ts';
import { type Noted, makeTransferPlan } from './transfer-plan.ts';
import { openVault } from './vault-of.ts';
import { takeTurn } from './wait-turn.ts';

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
  const vaultSoon = ahead(openVault(ports, step.vault));
  const seen = await ports.catalog.jobs.get(address.vault, address.jobId);
  const job = seen?.row;
  if (job?.status !== 'InProgress' || job.set === undefined || job.point === undefined) return;
  if (!(await takeTurn(ports, address, job))) return;
  const { container, row: vault } = await vaultSoon;
  if (job.attempt !== undefined && job.attempt !== step.instead) {
    if (step.instead !== undefined) return; // another has planned again already, and sends its own messages
    return sendUnits(ports, container, step, await notedPlan(container, job, transferPlan), job.attempt);
  }
  const chain = new Chain(container, job.itemId);
  const partition = pointsPartition(vault.containerName, job.itemId);
  const planning = { container, chain, partition, job, set: job.set, point: job.point };
  const noted: Noted = { attempt: job.attempt, job: seen };
  const remembering = { ...ports, snapshots: rememberedListings(ports.snapshots) };
  const made = await chain.onNewest(async (record) => {
    // The plan that is to be replaced may have been committed by now, by a handler that was past its checks.
    if (job.attempt !== undefined && (await chain.committed(job.attempts, job.planSeq ?? 0, record)) !== undefined)
      return sendCommit(ports, step, job.attempt);
    if (isOvertaken(record, planning.point)) return overtake(ports, step.vault, partition, job, record);
    const plan = await makeTransferPlan(
      remembering,
      address,
      { ...planning, record },
      noted,
      (own) => !isSmall(ports, own),
    );
    return plan && { plan, record };
  });
  if (made === undefined) return;
  const { plan, record } = made;
  if (isSmall(ports, plan) && noted.job !== undefined) {
    const spot = { address, job: noted.job, container, chain, partition, record, plan };
    if (await transferOnTheSpot(remembering, spot)) return;
    await storePlan(container, plan);
  }
  await sendUnits(ports, container, step, plan, plan.attempt);
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
