import type { JobRow } from '../catalog/catalog.ts';
import { ERROR_TABLE, isBackupError } from '../domain/errors.ts';
import { type RestorePlan, restorePlan } from '../format/documents.ts';
import { readPlan } from './plans.ts';
import { forEachAtOnce } from './pipeline.ts';
import type { Ports } from './ports.ts';
import { openVault } from './vault-of.ts';

/**
 * Takes away what a failed restore has made, once its row says that it has failed: nothing is left that looks whole. The plan
 * stays: a paused handler may make a target again, and the sweep that deletes the plan looks once more.
 */
export async function discardRestore(ports: Ports, vault: string, job: JobRow): Promise<void> {
  if (job.attempt === undefined) return;
  const { container } = await openVault(ports, vault);
  let plan: RestorePlan;
  try {
    plan = await readPlan(container, job.itemId, job.attempt, restorePlan);
  } catch (error) {
    if (isBackupError(error, 'VaultObjectMissing')) return; // targets are made after the plan is stored
    throw error;
  }
  await discardTargets(ports, plan);
}

/**
 * Deletes the targets of a restore that are not complete, and the marks of its units. Completed disks stay, and so do those that
 * somebody else has taken a lease on or that Strata may not delete: they keep the mark that says that they are not complete.
 */
export async function discardTargets(ports: Ports, plan: RestorePlan): Promise<void> {
  for (const { url, leaseId } of plan.targets) {
    try {
      await ports.targets.discard({ url, leaseId }, plan.job);
    } catch (error) {
      // What trying again cannot mend, such as a right that Strata has not, must not keep the job from ending.
      const isPassing = !isBackupError(error) || ERROR_TABLE[error.code].retry;
      if (isPassing && !isBackupError(error, 'ResourceIsLeased')) throw error;
      ports.log(`restore target ${url} is not complete and stays: ${error.message}`);
    }
  }
  await forgetUnits(ports, plan);
}

/** Marks deleted at once: a large disk has tens of thousands. */
const DELETES_IN_FLIGHT = 16;

/** Deletes the marks of a restore's units: those of `known` where the caller has just listed them. */
export async function forgetUnits(ports: Ports, plan: RestorePlan, known?: readonly string[]): Promise<void> {
  const keys: string[] = [...(known ?? [])];
  if (known === undefined) for await (const { key } of ports.catalog.units.list(plan.attempt)) keys.push(key);
  await forEachAtOnce(keys, DELETES_IN_FLIGHT, (key) => ports.catalog.units.remove(plan.attempt, key));
}
