import type { Versioned } from '../catalog/catalog-table.ts';
import type { JobRow, SetDisk, SnapshotSet } from '../catalog/catalog.ts';
import { type BackupError, isBackupError } from '../domain/errors.ts';
import { type AttemptId, type DiskId, type PointId, attemptId } from '../domain/ids.ts';
import { AUDIT_REQUESTS, type AuditRun } from '../domain/audit.ts';
import { addByRegion, inBlocks } from '../domain/changes.ts';
import { blockCount } from '../domain/extent.ts';
import type { Layout } from '../domain/layout.ts';
import { type RegionStack, chainOf, nameOf } from '../domain/point-stack.ts';
import { groupThin } from '../domain/thin-regions.ts';
import { BLOCK_BYTES, type ByteRange, REGION_BYTES, regionsIn } from '../domain/units.ts';
import type { ChainRecord, CountedLayer, Manifest, PlanDisk, TransferPlan } from '../format/documents.ts';
import { manifestPrefix } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { Chain } from './chain.ts';
import { type RegionDamage, damageOf, openFindings } from './findings.ts';
import { type JobAddress, changeJob, noteAttempt } from './jobs.ts';
import { ahead, inOrder } from './pipeline.ts';
import { planAudit } from './plan-audit.ts';
import { PART_SPANS, type PlanKind, PlanWriter } from './plan-writer.ts';
import type { Ports } from './ports.ts';
import { type Chained, chooseSource } from './choose-source.ts';
import { readPoints } from './projection.ts';
import { type Span, spansOf, stacksWithin } from './spans.ts';

/** Spans that are listed at once where manifests have parts, each of which is read for each of them; and where all is at hand. */
const SPANS_IN_FLIGHT = 4;
const WHOLE_IN_FLIGHT = 16;
const DISKS_IN_FLIGHT = 16;

/** Transfer plans, as they are written. */
const TRANSFER: PlanKind<TransferPlan> = {
  join: (one, next) => ({ ...one, units: [...one.units, ...next.units] }),
  weight: ({ units }) =>
    units.reduce((sum, { regions }) => regions.reduce((own, { stack }) => own + 1 + stack.length, sum), 0),
  bytes: ({ units }) => units.reduce((sum, { regions }) => regions.reduce((own, { bytes }) => own + bytes, sum), 0),
};

/** What the sources say has to be looked at. */
export const bytesOf = (plan: TransferPlan): number =>
  plan.parts?.reduce((sum, { bytes }) => sum + bytes, 0) ?? TRANSFER.bytes(plan);

/** A plan, and the row of the job on which it has been noted. */
export interface Noted {
  attempt: AttemptId | undefined;
  job: Versioned<JobRow> | undefined;
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
 * that it cannot compare two snapshots, or has found it when a unit of an earlier plan asked, the disk goes by hashes; where a part of a
 * manifest is lost, its chain begins anew: either way the plan is made once more, under another attempt. A small plan of which `isKept`
 * says no is the caller's to store.
 */
export async function makeTransferPlan(
  ports: Ports,
  address: JobAddress,
  planning: Planning,
  noted: Noted,
  isKept: (plan: TransferPlan) => boolean,
): Promise<TransferPlan | undefined> {
  const { chain, record, job, set, point } = planning;
  const findings = ahead(openFindings(ports, planning.partition));
  const live = await seenFrom(ports, planning, findings);
  if (live.lost.length > 0) await throwIfMoved(chain, record, live.lost[0]!.error);
  const incomparable = new Map<DiskId, string>(job.incomparable?.map(({ disk, reason }) => [disk, reason]));
  const lost = new Set<DiskId>();
  for (;;) {
    try {
      const bases: Base[] = [];
      const based = async (own: SetDisk): Promise<Base> => {
        const base = baseOf(own, live, lost.has(own.disk));
        const disk = await chooseSource(ports, own, point, base, incomparable.get(own.disk));
        const known = orUnusable(disk, knownFrom(ports, chain, base.manifests, disk));
        const { disk: audited, regions } = await orUnusable(disk, planAudit(ports, disk, await known));
        return { ...base, disk: audited, audit: regions };
      };
      for await (const { result } of inOrder(set.disks, DISKS_IN_FLIGHT, based)) bases.push(result);
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
      return await writePlan(ports, address, planning, plan, bases, noted, await findings, isKept);
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

/** From so many live points on a listing of their rows is less than their manifests. */
const MANY_POINTS = 3;

/**
 * The manifests that a plan is made on. After quiet nights most name no layer, and a view is the same without them: those are left out
 * which their points' rows say so of. A row says it of the manifest that it was taken from, which never changes; of a point that has
 * another manifest by now, or no row, the manifest is read. So is one that is not there, or known to be damaged: a restore reads them all, and
 * must not meet it first. The newest tells what its disks are based on; where it lacks one all are read.
 */
async function seenFrom(
  ports: Ports,
  { container, chain, record, partition, set }: Planning,
  findings: ReturnType<typeof openFindings>,
): Promise<Live> {
  if (record.points.length < MANY_POINTS) return chain.readable(record);
  const rows = await readPoints(ports, partition);
  const damaged = new Set((await findings).map(({ row }) => row.object));
  const empty = new Set(
    rows.flatMap(({ manifest, dataBlocks, clearedBlocks }) =>
      manifest !== undefined && dataBlocks + clearedBlocks === 0 && !damaged.has(manifest) ? [manifest] : [],
    ),
  );
  const gone = new Set(empty);
  if (empty.size > 0) for await (const { name } of container.list(manifestPrefix(chain.item))) gone.delete(name);
  for (const name of gone) empty.delete(name);
  const newest = record.points.at(-1);
  const live = await chain.readable(record, undefined, (own) => own === newest || !empty.has(own.manifest));
  const last = live.manifests.at(-1);
  const hasAll =
    last?.point === newest?.point && set.disks.every(({ disk }) => last?.disks.some((own) => own.disk === disk));
  return hasAll ? live : chain.readable(record);
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
  noted: Noted,
  findings: Awaited<ReturnType<typeof openFindings>>,
  isKept: (plan: TransferPlan) => boolean,
): Promise<TransferPlan | undefined> {
  const { layout } = ports.settings;
  const writer = new PlanWriter<TransferPlan>(
    container,
    TRANSFER,
    PART_SPANS * layout.spanRegions,
    async (totalBytes) => {
      const sources = plan.disks.map(({ lun, name, source, reason }) => ({ lun, name, source, reason }));
      const told = { totalBytes, sources, churn: undefined };
      const job = await noteAttempt(ports, address, plan.attempt, noted.attempt, record.seq, told, noted.job);
      if (job === undefined) return false;
      Object.assign(noted, { attempt: plan.attempt, job });
      return true;
    },
  );
  const work: { index: number; span: Span; damage: ReadonlyMap<number, RegionDamage> }[] = [];
  for (const [index, own] of plan.disks.entries()) {
    const { manifests, anew, audit } = bases[index]!;
    const damage = anew ? new Map<number, RegionDamage>() : await damageOf(ports, partition, own.disk, findings);
    const count = Math.ceil(regionsIn(own.sizeBytes, ports.settings.geometry) / layout.spanRegions);
    const ofDisk = Array.from({ length: count }, (_, i) => i * layout.spanRegions);
    for (const span of spansOf(own.disk, manifests, layout, [...ofDisk, ...damage.keys(), ...audit.keys()]))
      work.push({ index, span, damage });
  }
  const hasParts = bases.some(({ manifests }) => manifests.some(({ disks }) => disks.some(({ parts }) => parts)));
  const inFlight = hasParts ? SPANS_IN_FLIGHT : WHOLE_IN_FLIGHT;
  for await (const { result: units } of inOrder(work, inFlight, ({ index, span, damage }) =>
    orUnusable(plan.disks[index]!, planSpan(ports, chain, index, bases[index]!, damage, span)),
  ))
    if (units.length > 0 && !(await writer.add({ ...plan, units }))) return undefined;
  const written = await writer.finish(plan, isKept);
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
