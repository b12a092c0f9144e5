import type { JobRow, SnapshotSet } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import { type AttemptId, type JobId, attemptId } from '../domain/ids.ts';
import {
  type ChainRecord,
  type CountedLayer,
  type Manifest,
  type TransferPlan,
  transferPlan,
} from '../format/documents.ts';
import { layersPrefix, parseLayerName, planName } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { backOffSeconds } from './back-off.ts';
import { finishJob } from './end-job.ts';
import { changeJob, runningJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { countsOf } from './layer-writer.ts';
import { changeItem } from './items.ts';
import { planTransfer } from './plan-transfer.ts';
import { readPlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { project } from './projection.ts';
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
    const layers = await finishedLayers(container, plan);
    const missing = plan.units.filter((unit) => !layers.has(unitKey(plan, unit)));
    await report(ports, address, plan, layers);
    if (missing.length > 0) {
      const done = plan.units.length - missing.length;
      let stalled = done === step.done ? (step.stalled ?? 0) + 1 : 0;
      if (stalled === LOOKS_WITHOUT_PROGRESS) {
        await resend(ports, step, plan, missing);
        stalled = 0;
      }
      const next = { ...step, step: 'commit', v: 1, round: step.round + 1, done, stalled } as const;
      return ports.queue.send(next, backOffSeconds(step.round));
    }
    const entry = await chain.putManifest(manifestOf(plan, job, job.set, layers));
    const { won, record } = await chain.append(newest, {
      kind: 'backup',
      attempt: plan.attempt,
      job: plan.job,
      writtenAt: new Date(ports.clock.now()).toISOString(),
      points: [...newest.points, entry],
    });
    if (won) {
      await deleteEmptyLayers(container, plan, layers);
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

const unitKey = (plan: TransferPlan, unit: TransferPlan['units'][number]): string =>
  `${plan.disks[unit.disk]!.disk}/${unit.region}`;

/** The layers that this plan's units have written, with their counts. */
async function finishedLayers(
  container: VaultContainer,
  plan: TransferPlan,
): Promise<Map<string, CountedLayer & { name: string }>> {
  const layers = new Map<string, CountedLayer & { name: string }>();
  for (const { disk } of plan.disks) {
    for await (const { name, summary } of container.list(layersPrefix(plan.item, disk, plan.point))) {
      const key = parseLayerName(name);
      if (key?.attempt !== plan.attempt) continue;
      layers.set(`${disk}/${key.region}`, { point: key.point, attempt: key.attempt, ...countsOf(summary), name });
    }
  }
  return layers;
}

async function report(
  ports: Ports,
  address: { vault: string; jobId: JobId },
  plan: TransferPlan,
  layers: ReadonlyMap<string, unknown>,
): Promise<void> {
  const doneBytes = plan.units.reduce((sum, unit) => sum + (layers.has(unitKey(plan, unit)) ? unit.bytes : 0), 0);
  await changeJob(ports, address, (row) =>
    row.attempt === plan.attempt && row.status === 'InProgress' ? { ...row, doneBytes } : undefined,
  );
}

function manifestOf(
  plan: TransferPlan,
  job: JobRow,
  set: SnapshotSet,
  layers: ReadonlyMap<string, CountedLayer & { name: string }>,
): Manifest {
  const iso = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    format: 1,
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
    disks: plan.disks.map(({ disk, lun, name, url, createdAt, sizeBytes, snapshot }, index) => ({
      disk,
      lun,
      name,
      url,
      createdAt,
      sizeBytes,
      snapshot: { id: snapshot, attempt: plan.set },
      regions: plan.units
        .filter((unit) => unit.disk === index)
        .flatMap((unit) => {
          const layer = layers.get(unitKey(plan, unit));
          if (layer === undefined || isEmpty(layer)) return [];
          const { name: _, ...counted } = layer;
          return [{ region: unit.region, layers: [counted] }];
        }),
    })),
  };
}

const isEmpty = (layer: CountedLayer): boolean => layer.dataBlocks === 0 && layer.clearedBlocks === 0;

/** Units that found nothing changed have said so with an empty layer, which nothing names. */
async function deleteEmptyLayers(
  container: VaultContainer,
  plan: TransferPlan,
  layers: ReadonlyMap<string, CountedLayer & { name: string }>,
): Promise<void> {
  for (const unit of plan.units) {
    const layer = layers.get(unitKey(plan, unit));
    if (layer !== undefined && isEmpty(layer)) await container.delete(layer.name);
  }
}
