import type { z } from 'zod';
import type { JobRow } from '../catalog/catalog.ts';
import { BackupError, isBackupError } from '../domain/errors.ts';
import type { AttemptId, ItemId } from '../domain/ids.ts';
import { decodeDocument, encodeDocument } from '../format/document.ts';
import { planName } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';

/** Plans read lately, by container and name. A plan never changes, and each of its units asks for it. */
const recent = new WeakMap<VaultContainer, Map<string, Promise<unknown>>>();
const MOST_RECENT = 8;

/** Reads the plan of `attempt`. @throws BackupError VaultObjectMissing, DocumentCorrupt */
export async function readPlan<Plan>(
  container: VaultContainer,
  item: ItemId,
  attempt: AttemptId,
  schema: z.ZodType<Plan>,
): Promise<Plan> {
  const name = planName(item, attempt);
  const plans = recent.get(container) ?? new Map<string, Promise<unknown>>();
  recent.set(container, plans);
  let plan = plans.get(name) as Promise<Plan> | undefined;
  if (plan === undefined) {
    plan = load(container, name, schema);
    plan.catch(() => plans.delete(name));
    plans.set(name, plan);
    for (const oldest of plans.keys()) if (plans.size > MOST_RECENT) plans.delete(oldest);
  }
  return plan;
}

/**
 * The plan that is noted on a job. Undefined when there is none, or when the run that noted it died before it was stored: nothing of it
 * has been begun then, and another takes its place.
 */
export async function notedPlan<Plan>(
  container: VaultContainer,
  { itemId, attempt }: Pick<JobRow, 'itemId' | 'attempt'>,
  schema: z.ZodType<Plan>,
): Promise<Plan | undefined> {
  if (attempt === undefined) return undefined;
  try {
    return await readPlan(container, itemId, attempt, schema);
  } catch (error) {
    if (isBackupError(error, 'VaultObjectMissing')) return undefined;
    throw error;
  }
}

async function load<Plan>(container: VaultContainer, name: string, schema: z.ZodType<Plan>): Promise<Plan> {
  try {
    return decodeDocument(name, await container.readWhole(name), schema);
  } catch (error) {
    if (!isBackupError(error, 'BlobNotFound')) throw error;
    throw new BackupError('VaultObjectMissing', `plan ${name} is gone`, { cause: error, target: name });
  }
}

/** Stores a plan. Only the run that noted the attempt on its job's row writes it, so where it exists it is that run's own. */
export async function storePlan(container: VaultContainer, plan: { item: ItemId; attempt: AttemptId }): Promise<void> {
  const name = planName(plan.item, plan.attempt);
  try {
    await container.put(name, encodeDocument(name, plan));
  } catch (error) {
    if (!isBackupError(error, 'BlobAlreadyExists')) throw error;
  }
}
