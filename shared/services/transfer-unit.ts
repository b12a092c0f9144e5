import { type ChurnCount, churnText, noChurn } from '../domain/churn.ts';
import { type BackupError, isBackupError } from '../domain/errors.ts';
import { type DiskId, type RunId, runId } from '../domain/ids.ts';
import { stackDigest } from '../domain/point-stack.ts';
import { BLOCK_BYTES } from '../domain/units.ts';
import { checkpointOf, encodeCheckpoint } from '../format/checkpoint.ts';
import { type TransferPlan, transferPlan } from '../format/documents.ts';
import { type LayerKey, checkpointName } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { DamagedRegion, inRegion } from './damaged-region.ts';
import { recordFailure } from './findings.ts';
import { type JobAddress, changeJob, readJob } from './jobs.ts';
import { PackSink, RegionWriter, SlabWriter, putOnce, storeLayer } from './layer-writer.ts';
import { blobOf, readKnown } from './layers.ts';
import type { Source } from './changed-blocks.ts';
import { newestStacks } from './newest-stacks.ts';
import { type OpenPlan, openUnit } from './open-plan.ts';
import type { Ports } from './ports.ts';
import { SharedListings, windowsOf } from './shared-listings.ts';
import { withSlabRanges } from './slab-ranges.ts';
import { type Missed, recordStalePoints } from './stale-points.ts';
import { type UnitObject, objectName } from './unit-objects.ts';
import { type Probing, stillWanted, UnitUnwanted } from './still-wanted.ts';
import { writeRegion } from './write-region.ts';

/**
 * A job whose plans come to nothing again and again gives up: each has healed what the one before has met. Those do not count that were
 * made because a diff was refused: there is one of them for a disk, which goes by hashes from then on.
 */
const MOST_PLANS = 20;

type Unit = TransferPlan['units'][number];
type Region = Unit['regions'][number];

/** What a unit of a transfer writes. */
export const transferObject = (plan: TransferPlan, { disk, slab, regions }: Unit): UnitObject => ({
  item: plan.item,
  attempt: plan.attempt,
  disk: plan.disks[disk]!.disk,
  point: plan.point,
  slab,
  regions: regions.map(({ region }) => region),
});

/**
 * One unit of a transfer: a region becomes a layer, or several thin ones a slab. Safe to run again, late, or beside its twin: the
 * object is the unit's one, the first one stands, and pack names carry this run's nonce.
 */
export async function transferUnit(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; unit: number },
): Promise<void> {
  const open = await openUnit(ports, step, transferPlan);
  if (open === undefined) return;
  const { address, job, container, plan, unit, partition } = open;
  if ((await container.stat(objectName(transferObject(plan, unit)))) !== undefined) return;

  const run = runId(ports.ids.hex(8));
  const planAgain = async (cause: BackupError): Promise<void> => {
    const refused = (await readJob(ports, address))?.incomparable?.length ?? 0;
    if (job.attempts.length >= MOST_PLANS + refused) throw cause;
    await ports.queue.send({ step: 'plan-transfer', v: 1, ...address, instead: step.attempt });
  };
  const probing = { ...ports, stillWanted: stillWanted(ports, address, step.attempt) };
  try {
    await writeUnit(probing, open, unit, run);
  } catch (error) {
    if (error instanceof UnitUnwanted) return;
    if (isBackupError(error, 'ChangeTrackingUnusable')) {
      // The base snapshot went after the plan was made; or the provider takes back for a region what it has answered for the disk.
      await noteIncomparable(ports, address, plan.disks[unit.disk]!.disk, error);
      return planAgain(error);
    }
    if (!(error instanceof DamagedRegion)) throw error;
    const moved = await atNewestRecord(container, plan, unit);
    if (moved === undefined) return; // the base was merged away: the coordinator plans again
    if (moved.regions.every(({ stack }, i) => stackDigest(stack) === stackDigest(unit.regions[i]!.stack))) {
      // Nothing has moved, so this is damage: it is noted, and the next plan writes the region again.
      const disk = plan.disks[unit.disk]!;
      const at = disk.base === null ? {} : { point: disk.base, newest: disk.base };
      for (const region of alsoIn(plan, unit, error))
        await recordFailure(ports, partition, error.cause, { disk, region, ...at });
      return planAgain(error.cause);
    }
    try {
      await writeUnit(probing, open, moved, run);
    } catch (again) {
      if (again instanceof UnitUnwanted) return;
      // A plan on the newest record meets the damage under a record that has not moved, and notes it.
      if (!(again instanceof DamagedRegion)) throw again;
      return planAgain(again.cause);
    }
  }
}

/** From its next plan on the job goes by hashes for this disk, and says why. */
async function noteIncomparable(
  ports: Ports,
  address: JobAddress,
  disk: DiskId,
  { message }: BackupError,
): Promise<void> {
  await changeJob(ports, address, (row) =>
    row.status !== 'InProgress' || row.incomparable?.some((known) => known.disk === disk) === true
      ? undefined
      : { ...row, incomparable: [...(row.incomparable ?? []), { disk, reason: message.slice(0, MOST_REASON) }] },
  );
}

/** Characters of a reason that a row keeps: it may have one for each of 64 disks. */
const MOST_REASON = 400;

/** The regions that the damage concerns: with a slab that is gone, all that have a layer in it. */
function alsoIn(plan: TransferPlan, unit: Unit, { region, cause }: DamagedRegion): number[] {
  const { disk } = plan.disks[unit.disk]!;
  const inIt = unit.regions.filter((own) =>
    own.stack.some((layer) => blobOf({ item: plan.item, disk, region: own.region }, layer) === cause.target),
  );
  const gone = cause.code === 'VaultObjectMissing' ? inIt.map((own) => own.region) : [];
  return [...new Set([region, ...gone])];
}

/**
 * Writes a unit's object; answers what is told beside it. With `leaveOutEmpty` a unit in which nothing has changed writes none: that is for who
 * commits the plan himself, since a coordinator waits for the objects of all units.
 */
export async function writeUnit(
  ports: Ports & Probing,
  { container, plan, partition }: Pick<OpenPlan<TransferPlan>, 'container' | 'plan' | 'partition'>,
  unit: Unit,
  run: RunId,
  leaveOutEmpty = false,
): Promise<{ summary: Record<string, string>; isStored: boolean }> {
  const keyOf = ({ region }: Region): LayerKey => ({
    item: plan.item,
    disk: plan.disks[unit.disk]!.disk,
    point: plan.point,
    region,
    attempt: plan.attempt,
  });
  const wanted = unit.regions.flatMap((region) => region.stack.map((layer) => ({ at: keyOf(region), layer })));
  const slabs = withSlabRanges(container, wanted, { frames: false });
  const churn = noChurn();
  const from = ports.clock.now();
  const waiting = async <T>(work: Promise<T>): Promise<T> => {
    const since = ports.clock.now();
    try {
      return await work;
    } finally {
      churn.vaultMs += ports.clock.now() - since;
    }
  };
  const source = sourceOf(ports, plan, unit);
  // It stands beside the unit's object, so the time of storing that is not in it.
  const told = (): Record<string, string> => {
    churn.requests -= source.saved();
    churn.elapsedMs = ports.clock.now() - from;
    return { churn: churnText(churn) };
  };
  const fill = (region: Region, writer: RegionWriter): Promise<void> =>
    fillRegion(
      { ...ports, snapshots: source.snapshots },
      slabs,
      plan.disks[unit.disk]!,
      keyOf(region),
      region,
      writer,
      { churn, waiting, onMissed: (missed) => recordStalePoints(ports, container, partition, plan, missed) },
    );
  if (unit.slab === null) {
    const only = unit.regions[0]!;
    const sink = new PackSink(container, keyOf(only), run, waiting);
    const writer = new RegionWriter(sink, ports.frameEncoder?.());
    await fill(only, writer);
    if (leaveOutEmpty && writer.isEmpty) return { summary: told(), isStored: false };
    const columns = await writer.finish();
    const packs = await sink.close();
    const summary = told();
    await storeLayer(container, keyOf(only), { ...columns, packs }, summary);
    return { summary, isStored: true };
  } else {
    const slab = new SlabWriter(objectName(transferObject(plan, unit)), ports.frameEncoder?.());
    for (const region of unit.regions) await slab.region(keyOf(region), (writer) => fill(region, writer));
    const summary = told();
    if (leaveOutEmpty && slab.isEmpty) return { summary, isStored: false };
    await slab.store(container, summary);
    return { summary, isStored: true };
  }
}

/**
 * The disk's snapshot as a unit asks it: what has changed in several regions is listed once. `saved`: how many listings that has spared.
 * The audit asks for blocks of its own, and what lies between the unit's regions may be full of data there.
 */
function sourceOf({ snapshots, settings }: Ports, plan: TransferPlan, unit: Unit) {
  const disk = plan.disks[unit.disk]!;
  const regions = unit.regions.map(({ region }) => region);
  const planned = new Set(
    plan.units.filter((own) => own.disk === unit.disk).flatMap((own) => own.regions.map(({ region }) => region)),
  );
  const windows = windowsOf(regions, planned, disk.sizeBytes, settings.geometry);
  const { since } = disk;
  const snapshot = { url: disk.url, id: disk.snapshot };
  const read: Source['read'] = snapshots.read.bind(snapshots);
  const readLong: Source['readLong'] = snapshots.readLong.bind(snapshots);
  if (disk.source === 'diff' && since !== null) {
    const changed = new SharedListings(
      (window) => snapshots.changed(snapshot, { url: disk.url, id: since }, window),
      windows,
    );
    const source: Source = {
      read,
      readLong,
      allocated: snapshots.allocated.bind(snapshots),
      changed: (_, __, window) => changed.within(window),
    };
    return { snapshots: source, saved: () => changed.saved };
  }
  const allocated = new SharedListings((window) => snapshots.allocated(snapshot, window), windows);
  const source: Source = {
    read,
    readLong,
    allocated: (_, window) => allocated.within(window),
    changed: snapshots.changed.bind(snapshots),
  };
  return { snapshots: source, saved: () => allocated.saved };
}

/** Writes what has changed in a region since its base, and a checkpoint of the base where the plan wants one. */
async function fillRegion(
  ports: Parameters<typeof writeRegion>[0],
  container: VaultContainer,
  disk: TransferPlan['disks'][number],
  key: LayerKey,
  work: Region,
  writer: RegionWriter,
  told: {
    churn: ChurnCount;
    waiting: <T>(work: Promise<T>) => Promise<T>;
    onMissed: (missed: Missed) => Promise<void>;
  },
): Promise<void> {
  const { stack, checkpoint, heal, writeCheckpoint } = work;
  const blocks = ports.settings.geometry.regionBytes / BLOCK_BYTES;
  const base = await told.waiting(
    inRegion(key, () => readKnown(container, { ...key, blocks }, heal === 'all' ? [] : stack, checkpoint)),
  );
  const runs = await writeRegion(ports, disk, work, base, writer, told.churn);
  // Before there is an object: a twin that finds it does nothing more.
  if (runs.length > 0) await told.onMissed({ disk, region: work.region, runs, stack, base: base.extents });
  if (!writeCheckpoint || writer.isEmpty) return;
  const name = checkpointName(key.item, key.disk, key.region, key.attempt);
  const bytes = encodeCheckpoint(name, checkpointOf(stack, base));
  await putOnce(container, name, bytes, { depth: `${stack.length}`, stack: stackDigest(stack) });
}

/** The unit with its stacks as the newest record has them at the disk's base; undefined when that is live no more. */
async function atNewestRecord(container: VaultContainer, plan: TransferPlan, unit: Unit): Promise<Unit | undefined> {
  const { disk, base } = plan.disks[unit.disk]!;
  const regions = unit.regions.map(({ region }) => region);
  const stacks = base === null ? undefined : await newestStacks(container, plan.item, disk, base, regions);
  return (
    stacks && {
      ...unit,
      regions: unit.regions.map((region): Region => {
        const { layers, checkpoint } = stacks.get(region.region) ?? { layers: [] };
        return { ...region, stack: [...layers], checkpoint };
      }),
    }
  );
}
