import type { JobRow, SnapshotSet } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import { type AttemptId, type JobId, attemptId } from '../domain/ids.ts';
import { type ChainRecord, type Manifest, type TransferPlan, transferPlan } from '../format/documents.ts';
import { checkpointName, planName } from '../format/names.ts';
import type { BlobInfo, VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { backOffSeconds } from './back-off.ts';
import { finishJob } from './end-job.ts';
import { changeJob, runningJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { changeItem } from './items.ts';
import { inOrder } from './pipeline.ts';
import { planTransfer } from './plan-transfer.ts';
import { readPlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { project } from './projection.ts';
import { transferObject } from './transfer-unit.ts';
import { finishedObjects, layersIn, objectName } from './unit-objects.ts';
import { openVault } from './vault-of.ts';

/** After so many looks, about ten minutes, without one more layer, units get their messages again. */
const LOOKS_WITHOUT_PROGRESS = 40;
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
      await container.delete(planName(job.itemId, attemptId(step.attempt)));
    };
    if (await chain.committed(job.attempts, job.planSeq ?? 0, newest)) return settle(newest);

    const plan = await planOf(container, job.itemId, attemptId(step.attempt));
    if (plan === undefined || !standsOn(plan, newest)) return planTransfer(ports, { ...step, instead: step.attempt });
    if ((await runningJob(ports, address, step.attempt)) === undefined) return;
    const objects = await finishedObjects(
      container,
      plan.units.map((unit) => transferObject(plan, unit)),
    );
    const missing = plan.units.filter((unit) => objectOf(plan, unit, objects) === undefined);
    if (missing.length > 0) {
      await report(ports, address, plan, missing);
      const done = plan.units.length - missing.length;
      let stalled = done === step.done ? (step.stalled ?? 0) + 1 : 0;
      if (stalled === LOOKS_WITHOUT_PROGRESS) {
        await resend(ports, step, plan, missing);
        stalled = 0;
      }
      const next = { ...step, step: 'commit', v: 1, round: step.round + 1, done, stalled } as const;
      return ports.queue.send(next, backOffSeconds(step.round));
    }
    const { regions, empty } = await transferred(container, plan, objects);
    const entry = await chain.putManifest(manifestOf(plan, job, job.set, regions));
    const { won, record } = await chain.append(newest, {
      kind: 'backup',
      attempt: plan.attempt,
      job: plan.job,
      writtenAt: new Date(ports.clock.now()).toISOString(),
      points: [...newest.points, entry],
    });
    if (won) {
      for (const name of empty) await container.delete(name); // units that found nothing changed have said so with an empty object
      return settle(record);
    }
  }
}

/** A unit whose message was lost would be waited for in vain: some of those that are missing get another. */
async function resend(
  ports: Ports,
  { vault, jobId, attempt }: { vault: string; jobId: string; attempt: string },
  plan: TransferPlan,
  missing: readonly TransferPlan['units'][number][],
): Promise<void> {
  for (const unit of missing.slice(0, MOST_RESENT)) {
    await ports.queue.send({ step: 'transfer-unit', v: 1, vault, jobId, attempt, unit: plan.units.indexOf(unit) });
  }
}

async function planOf(
  container: VaultContainer,
  item: TransferPlan['item'],
  attempt: AttemptId,
): Promise<TransferPlan | undefined> {
  try {
    return await readPlan(container, item, attempt, transferPlan);
  } catch (error) {
    if (isBackupError(error, 'VaultObjectMissing')) return undefined;
    throw error;
  }
}

/** Whether the plan can still be committed on `record`. */
function standsOn(plan: TransferPlan, record: ChainRecord): boolean {
  const live = new Set(record.points.map(({ point }) => point));
  const last = record.points.at(-1)?.point ?? null;
  return last === plan.base && plan.disks.every(({ base }) => base === null || live.has(base));
}

const objectOf = (
  plan: TransferPlan,
  unit: TransferPlan['units'][number],
  objects: ReadonlyMap<string, BlobInfo>,
): BlobInfo | undefined => objects.get(objectName(transferObject(plan, unit)));

type Regions = Manifest['disks'][number]['regions'];

/** Objects whose contents are looked at at once. */
const READS_IN_FLIGHT = 8;

/** What the units have found: per disk of the plan its changed regions, and the objects in which there is nothing. */
async function transferred(
  container: VaultContainer,
  plan: TransferPlan,
  objects: ReadonlyMap<string, BlobInfo>,
): Promise<{ regions: Regions[]; empty: string[] }> {
  const regions: Regions[] = plan.disks.map(() => []);
  const empty: string[] = [];
  const look = async (unit: TransferPlan['units'][number]) => {
    const found = await layersIn(container, transferObject(plan, unit), objectOf(plan, unit, objects)!);
    const own = unit.regions.filter(({ region }) => found.has(region));
    return Promise.all(
      own.map(async (work) => {
        const checkpoint = work.writeCheckpoint
          ? await checkpointOf(container, plan, unit.disk, work.region)
          : undefined;
        return { region: work.region, layers: [found.get(work.region)!], ...(checkpoint && { checkpoint }) };
      }),
    );
  };
  for await (const { item: unit, result } of inOrder(plan.units, READS_IN_FLIGHT, look)) {
    if (result.length === 0) empty.push(objectOf(plan, unit, objects)!.name);
    regions[unit.disk]!.push(...result);
  }
  for (const own of regions) own.sort((a, b) => a.region - b.region);
  return { regions, empty };
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
  plan: TransferPlan,
  missing: readonly TransferPlan['units'][number][],
): Promise<void> {
  const left = new Set(missing);
  const doneBytes = plan.units
    .filter((unit) => !left.has(unit))
    .reduce((sum, { regions }) => regions.reduce((own, { bytes }) => own + bytes, sum), 0);
  await changeJob(ports, address, (row) =>
    row.attempt === plan.attempt && row.status === 'InProgress' ? { ...row, doneBytes } : undefined,
  );
}

function manifestOf(plan: TransferPlan, job: JobRow, set: SnapshotSet, regions: readonly Regions[]): Manifest {
  const iso = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    format: 2,
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
    disks: plan.disks.map(({ disk, lun, name, url, createdAt, sizeBytes, begins, snapshot }, index) => ({
      disk,
      lun,
      name,
      url,
      createdAt,
      sizeBytes,
      ...(begins && { begins }),
      snapshot: { id: snapshot, attempt: plan.set },
      regions: regions[index]!,
    })),
  };
}
