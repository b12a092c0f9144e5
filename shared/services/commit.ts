import type { JobRow, SetDisk, SnapshotSet } from '../catalog/catalog.ts';
import { type Churn, addChurn, noChurn } from '../domain/churn.ts';
import { type JobId, attemptId } from '../domain/ids.ts';
import type { Layout } from '../domain/layout.ts';
import {
  type ChainRecord,
  type ManifestRegion,
  type RecordPoint,
  type TransferPlan,
  transferPlan,
} from '../format/documents.ts';
import { checkpointName } from '../format/names.ts';
import type { BlobInfo, VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { backOffSeconds, waitedSeconds } from './back-off.ts';
import { churnOf, churnRows, trustOf } from './churn-report.ts';
import { finishJob } from './end-job.ts';
import { changeJob, runningJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { changeItem } from './items.ts';
import { deleteOrOwe } from './owed-delete.ts';
import { inOrder } from './pipeline.ts';
import { planTransfer } from './plan-transfer.ts';
import { type ManifestHead, ManifestWriter } from './manifest-writer.ts';
import { deletePlan, layoutOf, notedPlan, partsOf } from './plans.ts';
import type { Ports } from './ports.ts';
import { project } from './projection.ts';
import { transferObject } from './transfer-unit.ts';
import { type UnitObject, finishedObjects, layersIn, objectName } from './unit-objects.ts';
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
  const { container, row: vault } = await openVault(ports, step.vault);
  for (;;) {
    const job = await runningJob(ports, address, step.attempt);
    if (job?.set === undefined) return;
    const chain = new Chain(container, job.itemId);
    const newest = await chain.newest();
    const settle = async (record: ChainRecord): Promise<void> => {
      await project(ports, pointsPartition(vault.containerName, job.itemId), chain, record);
      await changeItem(ports, step.vault, job.itemKey, (item) =>
        item.protectionState === 'IRPending' ? { ...item, protectionState: 'Protected' } : undefined,
      );
      await finishJob(ports, address, 'Completed');
      const { parts } = (await notedPlan(container, job, transferPlan)) ?? {};
      await deletePlan(ports, container, { item: job.itemId, attempt: attemptId(step.attempt), parts });
    };
    if (await chain.committed(job.attempts, job.planSeq ?? 0, newest)) return settle(newest);

    const plan = await notedPlan(container, job, transferPlan);
    if (plan === undefined || !standsOn(plan, newest)) return planTransfer(ports, { ...step, instead: step.attempt });
    if ((await runningJob(ports, address, step.attempt)) === undefined) return;
    const { missing, done, doneBytes, part } = await progress(container, plan, step.part ?? 0);
    if (missing.length > 0) {
      await report(ports, address, plan, { doneBytes });
      let stalled = done === step.done ? (step.stalled ?? 0) + 1 : 0;
      if (waitedSeconds(step.round, stalled) >= STALLED_SECONDS) {
        await resend(ports, step, missing);
        stalled = 0;
      }
      const next = { ...step, step: 'commit', v: 1, round: step.round + 1, done, stalled, part } as const;
      return ports.queue.send(next, backOffSeconds(step.round));
    }
    const { set } = job;
    const found = await writeManifest(container, chain, plan, layoutOf(ports.settings.layout, plan), (churn) =>
      manifestOf(plan, job, set, churn),
    );
    if (found === undefined) {
      // What was there has gone: its unit is waited for again.
      return ports.queue.send(
        { ...step, step: 'commit', v: 1, round: step.round + 1, part: 0 },
        backOffSeconds(step.round),
      );
    }
    const { entry, empty, churn } = found;
    await report(ports, address, plan, { churn: churnRows(ports, plan, churn) });
    const { won, record } = await chain.append(newest, {
      kind: 'backup',
      attempt: plan.attempt,
      job: plan.job,
      writtenAt: new Date(ports.clock.now()).toISOString(),
      points: [...newest.points, entry],
    });
    if (won) {
      for (const name of empty) await deleteOrOwe(ports, container, name); // units that found nothing changed have said so with an empty object
      return settle(record);
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
}

/** Compares a plan with what is there, from part `from` on. */
async function progress(container: VaultContainer, plan: TransferPlan, from: number): Promise<Progress> {
  const before = (plan.parts ?? []).slice(0, from);
  const missing: number[] = [];
  let done = before.reduce((sum, { units }) => sum + units, 0);
  let doneBytes = before.reduce((sum, { bytes }) => sum + bytes, 0);
  let firstOpen: number | undefined;
  let number = from;
  for await (const { part, first } of partsOf(container, plan, transferPlan, from)) {
    const objects = await finishedObjects(container, objectsOf(part));
    for (const [i, unit] of part.units.entries()) {
      if (objects.has(objectName(transferObject(part, unit)))) {
        done++;
        doneBytes += unit.regions.reduce((sum, { bytes }) => sum + bytes, 0);
      } else {
        firstOpen ??= number;
        if (missing.length < MOST_RESENT) missing.push(first + i);
      }
    }
    number++;
  }
  return { missing, done, doneBytes, part: firstOpen ?? 0 };
}

const objectsOf = (part: TransferPlan): UnitObject[] => part.units.map((unit) => transferObject(part, unit));

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

/** Objects whose contents are looked at at once. */
const READS_IN_FLIGHT = 8;

/**
 * Writes the manifest of what the units have found, span by span. `empty` are the objects in which there is nothing, `churn` is what was
 * met on each disk. Undefined when an object is missing.
 */
async function writeManifest(
  container: VaultContainer,
  chain: Chain,
  plan: TransferPlan,
  layout: Layout,
  headOf: (churn: readonly Churn[]) => ManifestHead,
): Promise<{ entry: RecordPoint; empty: string[]; churn: readonly Churn[] } | undefined> {
  const writer = new ManifestWriter(chain, plan, layout);
  const empty: string[] = [];
  const churn = plan.disks.map(() => noChurn());
  for await (const { part } of partsOf(container, plan, transferPlan)) {
    const objects = await finishedObjects(container, objectsOf(part));
    for (const [index, own] of churnOf(part, objects).entries()) addChurn(churn[index]!, own);
    const regions: Regions[] = part.disks.map(() => []);
    for await (const { item: unit, result } of inOrder(part.units, READS_IN_FLIGHT, (each) =>
      transferred(container, part, each, objects.get(objectName(transferObject(part, each)))),
    )) {
      if (result === undefined) return undefined;
      if (result.length === 0) empty.push(objectName(transferObject(part, unit)));
      regions[unit.disk]!.push(...result);
    }
    for (const [index, own] of regions.entries()) {
      const { disk } = part.disks[index]!;
      own.sort((a, b) => a.region - b.region);
      const bySpan = Map.groupBy(own, ({ region }) => Math.floor(region / layout.spanRegions));
      for (const span of bySpan.values()) await writer.add(disk, span);
    }
  }
  return { entry: await writer.finish(headOf(churn)), empty, churn };
}

type Regions = ManifestRegion[];

/** What one unit has found: its changed regions. Undefined when its object is not there. */
async function transferred(
  container: VaultContainer,
  plan: TransferPlan,
  unit: TransferPlan['units'][number],
  object: BlobInfo | undefined,
): Promise<Regions | undefined> {
  if (object === undefined) return undefined;
  const found = await layersIn(container, transferObject(plan, unit), object);
  const own = unit.regions.filter(({ region }) => found.has(region));
  return Promise.all(
    own.map(async (work) => {
      const checkpoint = work.writeCheckpoint ? await checkpointOf(container, plan, unit.disk, work.region) : undefined;
      return { region: work.region, layers: [found.get(work.region)!], ...(checkpoint && { checkpoint }) };
    }),
  );
}

/** The checkpoint that the region's unit has written. */
async function checkpointOf(
  container: VaultContainer,
  plan: TransferPlan,
  disk: number,
  region: number,
): Promise<Regions[number]['checkpoint']> {
  const { attempt } = plan;
  const blob = await container.stat(checkpointName(plan.item, plan.disks[disk]!.disk, region, attempt));
  return blob && { attempt, depth: Number(blob.summary['depth']), stack: blob.summary['stack']! };
}

async function report(
  ports: Ports,
  address: { vault: string; jobId: JobId },
  { attempt }: TransferPlan,
  told: Partial<Pick<JobRow, 'doneBytes' | 'churn'>>,
): Promise<void> {
  await changeJob(ports, address, (row) =>
    row.attempt === attempt && row.status === 'InProgress' ? { ...row, ...told } : undefined,
  );
}

function manifestOf(plan: TransferPlan, job: JobRow, set: SnapshotSet, churn: readonly Churn[]): ManifestHead {
  const iso = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    item: plan.item,
    point: plan.point,
    attempt: plan.attempt,
    time: new Date(set.takenAt).toISOString(),
    trigger: job.dueAt === undefined ? 'onDemand' : 'scheduled',
    dueAt: iso(job.dueAt),
    retainUntil: iso(job.retainUntil),
    consistency: 'CrashConsistent',
    vm: set.vm,
    lacking: set.lacking,
    disks: plan.disks.map((own, index) => {
      const { disk, lun, name, url, createdAt, sizeBytes, begins, snapshot } = own;
      return {
        disk,
        lun,
        name,
        url,
        createdAt,
        sizeBytes,
        ...(begins && { begins }),
        snapshot: { id: snapshot, attempt: plan.set },
        ...managedOf(set, disk),
        trust: trustOf(own, churn[index]!),
      };
    }),
  };
}

/** What the set says of a managed disk. */
function managedOf({ disks }: SnapshotSet, disk: string): { managed?: NonNullable<SetDisk['managed']> } {
  const managed = disks.find((each) => each.disk === disk)?.managed;
  return managed === undefined ? {} : { managed };
}
