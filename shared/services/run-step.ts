import { isBackupError, ERROR_TABLE } from '../domain/errors.ts';
import type { Step } from '../queue/steps.ts';
import { raise } from './alerts.ts';
import { cleanItem } from './clean-up.ts';
import { cleanVault } from './clean-up-run.ts';
import { commitTransfer } from './commit.ts';
import { compactUnit, planCompaction } from './compact.ts';
import { commitCompaction } from './compact-commit.ts';
import { finishRestore } from './finish-restore.ts';
import { type JobAddress, readJob } from './jobs.ts';
import { commitMerge } from './commit-merge.ts';
import { mergeUnit, planMerge } from './merge.ts';
import { planRestore } from './plan-restore.ts';
import { planTransfer } from './plan-transfer.ts';
import type { Ports } from './ports.ts';
import { rebuildVault } from './rebuild.ts';
import { rebuildItem } from './rebuild-item.ts';
import { reclaim } from './reclaim.ts';
import { restoreUnit } from './restore-unit.ts';
import { sweepItem } from './sweep.ts';
import { takeSnapshot } from './take-snapshot.ts';
import { transferUnit } from './transfer-unit.ts';
import { verifyItem } from './verify.ts';
import { finishVerify } from './verify-finish.ts';
import { planVerify } from './verify-plan.ts';
import { verifyUnit } from './verify-unit.ts';
import { failJob } from './watch.ts';

/**
 * Does one step. What trying again cannot mend ends the step's job with the reason; passing trouble is thrown, so that the
 * message comes again.
 */
export async function runStep(ports: Ports, step: Step): Promise<void> {
  try {
    await perform(ports, step);
  } catch (error) {
    if (!isBackupError(error) || ERROR_TABLE[error.code].retry || !isJobStep(step)) throw error;
    await failJob(ports, addressOf(step), error);
  }
}

/** How long a step waits for a service that does not answer, once the queue has given it up. */
const OUTAGE_SECONDS = 300;

/**
 * A step that has failed every time: its job ends with the reason. While storage or Compute do not answer it waits instead: an
 * outage of an hour must not cost a first backup that has run for days. What never comes back is ended by the watch.
 */
export async function giveUp(ports: Ports, step: Step): Promise<void> {
  ports.log(`step ${step.step} was given up: ${JSON.stringify(step)}`, 'error');
  if (!isJobStep(step)) return tellOfGivenUp(ports, step);
  try {
    // Once more, so that the job can say what went wrong rather than that something did.
    await perform(ports, step, true);
  } catch (error) {
    if (isBackupError(error, 'StorageUnavailable', 'ComputeUnavailable')) return ports.queue.send(step, OUTAGE_SECONDS);
    await failJob(ports, addressOf(step), error);
    await tellOfGivenUp(ports, step);
  }
}

async function tellOfGivenUp(ports: Ports, step: Step): Promise<void> {
  if (ports.alerts === undefined) return;
  const subject = 'jobId' in step ? step.jobId : 'itemId' in step ? step.itemId : step.step;
  const message = `step ${step.step} has failed every time and was given up: the log says why`;
  await raise(ports, { vault: step.vault, kind: 'stepGivenUp', subject, message });
}

/** Steps that work for a job that has not ended. The others are done again some other day. */
type JobStep = Exclude<Step, { step: 'clean-vault' | 'clean-item' | 'sweep-item' | 'verify-item' | 'reclaim' }>;

const isJobStep = (step: Step): step is JobStep =>
  !['clean-vault', 'clean-item', 'sweep-item', 'verify-item', 'reclaim'].includes(step.step);

const addressOf = (step: { vault: string; jobId: string }): JobAddress => ({
  vault: step.vault,
  jobId: step.jobId as JobAddress['jobId'],
});

/** `atLast`: the queue has given the step up, it gets one more try. */
async function perform(ports: Ports, step: Step, atLast = false): Promise<void> {
  switch (step.step) {
    case 'take-snapshot':
      return takeSnapshot(ports, step);
    case 'plan-transfer':
      return planTransfer(ports, step);
    case 'transfer-unit':
      return transferUnit(ports, step);
    case 'plan-merge':
      return planMerge(ports, step);
    case 'merge-unit':
      return mergeUnit(ports, step);
    case 'plan-compaction':
      return planCompaction(ports, step);
    case 'compact-unit':
      return compactUnit(ports, step);
    case 'commit': {
      const job = await readJob(ports, addressOf(step));
      if (job?.operation === 'Compact') return commitCompaction(ports, step);
      return job?.operation === 'Merge' ? commitMerge(ports, step) : commitTransfer(ports, step);
    }
    case 'reclaim':
      return reclaim(ports, step);
    case 'plan-restore':
      return planRestore(ports, step);
    case 'restore-unit':
      return restoreUnit(ports, step);
    case 'finish-restore':
      return finishRestore(ports, step);
    case 'plan-verify':
      return planVerify(ports, step);
    case 'verify-unit':
      return verifyUnit(ports, step);
    case 'finish-verify':
      return finishVerify(ports, step);
    case 'verify-item':
      return verifyItem(ports, step);
    case 'clean-vault':
      return cleanVault(ports, step);
    case 'clean-item':
      return cleanItem(ports, step);
    case 'rebuild-vault':
      return rebuildVault(ports, step);
    case 'rebuild-item':
      return rebuildItem(ports, step, atLast);
    case 'sweep-item':
      return sweepItem(ports, step);
  }
}
