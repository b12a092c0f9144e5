import type { z } from 'zod';
import type { JobRow } from '../catalog/catalog.ts';
import { BackupError, isBackupError } from '../domain/errors.ts';
import type { AttemptId, ItemId } from '../domain/ids.ts';
import type { Layout } from '../domain/layout.ts';
import { decodeDocument, encodeDocument } from '../format/document.ts';
import { planName } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { deleteOrOwe } from './owed-delete.ts';
import type { Ports } from './ports.ts';

/** Documents of plans read lately, by container and name. They never change, and each unit asks for its own. */
const recent = new WeakMap<VaultContainer, Map<string, Promise<unknown>>>();
const MOST_RECENT = 8;

/** Reads the plan of `attempt`, or the first part of one that has several. @throws BackupError VaultObjectMissing, DocumentCorrupt */
export function readPlan<Plan>(
  container: VaultContainer,
  item: ItemId,
  attempt: AttemptId,
  schema: z.ZodType<Plan>,
): Promise<Plan> {
  return readDocument(container, planName(item, attempt), schema);
}

/** A plan whose units may be spread over several documents. */
export interface PartedPlan {
  readonly item: ItemId;
  readonly attempt: AttemptId;
  readonly parts?: readonly { readonly units: number; readonly bytes: number }[] | undefined;
  readonly units: readonly unknown[];
}

/** A part of a plan, and the number of its first unit. */
export interface PlanPart<Plan> {
  readonly part: Plan;
  readonly first: number;
}

/** How many units a plan has, in all its parts. */
export const unitCount = ({ parts, units }: PartedPlan): number =>
  parts === undefined ? units.length : parts.reduce((sum, part) => sum + part.units, 0);

/** The parts of a plan, one after another, from part `from` on. `plan` is what `readPlan` has answered. */
export async function* partsOf<Plan extends PartedPlan>(
  container: VaultContainer,
  plan: Plan,
  schema: z.ZodType<Plan>,
  from = 0,
): AsyncGenerator<PlanPart<Plan>> {
  let first = 0;
  for (const [number, { units }] of (plan.parts ?? [{ units: plan.units.length }]).entries()) {
    if (number >= from) yield { part: await readPart(container, plan, number, schema), first };
    first += units;
  }
}

/** The part that has unit `unit`, the unit, and the number of the part's first one; undefined when there is none of that number. */
export async function unitOf<Plan extends PartedPlan>(
  container: VaultContainer,
  plan: Plan,
  schema: z.ZodType<Plan>,
  unit: number,
): Promise<{ plan: Plan; unit: Plan['units'][number]; first: number } | undefined> {
  let first = 0;
  for (const [number, { units }] of (plan.parts ?? [{ units: plan.units.length }]).entries()) {
    if (unit < first + units) {
      const part = await readPart(container, plan, number, schema);
      return { plan: part, unit: part.units[unit - first], first };
    }
    first += units;
  }
  return undefined;
}

/** The layout by which a plan's commit writes manifests: spans are those of the plan, whatever they have become since, so that twins agree. */
export const layoutOf = (
  layout: Layout,
  { spanRegions = layout.spanRegions }: { spanRegions?: number | undefined },
): Layout => ({
  ...layout,
  spanRegions,
});

/** How many documents a plan has. */
export const partCount = ({ parts }: Pick<PartedPlan, 'parts'>): number => parts?.length ?? 1;

/** Part `part` of a plan, counted from 0; `plan` is what `readPlan` has answered. */
export function readPart<Plan extends PartedPlan>(
  container: VaultContainer,
  plan: Plan,
  part: number,
  schema: z.ZodType<Plan>,
): Promise<Plan> {
  return part === 0 ? Promise.resolve(plan) : readDocument(container, planName(plan.item, plan.attempt, part), schema);
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

async function readDocument<Plan>(container: VaultContainer, name: string, schema: z.ZodType<Plan>): Promise<Plan> {
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

async function load<Plan>(container: VaultContainer, name: string, schema: z.ZodType<Plan>): Promise<Plan> {
  try {
    return decodeDocument(name, await container.readWhole(name), schema);
  } catch (error) {
    if (!isBackupError(error, 'BlobNotFound')) throw error;
    throw new BackupError('VaultObjectMissing', `plan ${name} is gone`, { cause: error, target: name });
  }
}

/** Stores a plan. Only the run that noted the attempt on its job's row writes it, so where it exists it is that run's own. */
export async function storePlan(
  container: VaultContainer,
  plan: { item: ItemId; attempt: AttemptId },
  part = 0,
): Promise<void> {
  const name = planName(plan.item, plan.attempt, part);
  try {
    await container.put(name, encodeDocument(name, plan));
  } catch (error) {
    if (!isBackupError(error, 'BlobAlreadyExists')) throw error;
  }
}

/** Deletes a plan that has been carried out, its first part last: it names the others. */
export async function deletePlan(
  ports: Pick<Ports, 'log'>,
  container: VaultContainer,
  { item, attempt, parts = [] }: Pick<PartedPlan, 'item' | 'attempt' | 'parts'>,
): Promise<void> {
  for (const part of parts.keys()) if (part > 0) await deleteOrOwe(ports, container, planName(item, attempt, part));
  await deleteOrOwe(ports, container, planName(item, attempt));
}

/** The names of a plan's documents. */
export const namesOfPlan = ({
  item,
  attempt,
  parts = [{}],
}: {
  item: ItemId;
  attempt: AttemptId;
  parts?: readonly unknown[] | undefined;
}): string[] => parts.map((_, part) => planName(item, attempt, part));
