import type { JobRow, SetDisk, SnapshotSet } from '../catalog/catalog.ts';
import { BackupError, isBackupError } from '../domain/errors.ts';
import { type JobId, type PointId, attemptId } from '../domain/ids.ts';
import { isSameLineage } from '../domain/lineage.ts';
import { addByRegion } from '../domain/changes.ts';
import { blockCount } from '../domain/extent.ts';
import type { Layout } from '../domain/layout.ts';
import { type RegionStack, chainOf, nameOf, stacksOf } from '../domain/point-stack.ts';
import { groupThin } from '../domain/thin-regions.ts';
import { BLOCK_BYTES, type ByteRange, REGION_BYTES, regionsIn } from '../domain/units.ts';
import type { ChainRecord, CountedLayer, Manifest, PlanDisk, TransferPlan } from '../format/documents.ts';
import { transferPlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { finishJob } from './end-job.ts';
import { type RegionDamage, damageOf } from './findings.ts';
import { changeJob, noteAttempt, readJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { forEachAtOnce } from './pipeline.ts';
import { readPlan, storePlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { changePoint } from './projection.ts';
import { transferUnit } from './transfer-unit.ts';
import { openVault } from './vault-of.ts';

/** Plans of more units than this are never done by the handler that makes them. */
const MOST_ON_THE_SPOT = 16;
const UNITS_ON_THE_SPOT = 4;
/** Messages sent at once. */
const SENDS_IN_FLIGHT = 8;

/**
 * Plans the transfer of a job's point on the newest record, notes the plan on the job, and sends a message for each unit and one for
 * the coordinator. Run again it sends what the noted plan still needs; `instead` names the plan that a coordinator found stale.
 */
export async function planTransfer(
  ports: Ports,
  step: { vault: string; jobId: string; instead?: string | undefined },
): Promise<void> {
  const address = { vault: step.vault, jobId: step.jobId as JobId };
  const job = await readJob(ports, address);
  if (job?.status !== 'InProgress' || job.set === undefined || job.point === undefined) return;
  const { container, row: vault } = await openVault(ports, step.vault);
  if (job.attempt !== undefined && job.attempt !== step.instead) {
    if (step.instead !== undefined) return; // another has planned again already, and sends its own messages
    return sendUnits(ports, step, await readNotedPlan(container, job));
  }
  const chain = new Chain(container, job.itemId);
  const record = await chain.newest();
  // The plan that is to be replaced may have been committed by now, by a handler that was past its checks.
  if (job.attempt !== undefined && (await chain.committed(job.attempts, job.planSeq ?? 0, record)) !== undefined) {
    return sendCommit(ports, step, job.attempt);
  }
  if (isOvertaken(record, job.point)) {
    await overtake(ports, step.vault, pointsPartition(vault.containerName, job.itemId), job, record);
    return;
  }
  const partition = pointsPartition(vault.containerName, job.itemId);
  const plan = await makePlan(ports, partition, chain, record, job, job.set, job.point);
  if (!(await noteAttempt(ports, address, plan.attempt, job.attempt, record.seq))) return;
  await storePlan(container, plan);
  await changeJob(ports, address, (row) =>
    row.attempt === plan.attempt
      ? {
          ...row,
          totalBytes: bytesOf(plan),
          sources: plan.disks.map(({ lun, name, source, reason }) => ({ lun, name, source, reason })),
        }
      : undefined,
  );
  if (isSmall(plan, ports.settings.onTheSpotBytes)) {
    const units = plan.units.keys();
    await forEachAtOnce(units, UNITS_ON_THE_SPOT, (unit) =>
      transferUnit(ports, { vault: step.vault, jobId: step.jobId, attempt: plan.attempt, unit }),
    );
    await sendCommit(ports, step, plan.attempt);
  } else await sendUnits(ports, step, plan);
}

/** Whether the plan is done faster than its messages travel: a night in which little has changed. */
function isSmall(plan: TransferPlan, mostBytes: number): boolean {
  return mostBytes > 0 && plan.units.length <= MOST_ON_THE_SPOT && bytesOf(plan) <= mostBytes;
}

/** What the sources say has to be looked at. */
const bytesOf = ({ units }: TransferPlan): number =>
  units.reduce((sum, { regions }) => regions.reduce((own, { bytes }) => own + bytes, sum), 0);

/** A plan that was noted but, after a crash, not stored cannot have been begun: the coordinator finds it missing and plans again. */
async function readNotedPlan(
  container: VaultContainer,
  job: JobRow,
): Promise<TransferPlan | { attempt: string; units: [] }> {
  try {
    return await readPlan(container, job.itemId, job.attempt!, transferPlan);
  } catch (error) {
    if (error instanceof BackupError && error.code === 'VaultObjectMissing')
      return { attempt: job.attempt!, units: [] };
    throw error;
  }
}

async function sendUnits(
  ports: Ports,
  { vault, jobId }: { vault: string; jobId: string },
  plan: { attempt: string; units: readonly unknown[] },
): Promise<void> {
  const { attempt } = plan;
  await forEachAtOnce(plan.units.keys(), SENDS_IN_FLIGHT, (unit) =>
    ports.queue.send({ step: 'transfer-unit', v: 1, vault, jobId, attempt, unit }),
  );
  await sendCommit(ports, { vault, jobId }, attempt);
}

function sendCommit(ports: Ports, { vault, jobId }: { vault: string; jobId: string }, attempt: string): Promise<void> {
  return ports.queue.send({ step: 'commit', v: 1, vault, jobId, attempt, round: 0 });
}

/** Transfers of an item commit in snapshot order: a point behind a later one can never enter the vault. */
export function isOvertaken(record: ChainRecord, point: PointId): boolean {
  const last = record.points.at(-1)?.point;
  return last !== undefined && last > point;
}

async function overtake(
  ports: Ports,
  vault: string,
  partition: string,
  job: JobRow,
  record: ChainRecord,
): Promise<void> {
  const note = `recovery point ${record.points.at(-1)!.point} entered the vault first; this one stays in the snapshot tier and ends with its snapshots`;
  await changePoint(ports, partition, job.point!, (row) => ({ ...row, note }));
  await changeJob(ports, { vault, jobId: job.jobId }, (row) =>
    row.status !== 'InProgress' || row.errors.some(({ code }) => code === 'RecoveryPointOvertaken')
      ? undefined
      : { ...row, errors: [...row.errors, { code: 'RecoveryPointOvertaken', message: note, recommendations: [] }] },
  );
  await finishJob(ports, { vault, jobId: job.jobId }, 'CompletedWithWarnings');
}

async function makePlan(
  ports: Ports,
  partition: string,
  chain: Chain,
  record: ChainRecord,
  job: JobRow,
  set: SnapshotSet,
  point: PointId,
): Promise<TransferPlan> {
  const { manifests: live, lost } = await chain.readable(record);
  const disks: PlanDisk[] = [];
  const units: TransferPlan['units'] = [];
  for (const own of set.disks) {
    const newest = chainOf(own.disk, live).at(-1);
    // Where a manifest that may include the disk is lost nobody knows its view any more: its chain begins anew.
    const anew = lost.some(({ point: gone }) => gone >= (newest?.disk.begins ?? ''));
    const base = anew ? undefined : newest;
    const stacks = base === undefined ? new Map<number, never>() : stacksOf(own.disk, live);
    const { plan, changed } = await lookForChanges(ports, await chooseSource(ports, own, point, base, anew), stacks);
    const damage = await damageOf(ports, partition, own.disk);
    for (const [region, { runs }] of damage)
      changed.set(region, (changed.get(region) ?? 0) + blockCount(runs) * BLOCK_BYTES);
    const regions = [...changed]
      .sort(([a], [b]) => a - b)
      .map(([region, bytes]) => ({
        region,
        bytes,
        ...planned(ports.settings.layout, stacks.get(region), damage.get(region)),
      }));
    for (const group of groupThin(regions, ports.settings.layout)) {
      const own = group.thin
        ? group.regions.map((work) => withoutCheckpoint(work, ports.settings.layout))
        : group.regions;
      units.push({ disk: disks.length, slab: group.thin ? units.length : null, regions: [...own] });
    }
    disks.push(plan);
  }
  return {
    format: 1,
    kind: 'transfer',
    item: job.itemId,
    attempt: attemptId(ports.ids.hex(16)),
    job: job.jobId,
    point,
    seq: record.seq,
    base: record.points.at(-1)?.point ?? null,
    set: set.attempt,
    disks,
    units,
  };
}

/** Layers that speak of so many blocks, half of what a region has, are worth a checkpoint however few they are. */
const CHECKPOINT_BLOCKS = REGION_BYTES / BLOCK_BYTES / 2;

/**
 * A thin region shares its object with others, and a checkpoint would be one of its own: it comes a few times as late, or a thin spray
 * over a large disk would cost an object for each region after all.
 */
function withoutCheckpoint(region: PlanRegion, { checkpointDepth }: Layout): PlanRegion {
  const above = region.stack.length - (region.checkpoint?.depth ?? 0);
  return { ...region, writeCheckpoint: region.writeCheckpoint && above >= THIN_FACTOR * checkpointDepth };
}

/** How much deeper the stack of a thin region gets before it has a checkpoint. */
const THIN_FACTOR = 4;

type PlanRegion = TransferPlan['units'][number]['regions'][number];

/** A region's stack at the base as a plan has it, and what of it has to be written again. */
function planned(
  layout: Layout,
  { layers, checkpoint }: RegionStack<CountedLayer> = { layers: [] },
  damage: RegionDamage | undefined,
): Pick<PlanRegion, 'stack' | 'checkpoint' | 'writeCheckpoint' | 'heal'> {
  const above = layers.slice(checkpoint?.depth ?? 0);
  const blocks = above.reduce((sum, layer) => sum + layer.dataBlocks + layer.clearedBlocks, 0);
  const writeCheckpoint = above.length >= layout.checkpointDepth || (above.length > 1 && blocks >= CHECKPOINT_BLOCKS);
  const heal = damage && (damage.whole ? ('all' as const) : [...damage.runs]);
  return {
    stack: layers.map(nameOf),
    checkpoint,
    writeCheckpoint: writeCheckpoint && heal !== 'all',
    ...(heal && { heal }),
  };
}

/** Decides how the disk's changed blocks are found, and says why. */
async function chooseSource(
  ports: Ports,
  own: SetDisk,
  point: PointId,
  base: { point: PointId; disk: Manifest['disks'][number] } | undefined,
  anew: boolean,
): Promise<PlanDisk> {
  const { disk, lun, name, url, createdAt, sizeBytes, snapshot } = own;
  const found = { disk, lun, name, url, createdAt, sizeBytes, snapshot };
  if (base === undefined) {
    const reason = anew ? 'the manifest of an earlier point is lost' : 'the first recovery point of this disk';
    return { ...found, base: null, baseSizeBytes: null, begins: point, source: 'full', since: null, reason };
  }
  const { begins } = base.disk;
  const based = { ...found, base: base.point, ...(begins && { begins }), baseSizeBytes: base.disk.sizeBytes };
  const refusal = await whyNotDiff(ports, own, base.disk);
  return refusal === undefined
    ? { ...based, source: 'diff', since: base.disk.snapshot.id, reason: 'page ranges changed since the base snapshot' }
    : { ...based, source: 'hashes', since: null, reason: refusal };
}

async function whyNotDiff(ports: Ports, own: SetDisk, base: Manifest['disks'][number]): Promise<string | undefined> {
  if (!isSameLineage(base, own)) return 'the disk was replaced since the base snapshot';
  if (base.snapshot.id >= own.snapshot) return 'the base snapshot is not older than this one';
  const since = { url: own.url, id: base.snapshot.id };
  if ((await ports.snapshots.sizeOf(since)) === undefined) return 'the base snapshot is gone';
  const probe = await ports.snapshots.probeChangeTracking({ url: own.url, id: own.snapshot });
  return probe.usable ? undefined : probe.reason;
}

/** Asks the chosen source. Where the provider finds only now that it cannot compare, the disk goes by hashes, and the plan says so. */
async function lookForChanges(
  ports: Ports,
  plan: PlanDisk,
  stacks: ReadonlyMap<number, RegionStack>,
): Promise<{ plan: PlanDisk; changed: Map<number, number> }> {
  try {
    return { plan, changed: await changedRegions(ports, plan, stacks) };
  } catch (error) {
    if (!isBackupError(error, 'ChangeTrackingUnusable')) throw error;
    const byHashes: PlanDisk = { ...plan, source: 'hashes', since: null, reason: error.message };
    return { plan: byHashes, changed: await changedRegions(ports, byHashes, stacks) };
  }
}

/**
 * The regions that the transfer has to look at, each with the bytes that the source says it has to look at there. The listing is
 * taken a page at a time and only counted here; each unit asks for its own region again.
 */
async function changedRegions(
  ports: Ports,
  disk: PlanDisk,
  stacks: ReadonlyMap<number, RegionStack>,
): Promise<Map<number, number>> {
  const { geometry } = ports.settings;
  const bytes = new Map<number, number>();
  const count = (range: ByteRange): void => addByRegion(bytes, inBlocks(range, disk.sizeBytes), geometry);
  const snapshot = { url: disk.url, id: disk.snapshot };
  const whole = { start: 0, end: disk.sizeBytes };
  if (disk.source === 'diff' && disk.since !== null) {
    for await (const range of ports.snapshots.changed(snapshot, { url: disk.url, id: disk.since }, whole)) count(range);
  } else {
    for await (const range of ports.snapshots.allocated(snapshot, whole)) count(range);
  }
  const shrunk = disk.baseSizeBytes !== null && disk.sizeBytes < disk.baseSizeBytes;
  const lastWhole = Math.floor(disk.sizeBytes / geometry.regionBytes);
  for (const region of stacks.keys()) {
    const cutOff = shrunk && region >= lastWhole;
    if (disk.source === 'hashes' || cutOff || region >= regionsIn(disk.sizeBytes, geometry)) {
      bytes.set(region, bytes.get(region) ?? 0);
    }
  }
  return bytes;
}

/** The whole blocks that a range touches: what a write of a few bytes costs. */
function inBlocks({ start, end }: ByteRange, sizeBytes: number): ByteRange {
  const first = Math.floor(start / BLOCK_BYTES) * BLOCK_BYTES;
  return { start: first, end: Math.min(Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES, sizeBytes) };
}
