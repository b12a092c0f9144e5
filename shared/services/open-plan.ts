import type { z } from 'zod';
import type { Versioned } from '../catalog/catalog-table.ts';
import type { JobRow } from '../catalog/catalog.ts';
import { type JobId, attemptId } from '../domain/ids.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { type JobAddress, runningJobSeen } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { type PartedPlan, readPlan, unitOf } from './plans.ts';
import type { Ports } from './ports.ts';
import { findInVault } from './vault-of.ts';

/** What a step of a planned job works with. */
export interface OpenPlan<Plan> {
  readonly address: JobAddress;
  readonly job: JobRow;
  /** The job's row as it was read. */
  readonly seen: Versioned<JobRow>;
  readonly container: VaultContainer;
  readonly plan: Plan;
  /** Of the item's points and findings. */
  readonly partition: string;
}

/** Opens the plan that a message belongs to, of one in parts the first; undefined when its job has ended or has another plan: then there is nothing to do. */
export async function openPlan<Plan>(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string },
  schema: z.ZodType<Plan>,
): Promise<OpenPlan<Plan> | undefined> {
  const address = { vault: step.vault, jobId: step.jobId as JobId };
  const seen = await runningJobSeen(ports, address, step.attempt);
  if (seen === undefined) return undefined;
  const { row: job } = seen;
  const {
    container,
    row: vault,
    found: plan,
  } = await findInVault(ports, step.vault, (own) => readPlan(own, job.itemId, attemptId(step.attempt), schema));
  return { address, job, seen, container, plan, partition: pointsPartition(vault.containerName, job.itemId) };
}

/** Opens the part of the plan that has the message's unit; undefined also when the plan has no such unit. */
export async function openUnit<Plan extends PartedPlan>(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; unit: number },
  schema: z.ZodType<Plan>,
): Promise<(OpenPlan<Plan> & { unit: Plan['units'][number]; first: number }) | undefined> {
  const open = await openPlan(ports, step, schema);
  const found = open && (await unitOf(open.container, open.plan, schema, step.unit));
  return open && found && { ...open, ...found };
}
