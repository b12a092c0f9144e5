import { createHash } from 'node:crypto';
import type { JobRow, PointRow, SetDisk } from '../catalog/catalog.ts';
import { BackupError } from '../domain/errors.ts';
import { type AttemptId, type JobId, attemptId } from '../domain/ids.ts';
import { addByRegion } from '../domain/changes.ts';
import { nameOf, type RegionStack, stacksOf } from '../domain/point-stack.ts';
import { BLOCK_BYTES, regionRange, SECTOR_BYTES } from '../domain/units.ts';
import { type Manifest, type RestorePlan, restorePlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { type JobAddress, changeJob, noteAttempt, readJob } from './jobs.ts';
import { pointsPartition } from './keys.ts';
import { forEachAtOnce } from './pipeline.ts';
import { notedPlan, storePlan } from './plans.ts';
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
import { openVault } from './vault-of.ts';

const SENDS_IN_FLIGHT = 8;

/** Plans a restore from the tier that the point has now, creates its targets, and sends a message for each region. */
export async function planRestore(
  ports: Ports,
  step: { vault: string; jobId: string; instead?: string | undefined },
): Promise<void> {
  const address: JobAddress = { vault: step.vault, jobId: step.jobId as JobId };
  const job = await readJob(ports, address);
  if (job?.status !== 'InProgress' || job.point === undefined || job.restore === undefined) return;
  if (job.outcome === 'Completed') return sendFinish(ports, address, job.attempt!); // only the handing over is left
  const { container, row: vault } = await openVault(ports, step.vault);
  await pin(ports, address, job.itemKey, job.point);
  if (job.attempt !== undefined && job.attempt !== step.instead) {
    if (step.instead !== undefined) return; // another has planned again already
    const noted = await notedPlan(container, job, restorePlan);
    if (noted !== undefined) return begin(ports, address, noted);
  }

  const partition = pointsPartition(vault.containerName, job.itemId);
  const row = await readPoint(ports, partition, job.point);
  if (row === undefined) throw new BackupError('ResourceNotFound', `recovery point ${job.point} is gone`);
  // A drill tries the vault.
  const tier = job.restore.verifyJob === undefined ? await tierOf(ports, partition, row) : 'vault';
  const whereto: Whereto = { restore: job.restore, location: vault.location, vm: row.set.vm };
  const plan =
    tier === 'snapshot'
      ? await fromSnapshots(ports, job, row, whereto)
      : await fromVault(ports, container, job, whereto);
  if (!(await noteAttempt(ports, address, plan.attempt, job.attempt, 0))) return;
  await storePlan(container, plan);
  await changeJob(ports, address, (now) => ({
    ...now,
    totalBytes: plan.units.reduce((sum, unit) => sum + unit.bytes, 0),
    sources: plan.targets.map(({ lun, name, tier: from }) => ({
      lun,
      name,
      source: from,
      reason: from === 'snapshot' ? 'the point still has its snapshots' : 'the point is in the vault',
    })),
  }));
  await begin(ports, address, plan);
}

async function begin(ports: Ports, { vault, jobId }: JobAddress, plan: RestorePlan): Promise<void> {
  await forEachAtOnce(plan.targets, TARGETS_AT_ONCE, (target) => createTarget(ports, target, jobId));
  const { attempt } = plan;
  const job = await readJob(ports, { vault, jobId });
  if (job === undefined || hasFailed(job)) return discardTargets(ports, plan); // what it had made when it failed is gone already
  await forEachAtOnce(plan.units.keys(), SENDS_IN_FLIGHT, (unit) =>
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

async function fromSnapshots(ports: Ports, job: JobRow, row: PointRow, whereto: Whereto): Promise<RestorePlan> {
  const wanted = row.set.disks.filter(({ lun }) => isWanted(lun, job.restore?.luns));
  const units: RestorePlan['units'] = [];
  const forms: Form[] = [];
  for (const [target, disk] of wanted.entries()) {
    const bytes = new Map<number, number>();
    const snapshot = { url: disk.url, id: disk.snapshot };
    const form = await formOf(disk, whereto, () =>
      ports.snapshots.read(snapshot, { start: disk.sizeBytes - SECTOR_BYTES, end: disk.sizeBytes }),
    );
    forms.push(form);
    for await (const range of ports.snapshots.allocated(snapshot, { start: 0, end: form.sizeBytes })) {
      addByRegion(bytes, range, ports.settings.geometry);
    }
    for (const [region, size] of bytes) units.push({ target, region, bytes: size, stack: [] });
  }
  const source = (disk: SetDisk): RestorePlan['targets'][number]['source'] => ({ url: disk.url, id: disk.snapshot });
  return planOf(
    ports,
    job,
    wanted.map((disk, i) => ({ ...disk, tier: 'snapshot', source: source(disk), form: forms[i]! })),
    units,
  );
}

async function fromVault(ports: Ports, container: VaultContainer, job: JobRow, whereto: Whereto): Promise<RestorePlan> {
  const chain = new Chain(container, job.itemId);
  const record = await chain.newest();
  if (!record.points.some(({ point }) => point === job.point)) {
    throw new BackupError('ResourceNotFound', `recovery point ${job.point} is no longer in the vault`);
  }
  const manifests = await chain.history(record, job.point!);
  const wanted = manifests.at(-1)!.disks.filter(({ lun }) => isWanted(lun, job.restore?.luns));
  const units: RestorePlan['units'] = [];
  const forms: Form[] = [];
  for (const [target, found] of wanted.entries()) {
    const { disk } = found;
    const stored = storedBytes(manifests, disk);
    const stacks = stacksOf(disk, manifests);
    const form = await formOf(found, whereto, () => lastSectorOf(ports, container, job, found, stacks));
    forms.push(form);
    const { sizeBytes } = form;
    for (const [region, { layers, checkpoint }] of [...stacks].sort(([a], [b]) => a - b)) {
      const window = regionRange(region, sizeBytes, ports.settings.geometry);
      if (window.start === window.end) continue;
      const bytes = Math.min(stored.get(region) ?? 0, window.end - window.start);
      units.push({ target, region, bytes, stack: layers.map(nameOf), checkpoint });
    }
  }
  return planOf(
    ports,
    job,
    wanted.map((disk, i) => ({ ...disk, tier: 'vault', source: null, form: forms[i]! })),
    units,
  );
}

/** How much each region of a disk may hold at most, by the counts of its layers. */
function storedBytes(manifests: readonly Manifest[], disk: string): Map<number, number> {
  const bytes = new Map<number, number>();
  for (const own of manifests.flatMap(({ disks }) => disks.filter((each) => each.disk === disk))) {
    for (const { region, layers } of own.regions) {
      const blocks = layers.reduce((sum, layer) => sum + layer.dataBlocks, 0);
      bytes.set(region, (bytes.get(region) ?? 0) + blocks * BLOCK_BYTES);
    }
  }
  return bytes;
}

/** The last sector of a page blob at the point, which may be a VHD's footer. */
async function lastSectorOf(
  ports: Ports,
  container: VaultContainer,
  job: JobRow,
  { disk, sizeBytes }: Pick<SetDisk, 'disk' | 'sizeBytes'>,
  stacks: ReadonlyMap<number, RegionStack>,
): Promise<Uint8Array> {
  const { regionBytes } = ports.settings.geometry;
  const region = Math.floor((sizeBytes - 1) / regionBytes);
  const { layers, checkpoint } = stacks.get(region) ?? { layers: [] };
  const at = { item: job.itemId, disk, region, blocks: regionBytes / BLOCK_BYTES };
  const entry = { stack: layers.map(nameOf), checkpoint };
  return lastSectorInVault(container, at, sizeBytes, region * regionBytes, entry);
}

type Form = Awaited<ReturnType<typeof formOf>>;
type TargetDisk = Pick<RestorePlan['targets'][number], 'disk' | 'lun' | 'name' | 'tier' | 'source'> & {
  readonly form: Form;
};

function planOf(ports: Ports, job: JobRow, disks: readonly TargetDisk[], units: RestorePlan['units']): RestorePlan {
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
    units,
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
