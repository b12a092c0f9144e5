import { createHash } from 'node:crypto';
import type { JobRow, PointRow } from '../catalog/catalog.ts';
import { BackupError } from '../domain/errors.ts';
import { type AttemptId, type JobId, attemptId } from '../domain/ids.ts';
import { addByRegion, inBlocks } from '../domain/changes.ts';
import type { Layout } from '../domain/layout.ts';
import { nameOf } from '../domain/point-stack.ts';
import { groupForRestore } from '../domain/thin-regions.ts';
import { BLOCK_BYTES, regionRange, SECTOR_BYTES } from '../domain/units.ts';
import {
  type ChainRecord,
  type Manifest,
  type ManifestDisk,
  type RestorePlan,
  restorePlan,
} from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { describe } from './finish-restore.ts';
import { type JobAddress, changeJob, noteAttempt, readJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { ahead, forEachAtOnce } from './pipeline.ts';
import { PART_SPANS, type PlanKind, PlanWriter } from './plan-writer.ts';
import { notedPlan, unitCount } from './plans.ts';
import type { Ports } from './ports.ts';
import { readPoint } from './projection.ts';
import { isWanted, pin, tierOf } from './restore.ts';
import {
  createTarget,
  formOf,
  lastSectorInVault,
  managedPlace,
  TARGETS_AT_ONCE,
  type Whereto,
} from './restored-form.ts';
import { discardTargets } from './restore-leftovers.ts';
import { spansOf, stacksWithin } from './spans.ts';
import type { Noted } from './transfer-plan.ts';
import { openVault } from './vault-of.ts';

const SENDS_IN_FLIGHT = 8;

/** Plans a restore from the tier that the point has now, creates its targets, and sends a message for each unit. */
export async function planRestore(
  ports: Ports,
  step: { vault: string; jobId: string; instead?: string | undefined },
): Promise<void> {
  const address: JobAddress = { vault: step.vault, jobId: step.jobId as JobId };
  const vaultSoon = ahead(openVault(ports, step.vault));
  const seen = await ports.catalog.jobs.get(address.vault, address.jobId);
  const job = seen?.row;
  if (job?.status !== 'InProgress' || job.point === undefined || job.restore === undefined) return;
  if (job.outcome === 'Completed') return sendFinish(ports, address, job.attempt!); // only the handing over is left
  const { container, row: vault } = await vaultSoon;
  const partition = pointsPartition(vault.containerName, job.itemId);
  const rowSoon = ahead(readPoint(ports, partition, job.point));
  await pin(ports, address, job.itemKey, job.point);
  if (job.attempt !== undefined && job.attempt !== step.instead) {
    if (step.instead !== undefined) return; // another has planned again already
    const noted = await notedPlan(container, job, restorePlan);
    if (noted !== undefined) return begin(ports, address, job, noted);
  }

  const row = await rowSoon;
  if (row === undefined) throw new BackupError('ResourceNotFound', `recovery point ${job.point} is gone`);
  // A drill tries the vault.
  const tier = job.restore.verifyJob === undefined ? await tierOf(ports, partition, row) : 'vault';
  const noted: Noted = { attempt: job.attempt, job: seen };
  const write = (pieces: Pieces): Promise<RestorePlan | undefined> =>
    writePlan(ports, address, container, pieces, noted);
  const chain = new Chain(container, job.itemId);
  const whereto: Whereto = { restore: job.restore, location: vault.location, vm: row.set.vm };
  const plan =
    tier === 'snapshot'
      ? await write(await fromSnapshots(ports, job, row, whereto))
      : await chain.onNewest(async (record) => write(await fromVault(ports, container, chain, record, job, whereto)));
  if (plan === undefined) return;
  // Of a plan in parts it was not known yet when it was noted.
  if (plan.parts !== undefined)
    await changeJob(ports, address, (now) => ({ ...now, totalBytes: restoredBytes(plan) }), noted.job);
  await begin(ports, address, job, plan);
}

async function begin(
  ports: Ports,
  { vault, jobId }: JobAddress,
  { bag, restore }: JobRow,
  plan: RestorePlan,
): Promise<void> {
  // Where no disk goes there, nobody would notice before the end that the account cannot be written to. Under a name of its own: a run
  // that comes late must not write over what has been written down at the end.
  if (restore?.verifyJob === undefined && plan.targets.every(({ managed }) => managed !== undefined))
    await ports.targets.putText(
      bag['Config Blob Uri']!.replace(/\/config-([^/]*)$/, '/begun-$1'),
      describe({ ...plan, targets: [] }, bag),
    );
  await forEachAtOnce(plan.targets, TARGETS_AT_ONCE, (target) => createTarget(ports, target, jobId));
  const { attempt } = plan;
  const job = await readJob(ports, { vault, jobId });
  if (job === undefined || hasFailed(job)) return discardTargets(ports, plan); // what it had made when it failed is gone already
  await forEachAtOnce(Array(unitCount(plan)).keys(), SENDS_IN_FLIGHT, (unit) =>
    ports.queue.send({ step: 'restore-unit', v: 1, vault, jobId, attempt, unit }),
  );
  await sendFinish(ports, { vault, jobId }, attempt);
}

function sendFinish(ports: Ports, { vault, jobId }: JobAddress, attempt: AttemptId): Promise<void> {
  return ports.queue.send({ step: 'finish-restore', v: 1, vault, jobId, attempt, round: 0 });
}

/** Its disks have been taken away, or will be. */
const hasFailed = ({ outcome, restore }: JobRow): boolean =>
  outcome !== undefined && (outcome !== 'Completed' || restore?.verifyJob !== undefined);

/** Restore plans, as they are written. */
const RESTORE: PlanKind<RestorePlan> = {
  join: (one, next) => ({ ...one, units: [...one.units, ...next.units] }),
  weight: ({ units }) =>
    units.reduce((sum, { regions }) => regions.reduce((own, { stack }) => own + 1 + stack.length, sum), 0),
  bytes: ({ units }) => units.reduce((sum, { bytes }) => sum + bytes, 0),
};

/** What a restore has to write at most. */
const restoredBytes = (plan: RestorePlan): number =>
  plan.parts?.reduce((sum, { bytes }) => sum + bytes, 0) ?? RESTORE.bytes(plan);

/** A plan without its units, and these span by span. */
interface Pieces {
  readonly plan: RestorePlan;
  readonly units: AsyncIterable<RestorePlan['units']>;
}

/** Stores a plan, once its attempt stands on the job; undefined when another run's does. */
async function writePlan(
  ports: Ports,
  address: JobAddress,
  container: VaultContainer,
  { plan, units: pieces }: Pieces,
  noted: Noted,
): Promise<RestorePlan | undefined> {
  const mostWeight = PART_SPANS * ports.settings.layout.spanRegions;
  const writer = new PlanWriter<RestorePlan>(container, RESTORE, mostWeight, async (totalBytes) => {
    const sources = plan.targets.map(({ lun, name, tier: from }) => ({
      lun,
      name,
      source: from,
      reason: from === 'snapshot' ? 'the point still has its snapshots' : 'the point is in the vault',
    }));
    const told = { totalBytes, sources };
    const job = await noteAttempt(ports, address, plan.attempt, noted.attempt, 0, told, noted.job);
    if (job === undefined) return false;
    Object.assign(noted, { attempt: plan.attempt, job });
    return true;
  });
  for await (const units of pieces) if (units.length > 0 && !(await writer.add({ ...plan, units }))) return undefined;
  return writer.finish(plan);
}

async function fromSnapshots(ports: Ports, job: JobRow, row: PointRow, whereto: Whereto): Promise<Pieces> {
  const wanted = row.set.disks.filter(({ lun }) => isWanted(lun, job.restore?.luns));
  const disks: TargetDisk[] = [];
  for (const own of wanted) {
    const { disk, lun, name, url, snapshot, sizeBytes } = own;
    const source = { url, id: snapshot };
    const form = await formOf(own, whereto, () =>
      ports.snapshots.read(source, { start: sizeBytes - SECTOR_BYTES, end: sizeBytes }),
    );
    disks.push({ disk, lun, name, tier: 'snapshot', source, form });
  }
  return { plan: planOf(ports, job, disks), units: snapshotUnits(ports, disks) };
}

async function* snapshotUnits(ports: Ports, disks: readonly TargetDisk[]): AsyncGenerator<RestorePlan['units']> {
  const { geometry, layout } = ports.settings;
  const spanBytes = layout.spanRegions * geometry.regionBytes;
  for (const [target, { source, form }] of disks.entries()) {
    for (let start = 0; start < form.sizeBytes; start += spanBytes) {
      const window = { start, end: Math.min(start + spanBytes, form.sizeBytes) };
      const bytes = new Map<number, number>();
      for await (const range of ports.snapshots.allocated(source!, window))
        addByRegion(bytes, inBlocks(range, form.sizeBytes), geometry);
      const regions = [...bytes].map(([region, size]) => ({ region, bytes: size, stack: [] }));
      yield unitsOf(layout, target, regions);
    }
  }
}

async function fromVault(
  ports: Ports,
  container: VaultContainer,
  chain: Chain,
  record: ChainRecord,
  job: JobRow,
  whereto: Whereto,
): Promise<Pieces> {
  if (!record.points.some(({ point }) => point === job.point)) {
    throw new BackupError('ResourceNotFound', `recovery point ${job.point} is no longer in the vault`);
  }
  const manifests = await chain.history(record, job.point!);
  const wanted = manifests.at(-1)!.disks.filter(({ lun }) => isWanted(lun, job.restore?.luns));
  const disks: TargetDisk[] = [];
  for (const own of wanted) {
    const { disk, lun, name } = own;
    const form = await formOf(own, whereto, () => lastSectorOf(ports, container, chain, manifests, own));
    disks.push({ disk, lun, name, tier: 'vault', source: null, form });
  }
  return { plan: planOf(ports, job, disks), units: vaultUnits(ports, chain, manifests, disks) };
}

async function* vaultUnits(
  ports: Ports,
  chain: Chain,
  manifests: readonly Manifest[],
  disks: readonly TargetDisk[],
): AsyncGenerator<RestorePlan['units']> {
  const { geometry, layout } = ports.settings;
  for (const [target, { disk, form }] of disks.entries()) {
    for (const span of spansOf(disk, manifests, layout)) {
      const regions: RegionToRestore[] = [];
      for (const [region, { layers, checkpoint }] of await stacksWithin(chain, manifests, disk, span)) {
        const window = regionRange(region, form.sizeBytes, geometry);
        if (window.start === window.end) continue;
        const most = layers.reduce((sum, { dataBlocks }) => sum + dataBlocks * BLOCK_BYTES, 0);
        const bytes = Math.min(most, window.end - window.start);
        regions.push({ region, bytes, stack: layers.map(nameOf), checkpoint });
      }
      yield unitsOf(layout, target, regions);
    }
  }
}

type RegionToRestore = RestorePlan['units'][number]['regions'][number] & { readonly bytes: number };

/** The units of some regions of a span. */
function unitsOf(layout: Layout, target: number, regions: readonly RegionToRestore[]): RestorePlan['units'] {
  const ascending = regions.toSorted((a, b) => a.region - b.region);
  return groupForRestore(ascending, layout).map((group) => ({
    target,
    bytes: group.reduce((sum, { bytes }) => sum + bytes, 0),
    regions: group.map(({ region, stack, checkpoint }) => ({ region, stack, checkpoint })),
  }));
}

/** The last sector of a page blob at the point, which may be a VHD's footer. */
async function lastSectorOf(
  ports: Ports,
  container: VaultContainer,
  chain: Chain,
  manifests: readonly Manifest[],
  { disk, sizeBytes }: Pick<ManifestDisk, 'disk' | 'sizeBytes'>,
): Promise<Uint8Array> {
  const { regionBytes } = ports.settings.geometry;
  const region = Math.floor((sizeBytes - 1) / regionBytes);
  const stacks = await stacksWithin(chain, manifests, disk, { from: region, to: region + 1 });
  const { layers, checkpoint } = stacks.get(region) ?? { layers: [] };
  const at = { item: chain.item, disk, region, blocks: regionBytes / BLOCK_BYTES };
  const entry = { stack: layers.map(nameOf), checkpoint };
  return lastSectorInVault(container, at, sizeBytes, region * regionBytes, entry);
}

type Form = Awaited<ReturnType<typeof formOf>>;
type TargetDisk = Pick<RestorePlan['targets'][number], 'disk' | 'lun' | 'name' | 'tier' | 'source'> & {
  readonly form: Form;
};

function planOf(ports: Ports, job: JobRow, disks: readonly TargetDisk[]): RestorePlan {
  const names = new Set<string>();
  return {
    format: 1,
    kind: 'restore',
    item: job.itemId,
    attempt: attemptId(ports.ids.hex(16)),
    job: job.jobId,
    point: job.point!,
    targets: disks.map(({ disk, lun, name, tier, source, form }) => {
      const { containerUrl, managed } = job.restore!;
      const url =
        form.managed === undefined
          ? `${containerUrl}/${blobName(name, lun, names)}`
          : managedPlace(managed!.groupId, job.jobId, name, lun);
      return { disk, lun, name, url, leaseId: leaseOf(job, url), ...form, tier, source };
    }),
    units: [],
  };
}

/** The blob of a restored disk: the disk's own name, made fit for a URL, with the LUN where two would be alike. */
function blobName(name: string, lun: number, taken: Set<string>): string {
  const plain = name.replace(/\.vhd$/i, '').replaceAll(/[^A-Za-z0-9._-]+/g, '-') || 'disk';
  const chosen = taken.has(plain.toLowerCase()) ? `${plain}-lun${lun}` : plain;
  taken.add(chosen.toLowerCase());
  return `${chosen}.vhd`;
}

/** The lease of a target is its job's, whatever plan of the job comes to make it: a GUID that follows from both. */
function leaseOf(job: JobRow, url: string): string {
  const hex = createHash('sha256').update(`${job.jobId} ${url}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}
