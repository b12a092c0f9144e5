import type { JobRow, SetDisk, SnapshotSet } from '../catalog/catalog.ts';
import { type BackupError, isBackupError } from '../domain/errors.ts';
import { type AttemptId, type DiskId, type JobId, type PointId, attemptId } from '../domain/ids.ts';
import { isSameLineage } from '../domain/lineage.ts';
import { AUDIT_REQUESTS, type AuditRun } from '../domain/audit.ts';
import { addByRegion } from '../domain/changes.ts';
import { blockCount } from '../domain/extent.ts';
import type { Layout } from '../domain/layout.ts';
import { type RegionStack, chainOf, nameOf } from '../domain/point-stack.ts';
import { groupThin } from '../domain/thin-regions.ts';
import { inTurns } from '../domain/turns.ts';
import { BLOCK_BYTES, type ByteRange, REGION_BYTES, regionsIn } from '../domain/units.ts';
import type { ChainRecord, CountedLayer, Manifest, PlanDisk, TransferPlan } from '../format/documents.ts';
import { transferPlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { finishJob } from './end-job.ts';
import { type RegionDamage, damageOf } from './findings.ts';
import { type JobAddress, changeJob, noteAttempt, readJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { forEachAtOnce, inOrder } from './pipeline.ts';
import { planAudit } from './plan-audit.ts';
import { PART_SPANS, type PlanKind, PlanWriter } from './plan-writer.ts';
import { notedPlan, partsOf } from './plans.ts';
import type { Ports } from './ports.ts';
import { changePoint } from './projection.ts';
import { type Span, spansOf, stacksWithin } from './spans.ts';
import { transferUnit } from './transfer-unit.ts';
import { openVault } from './vault-of.ts';
import { takeTurn } from './wait-turn.ts';

/** Plans of more units than this are never done by the handler that makes them. */
const MOST_ON_THE_SPOT = 16;
const UNITS_ON_THE_SPOT = 4;
/** Messages sent at once. */
const SENDS_IN_FLIGHT = 8;
/** Spans that are listed at once. */
const SPANS_IN_FLIGHT = 4;

/** Transfer plans, as they are written. */
const TRANSFER: PlanKind<TransferPlan> = {
  join: (one, next) => ({ ...one, units: [...one.units, ...next.units] }),
  weight: ({ units }) =>
    units.reduce((sum, { regions }) => regions.reduce((own, { stack }) => own + 1 + stack.length, sum), 0),
  bytes: ({ units }) => units.reduce((sum, { regions }) => regions.reduce((own, { bytes }) => own + bytes, sum), 0),
};

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
  if (!(await takeTurn(ports, address, job))) return;
  const { container, row: vault } = await openVault(ports, step.vault);
  if (job.attempt !== undefined && job.attempt !== step.instead) {
    if (step.instead !== undefined) return; // another has planned again already, and sends its own messages
    return sendUnits(ports, container, step, await notedPlan(container, job, transferPlan), job.attempt);
  }
  const chain = new Chain(container, job.itemId);
  const partition = pointsPartition(vault.containerName, job.itemId);
  const planning = { container, chain, partition, job, set: job.set, point: job.point };
  const noted = { attempt: job.attempt };
  const plan = await chain.onNewest(async (record) => {
    // The plan that is to be replaced may have been committed by now, by a handler that was past its checks.
    if (job.attempt !== undefined && (await chain.committed(job.attempts, job.planSeq ?? 0, record)) !== undefined)
      return sendCommit(ports, step, job.attempt);
    if (isOvertaken(record, planning.point)) return overtake(ports, step.vault, partition, job, record);
    return makePlan(ports, address, { ...planning, record }, noted);
  });
  if (plan === undefined) return;
  if (isSmall(plan, ports.settings.onTheSpotBytes)) {
    const units = plan.units.keys();
    await forEachAtOnce(units, UNITS_ON_THE_SPOT, (unit) =>
      transferUnit(ports, { vault: step.vault, jobId: step.jobId, attempt: plan.attempt, unit }),
    );
    await sendCommit(ports, step, plan.attempt);
  } else await sendUnits(ports, container, step, plan, plan.attempt);
}

/** Whether the plan is done faster than its messages travel: a night in which little has changed. */
function isSmall(plan: TransferPlan, mostBytes: number): boolean {
  if (mostBytes === 0 || plan.parts !== undefined || plan.units.length > MOST_ON_THE_SPOT) return false;
  const audited = plan.units
    .flatMap(({ regions }) => regions)
    .reduce((sum, { audit }) => sum + (audit?.blocks ?? 0), 0);
  return bytesOf(plan) + audited * BLOCK_BYTES <= mostBytes;
}

/** What the sources say has to be looked at. */
const bytesOf = (plan: TransferPlan): number =>
  plan.parts?.reduce((sum, { bytes }) => sum + bytes, 0) ?? TRANSFER.bytes(plan);

/** Without a plan, which was noted but after a crash not stored, nothing has been begun: the coordinator finds it missing and plans again. */
async function sendUnits(
  ports: Ports,
  container: VaultContainer,
  { vault, jobId }: { vault: string; jobId: string },
  plan: TransferPlan | undefined,
  attempt: AttemptId,
): Promise<void> {
  if (plan !== undefined)
    for await (const { part, first } of partsOf(container, plan, transferPlan))
      await forEachAtOnce(inTurns(part.units), SENDS_IN_FLIGHT, (unit) =>
        ports.queue.send({ step: 'transfer-unit', v: 1, vault, jobId, attempt, unit: first + unit }),
      );
  await sendCommit(ports, { vault, jobId }, attempt);
}

async function sendCommit(
  ports: Ports,
  { vault, jobId }: { vault: string; jobId: string },
  attempt: string,
): Promise<undefined> {
  await ports.queue.send({ step: 'commit', v: 1, vault, jobId, attempt, round: 0 });
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
): Promise<undefined> {
  const note = `recovery point ${record.points.at(-1)!.point} entered the vault first; this one stays in the snapshot tier and ends with its snapshots`;
  await changePoint(ports, partition, job.point!, (row) => ({ ...row, note }));
  await changeJob(ports, { vault, jobId: job.jobId }, (row) =>
    row.status !== 'InProgress' || row.errors.some(({ code }) => code === 'RecoveryPointOvertaken')
      ? undefined
      : { ...row, errors: [...row.errors, { code: 'RecoveryPointOvertaken', message: note, recommendations: [] }] },
  );
  await finishJob(ports, { vault, jobId: job.jobId }, 'CompletedWithWarnings');
}

interface Planning {
  readonly container: VaultContainer;
  readonly chain: Chain;
  readonly partition: string;
  readonly record: ChainRecord;
  readonly job: JobRow;
  readonly set: SnapshotSet;
  readonly point: PointId;
}

/**
 * Makes a plan and stores it, once its attempt stands on the job; undefined when another run's does. Where the provider finds only now
 * that it cannot compare two snapshots, the disk goes by hashes; where a part of a manifest is lost, its chain begins anew: either
 * way the plan is made once more, under another attempt.
 */
async function makePlan(
  ports: Ports,
  address: JobAddress,
  planning: Planning,
  noted: { attempt: AttemptId | undefined },
): Promise<TransferPlan | undefined> {
  const { chain, record, job, set, point } = planning;
  const live = await chain.readable(record);
  if (live.lost.length > 0) await throwIfMoved(chain, record, live.lost[0]!.error);
  const incomparable = new Map<DiskId, string>();
  const lost = new Set<DiskId>();
  for (;;) {
    try {
      const bases: Base[] = [];
      for (const own of set.disks) {
        const base = baseOf(own, live, lost.has(own.disk));
        const disk = await chooseSource(ports, own, point, base, incomparable.get(own.disk));
        const known = orUnusable(disk, knownFrom(ports, chain, base.manifests, disk));
        const { disk: audited, regions } = await orUnusable(disk, planAudit(ports, disk, await known));
        bases.push({ ...base, disk: audited, audit: regions });
      }
      const plan: TransferPlan = {
        format: 1,
        kind: 'transfer',
        spanRegions: ports.settings.layout.spanRegions,
        item: job.itemId,
        attempt: attemptId(ports.ids.hex(16)),
        job: job.jobId,
        point,
        seq: record.seq,
        base: record.points.at(-1)?.point ?? null,
        set: set.attempt,
        disks: bases.map(({ disk }) => disk),
        units: [],
      };
      return await writePlan(ports, address, planning, plan, bases, noted);
    } catch (error) {
      if (!(error instanceof UnusableDisk)) throw error;
      if (error.cause.code === 'ChangeTrackingUnusable') incomparable.set(error.disk, error.cause.message);
      else {
        await throwIfMoved(chain, record, error.cause);
        lost.add(error.disk);
      }
    }
  }
}

/** What is missing under a record that is the newest no more has been replaced, not lost. */
async function throwIfMoved(chain: Chain, record: ChainRecord, error: BackupError): Promise<void> {
  if ((await chain.newest()).seq !== record.seq) throw error;
}

/** What a plan was made on for a disk turns out not to be usable. */
class UnusableDisk extends Error {
  override readonly cause: BackupError;
  readonly disk: DiskId;

  constructor(disk: DiskId, cause: BackupError) {
    super(`disk ${disk}: ${cause.message}`);
    this.disk = disk;
    this.cause = cause;
  }
}

/** What goes wrong with the source or the base of a disk, said of the disk. */
async function orUnusable<T>({ disk }: Pick<PlanDisk, 'disk'>, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const isKnown = isBackupError(error, 'ChangeTrackingUnusable', 'VaultObjectMissing', 'DocumentCorrupt');
    throw isKnown ? new UnusableDisk(disk, error) : error;
  }
}

type Live = Awaited<ReturnType<Chain['readable']>>;

/** A disk, and what its plan is made on. */
interface Base extends Chained {
  readonly disk: PlanDisk;
  /** What is read although the source calls it unchanged, by region. */
  readonly audit: ReadonlyMap<number, AuditRun>;
}

/** The manifests of a disk's chain, oldest first: none where it begins with this point. */
interface Chained {
  readonly manifests: readonly Manifest[];
  readonly newest: { readonly point: PointId; readonly disk: Manifest['disks'][number] } | undefined;
  /** An earlier manifest is lost. */
  readonly anew: boolean;
}

/** Where a manifest that may include the disk is lost nobody knows its view any more: its chain begins anew. */
function baseOf({ disk }: SetDisk, { manifests, lost }: Live, isPartLost: boolean): Chained {
  const newest = chainOf(disk, manifests).at(-1);
  const anew = isPartLost || lost.some(({ point: gone }) => gone >= (newest?.disk.begins ?? ''));
  return anew ? { manifests: [], newest: undefined, anew } : { manifests, newest, anew };
}

/** As many regions that the base has layers of as an audit may come to, from where it goes on. */
async function knownFrom(
  ports: Ports,
  chain: Chain,
  manifests: readonly Manifest[],
  { disk, source, trust }: PlanDisk,
): Promise<number[]> {
  const { geometry, layout } = ports.settings;
  const first = Math.floor(((trust?.auditedTo ?? 0) * BLOCK_BYTES) / geometry.regionBytes);
  const known: number[] = [];
  for (const span of source === 'diff' ? spansOf(disk, manifests, layout) : []) {
    if (span.to <= first || known.length >= AUDIT_REQUESTS) continue;
    const stacks = await stacksWithin(chain, manifests, disk, span);
    known.push(...[...stacks.keys()].filter((region) => region >= first));
  }
  return known;
}

/** Writes a plan span by span. */
async function writePlan(
  ports: Ports,
  address: JobAddress,
  { container, chain, partition, record }: Planning,
  plan: TransferPlan,
  bases: readonly Base[],
  noted: { attempt: AttemptId | undefined },
): Promise<TransferPlan | undefined> {
  const { layout } = ports.settings;
  const writer = new PlanWriter<TransferPlan>(
    container,
    TRANSFER,
    PART_SPANS * layout.spanRegions,
    async (totalBytes) => {
      const sources = plan.disks.map(({ lun, name, source, reason }) => ({ lun, name, source, reason }));
      const told = { totalBytes, sources, churn: undefined };
      if (!(await noteAttempt(ports, address, plan.attempt, noted.attempt, record.seq, told))) return false;
      noted.attempt = plan.attempt;
      return true;
    },
  );
  for (const [index, own] of plan.disks.entries()) {
    const { manifests, anew, audit } = bases[index]!;
    const damage = anew ? new Map<number, RegionDamage>() : await damageOf(ports, partition, own.disk);
    const span = (each: Span): Promise<TransferPlan['units']> =>
      orUnusable(own, planSpan(ports, chain, index, bases[index]!, damage, each));
    const count = Math.ceil(regionsIn(own.sizeBytes, ports.settings.geometry) / layout.spanRegions);
    const ofDisk = Array.from({ length: count }, (_, i) => i * layout.spanRegions);
    const spans = spansOf(own.disk, manifests, layout, [...ofDisk, ...damage.keys(), ...audit.keys()]);
    for await (const { result: units } of inOrder(spans, SPANS_IN_FLIGHT, span))
      if (units.length > 0 && !(await writer.add({ ...plan, units }))) return undefined;
  }
  const written = await writer.finish(plan);
  if (written?.parts !== undefined) {
    const totalBytes = bytesOf(written);
    await changeJob(ports, address, (row) => (row.attempt === plan.attempt ? { ...row, totalBytes } : undefined));
  }
  return written;
}

/** The units of one span of a disk. */
async function planSpan(
  ports: Ports,
  chain: Chain,
  index: number,
  { disk, manifests, audit }: Base,
  damage: ReadonlyMap<number, RegionDamage>,
  span: Span,
): Promise<TransferPlan['units']> {
  const { layout } = ports.settings;
  const stacks = await stacksWithin(chain, manifests, disk.disk, span);
  const changed = await changedRegions(ports, disk, stacks, span);
  const isHere = (region: number): boolean => region >= span.from && region < span.to;
  for (const region of audit.keys()) if (isHere(region)) changed.set(region, changed.get(region) ?? 0);
  for (const [region, { runs }] of damage)
    if (isHere(region)) changed.set(region, (changed.get(region) ?? 0) + blockCount(runs) * BLOCK_BYTES);
  const regions = [...changed]
    .sort(([a], [b]) => a - b)
    .map(([region, bytes]) => ({
      region,
      bytes,
      ...planned(layout, stacks.get(region), damage.get(region)),
      ...(audit.has(region) && { audit: audit.get(region)! }),
    }));
  return groupThin(regions, layout).map((group) => ({
    disk: index,
    slab: group.thin ? group.regions[0]!.region : null,
    regions: group.thin ? group.regions.map((work) => withoutCheckpoint(work, layout)) : [...group.regions],
  }));
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

/** Decides how the disk's changed blocks are found, and says why. `refusal` is what was found out in vain before. */
async function chooseSource(
  ports: Ports,
  own: SetDisk,
  point: PointId,
  { newest: base, anew }: Chained,
  refusal: string | undefined,
): Promise<PlanDisk> {
  const { disk, lun, name, url, createdAt, sizeBytes, snapshot } = own;
  const found = { disk, lun, name, url, createdAt, sizeBytes, snapshot };
  if (base === undefined) {
    const reason = anew ? 'the manifest of an earlier point is lost' : 'the first recovery point of this disk';
    return { ...found, base: null, baseSizeBytes: null, begins: point, source: 'full', since: null, reason };
  }
  const { begins, trust } = base.disk;
  const based = {
    ...found,
    base: base.point,
    ...(begins && { begins }),
    ...(trust && { trust }),
    baseSizeBytes: base.disk.sizeBytes,
  };
  const why = refusal ?? (await whyNotDiff(ports, own, base.disk));
  return why === undefined
    ? { ...based, source: 'diff', since: base.disk.snapshot.id, reason: 'page ranges changed since the base snapshot' }
    : { ...based, source: 'hashes', since: null, reason: why };
}

async function whyNotDiff(ports: Ports, own: SetDisk, base: Manifest['disks'][number]): Promise<string | undefined> {
  if (!isSameLineage(base, own)) return 'the disk was replaced since the base snapshot';
  const { byHashes = 0 } = base.trust ?? {};
  if (byHashes > 0) {
    const further = byHashes === 1 ? '' : `, as will the next ${byHashes - 1}`;
    return `an earlier diff had left changes out; this backup goes by hashes${further}`;
  }
  if (base.snapshot.id >= own.snapshot) return 'the base snapshot is not older than this one';
  const since = { url: own.url, id: base.snapshot.id };
  if ((await ports.snapshots.sizeOf(since)) === undefined) return 'the base snapshot is gone';
  const probe = await ports.snapshots.probeChangeTracking({ url: own.url, id: own.snapshot });
  return probe.usable ? undefined : probe.reason;
}

/**
 * The regions of a span that the transfer has to look at, each with the bytes that the source says it has to look at there. The
 * listing is taken a page at a time and only counted here; each unit asks for its own region again.
 */
async function changedRegions(
  ports: Ports,
  disk: PlanDisk,
  stacks: ReadonlyMap<number, RegionStack>,
  { from, to }: Span,
): Promise<Map<number, number>> {
  const { geometry } = ports.settings;
  const { regionBytes } = geometry;
  const bytes = new Map<number, number>();
  const count = (range: ByteRange): void => addByRegion(bytes, inBlocks(range, disk.sizeBytes), geometry);
  const snapshot = { url: disk.url, id: disk.snapshot };
  const window = { start: from * regionBytes, end: Math.min(to * regionBytes, disk.sizeBytes) };
  if (window.start >= window.end) {
    // Past the disk's end now.
  } else if (disk.source === 'diff' && disk.since !== null) {
    const since = { url: disk.url, id: disk.since };
    for await (const range of ports.snapshots.changed(snapshot, since, window)) count(range);
  } else {
    for await (const range of ports.snapshots.allocated(snapshot, window)) count(range);
  }
  const shrunk = disk.baseSizeBytes !== null && disk.sizeBytes < disk.baseSizeBytes;
  const lastWhole = Math.floor(disk.sizeBytes / regionBytes);
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
