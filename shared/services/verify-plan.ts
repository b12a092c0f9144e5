import type { PointRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import { type AttemptId, type JobId, type PointId, attemptId } from '../domain/ids.ts';
import { regionsIn } from '../domain/units.ts';
import { decodeDocument } from '../format/document.ts';
import { type Manifest, vaultDocument } from '../format/documents.ts';
import { VAULT_NAME, recordName } from '../format/names.ts';
import { type VerifyPlan, verifyPlan } from '../format/verify-plan.ts';
import { Chain } from './chain.ts';
import { type Found, DAMAGE_CODES, recordFinding } from './findings.ts';
import { type JobAddress, changeJob, noteAttempt, readJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { PART_SPANS, type PlanKind, PlanWriter } from './plan-writer.ts';
import { notedPlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { readPoints } from './projection.ts';
import { isOutOfReach } from './remove-snapshots.ts';
import { pin } from './restore.ts';
import { spansOf, within } from './spans.ts';
import { openVault } from './vault-of.ts';
import { chooseDeep } from './verify-choice.ts';
import { beginVerify, endVerify } from './verify-finish.ts';
import { inventoryParts } from './verify-inventory.ts';
import { type LiveDisk, type LivePoints, type LiveRegion, liveDisks, livePoints, owned } from './verify-points.ts';
import type { VerifyWork } from './verify-work.ts';

/** Stored bytes that one message reads in depth, or a single layer that is larger. */
const UNIT_BYTES = 512 * 1024 * 1024;
/** How often a plan is begun anew because commits go on replacing what it is made on. */
const MOST_TRIES = 3;

/** Plans a verification on the newest record, and sends a message for each unit. */
export async function planVerify(ports: Ports, step: { vault: string; jobId: string }): Promise<void> {
  const address: JobAddress = { vault: step.vault, jobId: step.jobId as JobId };
  const job = await readJob(ports, address);
  if (job?.status !== 'InProgress' || job.verify === undefined) return;
  const { container, row: vault } = await openVault(ports, step.vault);
  const work: VerifyWork = {
    ports,
    container,
    chain: new Chain(container, job.itemId),
    item: job.itemId,
    partition: pointsPartition(vault.containerName, job.itemId),
    job,
  };
  const noted = await notedPlan(container, job, verifyPlan);
  if (noted !== undefined) return beginVerify(work, address, noted);

  const noting = { attempt: job.attempt };
  for (let tries = 1; ; tries++) {
    const live = await readLive(work);
    if (live === undefined) return endVerify(work, address, undefined);
    let plan: VerifyPlan | undefined;
    try {
      plan = await makePlan(work, address, live, noting);
    } catch (error) {
      // A part of a manifest that has been read before is gone, since a commit has replaced it: the newest record says what is now.
      if (isBackupError(error, 'VaultObjectMissing', 'DocumentCorrupt') && tries < MOST_TRIES) continue;
      throw error;
    }
    return plan && beginVerify(work, address, plan);
  }
}

/** The live points, with what is wrong with the documents that name them recorded. Undefined: without the newest record nothing is known. */
async function readLive(work: VerifyWork): Promise<LivePoints | undefined> {
  const { ports, container, chain, partition, job } = work;
  const record = (found: Found): Promise<void> => recordFinding(ports, partition, found, job.jobId);
  const rows = await readPoints(ports, partition);
  let live: LivePoints;
  try {
    live = await livePoints(chain);
  } catch (error) {
    if (!isBackupError(error, ...DAMAGE_CODES) || error.target === undefined) throw error;
    await record({ ...document(error.target, error), points: vaultPoints(rows) });
    return undefined;
  }
  // Rows say which record they were taken from: a later one than the newest that is there has been deleted.
  const seq = Math.max(0, ...rows.map((row) => row.seq));
  if (seq > live.record.seq && (await chain.newest()).seq < seq) {
    const object = recordName(work.item, seq);
    const message = `chain record ${seq} is gone: recovery points were taken from it, and the newest that is there is ${live.record.seq}`;
    const points = vaultPoints(rows.filter((row) => row.seq > live.record.seq));
    await record({ ...document(object, { code: 'VaultObjectMissing', message }), points });
    return undefined;
  }
  for (const found of live.damaged) await record(found);
  try {
    decodeDocument(VAULT_NAME, await container.readWhole(VAULT_NAME), vaultDocument);
  } catch (error) {
    if (!isBackupError(error, 'BlobNotFound', ...DAMAGE_CODES)) throw error;
    await record(document(VAULT_NAME, error));
  }
  return live;
}

function document(object: string, { code, message }: { code: string; message: string }): Found {
  return { kind: 'document', object, code, message, runs: [], points: [] };
}

const vaultPoints = (rows: readonly PointRow[]): PointId[] =>
  rows.filter(({ vault }) => vault === 'Valid').map(({ point }) => point);

/** Verify plans, as they are written. */
const VERIFY: PlanKind<VerifyPlan> = {
  join: (one, next) => ({
    ...one,
    regions: [...one.regions, ...next.regions],
    units: [
      ...one.units,
      ...next.units.map((unit) => (unit.kind === 'region' ? { ...unit, at: unit.at + one.regions.length } : unit)),
    ],
  }),
  weight: ({ regions, units }) => regions.reduce((sum, { layers }) => sum + 1 + layers.length, units.length),
  bytes: ({ units }) => units.reduce((sum, { bytes }) => sum + bytes, 0),
};

/** Makes the plan span by span and stores it, once its attempt stands on the job; undefined when another run's does. */
async function makePlan(
  work: VerifyWork,
  address: JobAddress,
  live: LivePoints,
  noting: { attempt: AttemptId | undefined },
): Promise<VerifyPlan | undefined> {
  const { ports, container, chain, job } = work;
  const { geometry, layout } = ports.settings;
  const compared = await pinCompared(work, address, live);
  const drilled = live.manifests.find(({ point }) => point === job.verify?.drill?.point);
  const known = [...liveDisks(live.manifests).values()];
  const disks: VerifyPlan['disks'] = [];
  for (const own of known) {
    disks.push({
      disk: own.disk,
      lun: own.lun,
      name: own.name,
      sizeBytes: own.sizeBytes,
      points: own.points.map(({ point }) => point),
      begins: own.points.map(({ begins }) => begins ?? null),
      compare: await snapshotAt(ports, compared, own),
      drill: await snapshotAt(ports, drilled, own),
    });
  }
  const chosen = await chooseDeep(
    work,
    live,
    known.map((own, index) => ({ live: own, comparedBytes: disks[index]!.compare?.sizeBytes ?? 0 })),
  );
  const plan: VerifyPlan = {
    format: 1,
    kind: 'verify',
    item: work.item,
    attempt: attemptId(ports.ids.hex(16)),
    job: job.jobId,
    seq: live.record.seq,
    compared: compared?.point ?? null,
    drilled: drilled?.point ?? null,
    disks,
    regions: [],
    units: [],
  };
  const writer = new PlanWriter<VerifyPlan>(container, VERIFY, PART_SPANS * layout.spanRegions, async () => {
    if (!(await noteAttempt(ports, address, plan.attempt, noting.attempt, 0))) return false;
    noting.attempt = plan.attempt;
    return true;
  });
  for (const [disk, own] of known.entries()) {
    const inventories = inventoryParts(own, live.manifests, ports.settings);
    const units = inventories.map((regions) => ({ kind: 'inventory' as const, disk, regions, bytes: 0 }));
    if (!(await writer.add({ ...plan, units }))) return undefined;
  }
  for (const [disk, own] of known.entries()) {
    const numbers = chosen.get(own.disk)!;
    for (const span of spansOf(own.disk, live.manifests, layout, numbers)) {
      const inSpan = numbers.filter((region) => region >= span.from && region < span.to);
      if (inSpan.length === 0) continue;
      const seen = liveDisks(await within(chain, live.manifests, own.disk, span), own.disk).get(own.disk)!;
      if (!(await writer.add({ ...plan, ...readDeep(disk, seen, inSpan) }))) return undefined;
    }
  }
  for (const [disk, { drill }] of disks.entries()) {
    const regions = regionsIn(drill?.sizeBytes ?? 0, geometry);
    for (let from = 0; from < regions; from += layout.spanRegions) {
      const count = Math.min(layout.spanRegions, regions - from);
      const units = Array.from({ length: count }, (_, i) => ({
        kind: 'drill' as const,
        disk,
        region: from + i,
        bytes: 0,
      }));
      if (!(await writer.add({ ...plan, units }))) return undefined;
    }
  }
  const stored = await writer.finish(plan);
  if (stored !== undefined)
    await changeJob(ports, address, (row) =>
      row.status === 'InProgress'
        ? { ...row, totalBytes: stored.parts?.reduce((sum, { bytes }) => sum + bytes, 0) ?? VERIFY.bytes(stored) }
        : undefined,
    );
  return stored;
}

/** Regions of a disk to be read in depth, and the units that do so. */
function readDeep(
  disk: number,
  { regions }: LiveDisk,
  numbers: readonly number[],
): Pick<VerifyPlan, 'regions' | 'units'> {
  const deep = numbers.map((region) => {
    const { layers, checkpoints } = regions.get(region) ?? { layers: [], checkpoints: [] };
    const bytes = layers.reduce((sum, { layer }) => sum + layer.storedBytes, 0);
    return { region, bytes, layers, checkpoints };
  });
  return {
    regions: deep.map(({ region, bytes, layers, checkpoints }) => ({
      disk,
      region,
      bytes,
      layers: layers.map((own) => owned(own)),
      checkpoints: checkpoints.map(({ attempt }) => attempt),
    })),
    units: deep.flatMap(slices),
  };
}

/** A region's layers in units of bounded work. */
function slices({ layers }: Pick<LiveRegion, 'layers'>, at: number): VerifyPlan['units'] {
  const units: { kind: 'region'; at: number; from: number; layers: number; bytes: number }[] = [];
  for (const [index, { layer }] of layers.entries()) {
    const last = units.at(-1);
    if (last !== undefined && last.bytes + layer.storedBytes <= UNIT_BYTES) {
      last.layers++;
      last.bytes += layer.storedBytes;
    } else {
      units.push({ kind: 'region', at, from: index, layers: 1, bytes: layer.storedBytes });
    }
  }
  return units.length > 0 ? units : [{ kind: 'region', at, from: 0, layers: 0, bytes: 0 }];
}

/** The newest point that is in both tiers, pinned so that its snapshots stay; none where a manifest that it needs is damaged. */
async function pinCompared(work: VerifyWork, address: JobAddress, live: LivePoints): Promise<Manifest | undefined> {
  const rows = await readPoints(work.ports, work.partition);
  const inBoth = new Set(
    rows.filter((row) => row.instant === 'Valid' && row.vault === 'Valid').map(({ point }) => point),
  );
  const unknown = new Set(live.damaged.flatMap(({ points }) => points));
  const newest = live.manifests.findLast(({ point }) => inBoth.has(point) && !unknown.has(point));
  if (newest === undefined) return undefined;
  try {
    await pin(work.ports, address, work.job.itemKey, newest.point);
    return newest;
  } catch (error) {
    if (isBackupError(error, 'UserErrorRecoveryPointLeaving')) return undefined;
    throw error;
  }
}

/** The snapshot that a manifest names for a disk, if it is still there and in reach: without it the vault alone is verified. */
async function snapshotAt(
  ports: Ports,
  manifest: Manifest | undefined,
  { disk }: LiveDisk,
): Promise<{ url: string; id: string; sizeBytes: number } | null> {
  const own = manifest?.disks.find((each) => each.disk === disk);
  if (own === undefined) return null;
  const snapshot = { url: own.url, id: own.snapshot.id };
  try {
    return (await ports.snapshots.sizeOf(snapshot)) === undefined ? null : { ...snapshot, sizeBytes: own.sizeBytes };
  } catch (error) {
    if (!isOutOfReach(error)) throw error;
    ports.log(`disk ${own.name} is not compared with snapshot ${snapshot.id}: ${error.message}`);
    return null;
  }
}
