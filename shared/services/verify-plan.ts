import type { JobRow, PointRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import { type Candidate, chooseRegions, isSuspect } from '../domain/findings.ts';
import { type JobId, type PointId, attemptId } from '../domain/ids.ts';
import { regionsIn } from '../domain/units.ts';
import { decodeDocument } from '../format/document.ts';
import { type Manifest, vaultDocument } from '../format/documents.ts';
import { VAULT_NAME, recordName } from '../format/names.ts';
import { type VerifyPlan, verifyPlan } from '../format/verify-plan.ts';
import { Chain } from './chain.ts';
import { type Found, DAMAGE_CODES, checkKey, healFinding, openFindings, placeOf, recordFinding } from './findings.ts';
import { type JobAddress, changeJob, noteAttempt, readJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { readPlan, storePlan } from './plans.ts';
import type { Ports } from './ports.ts';
import { readPoints } from './projection.ts';
import { isOutOfReach } from './remove-snapshots.ts';
import { pin } from './restore.ts';
import { openVault } from './vault-of.ts';
import { beginVerify, endVerify } from './verify-finish.ts';
import { type LiveDisk, type LivePoints, type LiveRegion, liveDisks, livePoints, owned } from './verify-points.ts';
import type { VerifyWork } from './verify-work.ts';

/** Stored bytes that one message reads in depth, or a single layer that is larger. */
const UNIT_BYTES = 512 * 1024 * 1024;
/** What a night reads at least of all that an item has: the whole in some three months. */
const NIGHTLY_SHARE = 0.01;

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
  const noted = await notedPlan(work);
  if (noted !== undefined) return beginVerify(work, address, noted);

  const live = await readLive(work);
  if (live === undefined) return endVerify(work, address, undefined);
  const plan = await makePlan(work, address, live);
  if (!(await noteAttempt(ports, address, plan.attempt, job.attempt, 0))) return;
  await storePlan(container, plan);
  await changeJob(ports, address, (row) =>
    row.status === 'InProgress'
      ? { ...row, totalBytes: plan.units.reduce((sum, { bytes }) => sum + bytes, 0) }
      : undefined,
  );
  await beginVerify(work, address, plan);
}

/** A plan that was noted but, after a crash, not stored has begun nothing: another takes its place. */
async function notedPlan({ container, job }: VerifyWork): Promise<VerifyPlan | undefined> {
  if (job.attempt === undefined) return undefined;
  try {
    return await readPlan(container, job.itemId, job.attempt, verifyPlan);
  } catch (error) {
    if (isBackupError(error, 'VaultObjectMissing')) return undefined;
    throw error;
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

async function makePlan(work: VerifyWork, address: JobAddress, live: LivePoints): Promise<VerifyPlan> {
  const { ports, job } = work;
  const { geometry } = ports.settings;
  const compared = await pinCompared(work, address, live);
  const drilled = live.manifests.find(({ point }) => point === job.verify?.drill?.point);
  const disks: VerifyPlan['disks'] = [];
  const candidates: RegionCandidate[] = [];
  const known = liveDisks(live.manifests);
  for (const own of known.values()) {
    const compare = await snapshotAt(ports, compared, own);
    const index = disks.length;
    disks.push({
      disk: own.disk,
      lun: own.lun,
      name: own.name,
      sizeBytes: own.sizeBytes,
      points: own.points.map(({ point }) => point),
      begins: own.points.map(({ begins }) => begins ?? null),
      compare,
      drill: await snapshotAt(ports, drilled, own),
    });
    const numbers = new Set(own.regions.keys());
    // A region that no layer speaks of is compared too: a source may have left all of it out.
    const sizeBytes = compare?.sizeBytes ?? 0;
    for (let region = 0; region < regionsIn(sizeBytes, geometry); region++) numbers.add(region);
    for (const region of numbers) candidates.push(candidate(index, own, region));
  }
  // Where a manifest is damaged nobody knows which regions there are.
  const chosen = await choose(work, candidates, live.damaged.length === 0 ? known : undefined);
  return {
    format: 1,
    kind: 'verify',
    item: work.item,
    attempt: attemptId(ports.ids.hex(16)),
    job: job.jobId,
    seq: live.record.seq,
    compared: compared?.point ?? null,
    drilled: drilled?.point ?? null,
    disks,
    regions: chosen.map(({ disk, region, bytes, layers, checkpoints }) => ({
      disk,
      region,
      bytes,
      layers: layers.map((own) => owned(own)),
      checkpoints: checkpoints.map(({ attempt }) => attempt),
    })),
    units: [
      ...disks.map((_, disk) => ({ kind: 'inventory' as const, disk, bytes: 0 })),
      ...chosen.flatMap(slices),
      ...disks.flatMap(({ drill }, disk) =>
        Array.from({ length: drill === null ? 0 : regionsIn(drill.sizeBytes, geometry) }, (_, region) => ({
          kind: 'drill' as const,
          disk,
          region,
          bytes: 0,
        })),
      ),
    ],
  };
}

interface RegionCandidate extends Candidate {
  readonly disk: number;
  readonly region: number;
  readonly layers: LiveRegion['layers'];
  readonly checkpoints: LiveRegion['checkpoints'];
}

function candidate(disk: number, own: LiveDisk, region: number): RegionCandidate {
  const { layers, checkpoints } = own.regions.get(region) ?? { layers: [], checkpoints: [] };
  const bytes = layers.reduce((sum, { layer }) => sum + layer.storedBytes, 0);
  return {
    key: checkKey(own.disk, region),
    bytes,
    checkedAt: undefined,
    suspect: false,
    disk,
    region,
    layers,
    checkpoints,
  };
}

/**
 * Chooses what is read in depth. Findings of regions that no live point has any more have healed with them; and when a region was read
 * is forgotten once none of the `known` disks can have it, if they are all.
 */
async function choose(
  { ports, partition, job }: VerifyWork,
  candidates: readonly RegionCandidate[],
  known: ReadonlyMap<string, LiveDisk> | undefined,
): Promise<RegionCandidate[]> {
  const checkedAt = new Map<string, number>();
  const keys = new Set(candidates.map(({ key }) => key));
  for await (const { key, row } of ports.catalog.checks.list(partition)) {
    const { disk, region } = placeOf(key);
    // One that no layer speaks of is read on some nights only.
    const sizeBytes = known?.get(disk)?.sizeBytes ?? 0;
    const isThere = keys.has(key) || region < regionsIn(sizeBytes, ports.settings.geometry);
    if (known === undefined || isThere) checkedAt.set(key, row.checkedAt);
    else await ports.catalog.checks.remove(partition, key);
  }
  const suspect = new Set<string>();
  for (const { key, row } of await openFindings(ports, partition)) {
    if (row.disk === undefined || row.region === undefined) continue;
    const place = checkKey(row.disk, row.region);
    if (keys.has(place)) {
      if (row.kind !== 'stale' && isSuspect(row, ports.clock.now(), job.userTriggered)) suspect.add(place);
      continue;
    }
    await healFinding(ports, partition, key, { since: job.startedAt, by: job.jobId });
  }
  const total = candidates.reduce((sum, { bytes }) => sum + bytes, 0);
  return chooseRegions(
    candidates.map((own) => ({ ...own, checkedAt: checkedAt.get(own.key), suspect: suspect.has(own.key) })),
    budgetOf(job, total, ports.settings.verifyNightlyBytes),
  );
}

function budgetOf({ verify }: JobRow, totalBytes: number, nightlyBytes: number): number {
  if (verify?.deepBytes !== undefined) return verify.deepBytes;
  if (verify?.deepPercent === 100) return Infinity;
  if (verify?.deepPercent !== undefined) return (totalBytes * verify.deepPercent) / 100;
  return nightlyBytes === 0 ? 0 : Math.max(nightlyBytes, totalBytes * NIGHTLY_SHARE);
}

/** A region's layers in units of bounded work. */
function slices({ layers }: RegionCandidate, at: number): VerifyPlan['units'] {
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
