import type { Versioned } from '../catalog/catalog-table.ts';
import type { JobRow } from '../catalog/catalog.ts';
import { type JobId, attemptId } from '../domain/ids.ts';
import { type ChainRecord, type TransferPlan, transferPlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { backOffSeconds, waitedSeconds } from './back-off.ts';
import { Chain } from './chain.ts';
import { churnRows } from './churn-report.ts';
import { type JobAddress, changeJobSeen, runningJobSeen } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { ahead } from './pipeline.ts';
import { planTransfer } from './plan-transfer.ts';
import { layoutOf, notedPlan, partsOf } from './plans.ts';
import type { Ports } from './ports.ts';
import { settleTransfer } from './settle-transfer.ts';
import { type UnitResult, finishedUnits, manifestHead, writeManifest } from './transfer-manifest.ts';
import { transferObject } from './transfer-unit.ts';
import { objectName } from './unit-objects.ts';
import { openVault } from './vault-of.ts';

/** After so long without one more layer units get their messages again. */
const STALLED_SECONDS = 600;
const MOST_RESENT = 64;

/**
 * The coordinator of a transfer: compares the plan's units with the layers that are there, reports progress on the job, and
 * commits when all are. What is in the container is the truth; there are no counters. Safe to run beside itself.
 *
 * Before a commit it reads the newest record, then that its job still runs, then that all objects exist; only then does it
 * create the next record. The plan's base must still be the last point, and every disk's base still be live; a merge in between
 * is no harm, since it leaves the view at the base as it was.
 */
export async function commitTransfer(
  ports: Ports,
  step: {
    vault: string;
    jobId: string;
    attempt: string;
    round: number;
    done?: number | undefined;
    stalled?: number | undefined;
    part?: number | undefined;
  },
): Promise<void> {
  const address = { vault: step.vault, jobId: step.jobId as JobId };
  const vaultSoon = ahead(openVault(ports, step.vault));
  for (;;) {
    const seen = await runningJobSeen(ports, address, step.attempt);
    const job = seen?.row;
    if (job?.set === undefined) return;
    const { container, row: vault } = await vaultSoon;
    const chain = new Chain(container, job.itemId);
    const partition = pointsPartition(vault.containerName, job.itemId);
    const settling = { address, job, container, partition, chain, attempt: attemptId(step.attempt) };
    const newest = await chain.newest();
    if (await chain.committed(job.attempts, job.planSeq ?? 0, newest)) return settleTransfer(ports, settling, newest);

    const plan = await notedPlan(container, job, transferPlan);
    if (plan === undefined || !standsOn(plan, newest)) return planTransfer(ports, { ...step, instead: step.attempt });
    const running = await runningJobSeen(ports, address, step.attempt);
    if (running === undefined) return;
    const { missing, done, doneBytes, part, results } = await progress(container, plan, step.part ?? 0);
    if (missing.length > 0) {
      await report(ports, address, plan, { doneBytes }, running);
      let stalled = done === step.done ? (step.stalled ?? 0) + 1 : 0;
      if (waitedSeconds(step.round, stalled) >= STALLED_SECONDS) {
        await resend(ports, step, missing);
        stalled = 0;
      }
      const next = { ...step, step: 'commit', v: 1, round: step.round + 1, done, stalled, part } as const;
      return ports.queue.send(next, backOffSeconds(step.round));
    }
    const { set } = job;
    let reported: ReturnType<typeof report> | undefined;
    const found = await writeManifest(
      container,
      chain,
      plan,
      layoutOf(ports.settings.layout, plan),
      async (own) => results ?? finishedUnits(container, own),
      (churn) => {
        reported = ahead(report(ports, address, plan, { churn: churnRows(ports, plan, churn) }, running));
        return manifestHead(plan, job, set, churn);
      },
    );
    if (found === undefined) {
      // What was there has gone: its unit is waited for again.
      return ports.queue.send(
        { ...step, step: 'commit', v: 1, round: step.round + 1, part: 0 },
        backOffSeconds(step.round),
      );
    }
    const { entry, empty, written } = found;
    const told = await reported;
    const { won, record } = await chain.append(newest, {
      kind: 'backup',
      attempt: plan.attempt,
      job: plan.job,
      writtenAt: new Date(ports.clock.now()).toISOString(),
      points: [...newest.points, entry],
    });
    if (won) {
      await settleTransfer(ports, { ...settling, seen: told, plan, empty, written }, record);
      return;
    }
  }
}

interface Progress {
  /** Numbers of units that have written nothing yet; not more than MOST_RESENT of them. */
  readonly missing: readonly number[];
  readonly done: number;
  readonly doneBytes: number;
  /** The first part that is not done: those before it need not be looked at again until the end. */
  readonly part: number;
  /** What the units of a plan that has no parts have come to. */
  readonly results: ReadonlyMap<string, UnitResult> | undefined;
}

/** Compares a plan with what is there, from part `from` on. */
async function progress(container: VaultContainer, plan: TransferPlan, from: number): Promise<Progress> {
  const before = (plan.parts ?? []).slice(0, from);
  const missing: number[] = [];
  let done = before.reduce((sum, { units }) => sum + units, 0);
  let doneBytes = before.reduce((sum, { bytes }) => sum + bytes, 0);
  let firstOpen: number | undefined;
  let number = from;
  let results: ReadonlyMap<string, UnitResult> | undefined;
  for await (const { part, first } of partsOf(container, plan, transferPlan, from)) {
    const finished = await finishedUnits(container, part);
    if (plan.parts === undefined) results = finished;
    for (const [i, unit] of part.units.entries()) {
      if (finished.has(objectName(transferObject(part, unit)))) {
        done++;
        doneBytes += unit.regions.reduce((sum, { bytes }) => sum + bytes, 0);
      } else {
        firstOpen ??= number;
        if (missing.length < MOST_RESENT) missing.push(first + i);
      }
    }
    number++;
  }
  return { missing, done, doneBytes, part: firstOpen ?? 0, results };
}

/** A unit whose message was lost would be waited for in vain: some of those that are missing get another. */
async function resend(
  ports: Ports,
  { vault, jobId, attempt }: { vault: string; jobId: string; attempt: string },
  missing: readonly number[],
): Promise<void> {
  for (const unit of missing) await ports.queue.send({ step: 'transfer-unit', v: 1, vault, jobId, attempt, unit });
}

/** Whether the plan can still be committed on `record`. */
function standsOn(plan: TransferPlan, record: ChainRecord): boolean {
  const live = new Set(record.points.map(({ point }) => point));
  const last = record.points.at(-1)?.point ?? null;
  return last === plan.base && plan.disks.every(({ base }) => base === null || live.has(base));
}

function report(
  ports: Ports,
  address: JobAddress,
  { attempt }: TransferPlan,
  told: Partial<Pick<JobRow, 'doneBytes' | 'churn'>>,
  seen: Versioned<JobRow>,
): Promise<Versioned<JobRow> | undefined> {
  return changeJobSeen(
    ports,
    address,
    (row) => (row.attempt === attempt && row.status === 'InProgress' ? { ...row, ...told } : undefined),
    seen,
  );
}
