import { verifyPlan, type VerifyPlan, type VerifyUnit } from '../format/verify-plan.ts';
import { Chain } from './chain.ts';
import { type Found, checkKey, recordFinding } from './findings.ts';
import { backOffSeconds, waitedSeconds } from './back-off.ts';
import { type JobAddress, isRunning, runningJob } from './jobs.ts';
import { type OpenPlan, openPlan } from './open-plan.ts';
import { unitOf } from './plans.ts';
import type { Ports } from './ports.ts';
import { unitRowKey } from './restore-unit.ts';
import { compareRestored } from './verify-drill.ts';
import { takeInventory } from './verify-inventory.ts';
import { checkRegion } from './verify-region.ts';
import type { VerifyWork } from './verify-work.ts';

/** What the steps of a planned verification work with. */
export async function openVerify(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string },
): Promise<(OpenPlan<VerifyPlan> & { work: VerifyWork }) | undefined> {
  const open = await openPlan(ports, step, verifyPlan);
  if (open === undefined) return undefined;
  const { container, job, partition } = open;
  const chain = new Chain(container, job.itemId);
  return { ...open, work: { ports, container, chain, item: job.itemId, partition, job } };
}

/**
 * One unit of a verification: it looks, records what it found, and leaves a mark. Looking twice finds the same. When all units of a
 * region have their marks, the region counts as checked.
 */
export async function verifyUnit(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; unit: number; waits?: number | undefined },
): Promise<void> {
  const open = await openVerify(ports, step);
  const found = open && (await unitOf(open.container, open.plan, verifyPlan, step.unit));
  const key = unitRowKey(step.unit);
  // A run that came after the job's end may have died before it took its mark away.
  if (open === undefined) return ports.catalog.units.remove(step.attempt, key);
  if (found === undefined) return;
  const { work, address } = open;
  const { plan, unit, first } = found; // of a plan in parts, the unit's
  const waits = step.waits ?? 0;
  if (waitedSeconds(waits, waits) < MOST_WAIT_SECONDS && (await makesWay(work, step.vault)))
    return ports.queue.send({ ...step, step: 'verify-unit', v: 1, waits: waits + 1 }, backOffSeconds(waits));
  const note = async (at: number): Promise<void> => noteChecked(work, plan, at, step.unit - first, first);
  if ((await ports.catalog.units.get(plan.attempt, key)) === undefined) {
    const { found: wrong, leftovers } = await look(work, address, plan, unit);
    for (const each of wrong) await recordFinding(ports, work.partition, each, work.job.jobId);
    // Once before the mark, after which the job may end, and once after it, as two units may be the last at once.
    if (unit.kind === 'region') await note(unit.at);
    await ports.catalog.units.upsert(plan.attempt, key, { bytes: unit.bytes, leftovers });
  }
  if (unit.kind === 'region') await note(unit.at);
  // The job's end takes the marks away: one that came later than that goes too.
  if ((await runningJob(ports, address, step.attempt)) === undefined)
    await ports.catalog.units.remove(plan.attempt, key);
}

/** For so long in all a unit makes way: a first backup may take days, and damage is to be found before. */
const MOST_WAIT_SECONDS = 3_600;

/**
 * Whether the item is being backed up, and nobody waits for this verification: both would read from the same disks, which give no more
 * for it, and share the workers.
 */
async function makesWay({ ports, job }: VerifyWork, vault: string): Promise<boolean> {
  if (job.userTriggered) return false;
  return isRunning(ports, vault, (await ports.catalog.items.get(vault, job.itemKey))?.row.activeJob);
}

async function look(
  work: VerifyWork,
  address: JobAddress,
  plan: VerifyPlan,
  unit: VerifyUnit,
): Promise<{ found: Found[]; leftovers?: number }> {
  if (unit.kind === 'inventory') return takeInventory(work, plan.disks[unit.disk]!, unit.regions);
  if (unit.kind === 'drill') return { found: await compareRestored(work, address, plan, unit) };
  const planned = plan.regions[unit.at]!;
  const mine = planned.layers.slice(unit.from, unit.from + unit.layers);
  const at = { ...work, disk: plan.disks[planned.disk]!, region: planned.region };
  return { found: await checkRegion(at, plan, planned, mine, unit.from === 0) };
}

/**
 * Notes that a region has been read when all of its units besides `own`, which has been done, have their marks. They are all in this part of
 * the plan, whose first unit has the number `first` in the whole.
 */
async function noteChecked(
  { ports, partition }: VerifyWork,
  plan: VerifyPlan,
  at: number,
  own: number,
  first: number,
): Promise<void> {
  for (const [number, unit] of plan.units.entries()) {
    if (unit.kind !== 'region' || unit.at !== at || number === own) continue;
    if ((await ports.catalog.units.get(plan.attempt, unitRowKey(first + number))) === undefined) return;
  }
  const { disk, region } = plan.regions[at]!;
  await ports.catalog.checks.upsert(partition, checkKey(plan.disks[disk]!.disk, region), {
    checkedAt: ports.clock.now(),
  });
}
