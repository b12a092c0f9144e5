import type { JobRow } from '../catalog/catalog.ts';
import { ERROR_TABLE, isBackupError } from '../domain/errors.ts';
import { FOOTER_BYTES } from '../domain/vhd-footer.ts';
import { type RestorePlan, restorePlan } from '../format/documents.ts';
import { backOffSeconds } from './back-off.ts';
import { finishJob } from './end-job.ts';
import { type JobAddress, changeJob, changeJobSeen, describeError } from './jobs.ts';
import { openPlan } from './open-plan.ts';
import { deletePlan, unitCount } from './plans.ts';
import type { Ports } from './ports.ts';
import { forEachAtOnce } from './pipeline.ts';
import { TARGETS_AT_ONCE } from './restored-form.ts';
import { forgetUnits } from './restore-leftovers.ts';
import { holdForDrill } from './verify-drill.ts';

/**
 * The coordinator of a restore: reports progress, and hands the disks over when every unit has left its mark. The outcome is set
 * on the job's row first, so that a failing twin can no longer delete what is being completed.
 */
export async function finishRestore(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; round: number },
): Promise<void> {
  const open = await openPlan(ports, step, restorePlan);
  if (open === undefined) return;
  const { address, container, plan } = open;
  const units = unitCount(plan);
  let done = 0;
  let doneBytes = 0;
  const marks: string[] = [];
  for await (const { key, row } of ports.catalog.units.list(plan.attempt)) {
    marks.push(key);
    if (Number(key) >= units) continue;
    done++;
    doneBytes += row.bytes;
  }
  // Once it was decided that all is there the marks are needed no more, and their table may be lost.
  if (done < units && open.job.outcome !== 'Completed') {
    // The watch sends units again that nobody works on: only progress is a sign of life.
    await changeJob(ports, address, (row) =>
      row.status === 'InProgress' && doneBytes > row.doneBytes ? { ...row, doneBytes } : undefined,
    );
    return ports.queue.send(
      { ...step, step: 'finish-restore', v: 1, round: step.round + 1 },
      backOffSeconds(step.round),
    );
  }
  if (open.job.restore?.verifyJob !== undefined) return holdForDrill(ports, step, open.job);
  const decided = await changeJobSeen(
    ports,
    address,
    (row) =>
      row.status === 'InProgress' && (row.outcome === undefined || row.outcome === 'Completed')
        ? { ...row, doneBytes, outcome: 'Completed' }
        : undefined,
    open.seen,
  );
  if (decided === undefined) return;
  await forEachAtOnce(plan.targets, TARGETS_AT_ONCE, (target) => ports.targets.complete(target));
  const isRecorded = await record(ports, address, decided.row, plan);
  // What the record could not say stands on the row, which is another by now.
  const seen = isRecorded ? { job: decided } : {};
  await finishJob(ports, address, isRecorded ? 'Completed' : 'CompletedWithWarnings', seen);
  await Promise.all([forgetUnits(ports, plan, done < units ? undefined : marks), deletePlan(ports, container, plan)]);
}

/**
 * Writes down what has been made; false where trying again cannot mend that it could not be written, which the job says. The disks
 * have been handed over by then.
 */
async function record(ports: Ports, address: JobAddress, { bag }: JobRow, plan: RestorePlan): Promise<boolean> {
  try {
    await ports.targets.putText(bag['Config Blob Uri']!, describe(plan, bag));
    return true;
  } catch (error) {
    if (!isBackupError(error) || ERROR_TABLE[error.code].retry) throw error;
    const reason = describeError(error, ports);
    await changeJob(ports, address, (row) =>
      row.status !== 'InProgress' || row.errors.some(({ code }) => code === reason.code)
        ? undefined
        : { ...row, errors: [...row.errors, reason] },
    );
    return false;
  }
}

/** What a person or a script needs to make a VM of the restored disks. */
export function describe(plan: RestorePlan, bag: Readonly<Record<string, string>>): string {
  return JSON.stringify(
    {
      recoveryPoint: plan.point,
      recoveryPointTime: bag['Recovery point time '],
      disks: plan.targets.map(({ lun, name, url, sizeBytes, footer, managed, tier }) => ({
        role: lun === -1 ? 'os' : 'data',
        ...(lun === -1 ? {} : { lun }),
        name,
        ...(managed === undefined ? { vhdUri: url } : { managedDiskId: url }),
        sizeBytes: sizeBytes + (footer === true ? FOOTER_BYTES : 0),
        restoredFrom: tier,
      })),
    },
    undefined,
    2,
  );
}
