import type { JobRow, PointRow } from '../shared/catalog/catalog.ts';
import type { JobId } from '../shared/domain/ids.ts';
import { startBackup } from '../shared/services/backup.ts';
import { readJob } from '../shared/services/jobs.ts';
import { itemKey, pointsPartition, vaultKey } from '../shared/services/keys.ts';
import { startMerge } from '../shared/services/merge.ts';
import { putPolicy } from '../shared/services/policies.ts';
import { readPoints } from '../shared/services/projection.ts';
import { protect } from '../shared/services/protection.ts';
import { startRestore } from '../shared/services/restore.ts';
import { runStep } from '../shared/services/run-step.ts';
import { openVault, readItem } from '../shared/services/vault-of.ts';
import { putVault } from '../shared/services/vaults.ts';
import type { BusyTimes } from './busy.ts';
import { BENCH_VM, type Lab, RESTORE_ACCOUNT, WIDE_VM } from './lab.ts';
import { type Cost, measured } from './meter.ts';
import type { Measurement } from './options.ts';

const HOUR_MS = 3_600_000;
export const VAULT = vaultKey({ subscriptionId: BENCH_VM.subscriptionId, resourceGroup: 'bench', vault: 'v1' });
const ITEM = itemKey(BENCH_VM.resourceGroup, BENCH_VM.name);
export const WIDE_ITEM = itemKey(WIDE_VM.resourceGroup, WIDE_VM.name);

/** One of the services' jobs from start to end. */
export interface Measured<Name extends string = Measurement> {
  readonly name: Name;
  readonly cost: Cost;
  /** How long at least one call of a kind was under way. */
  readonly busy: Readonly<Record<string, BusyTimes>>;
  readonly steps: number;
  /** Of a backup: seconds from its request until its point was there to be restored from. */
  readonly visibleSeconds: number | undefined;
  /** Seconds that delayed messages would still have waited when nothing else was left to do. Not in the time. */
  readonly leftOutSeconds: number;
  /** What the vault's container grew by; negative after a merge. */
  readonly storedBytes: number;
  /** Objects of the vault's container: those that have come, those that have gone, those that there are. */
  readonly objects: { readonly added: number; readonly removed: number; readonly left: number };
  /** Where the job says that its bytes came from: full, diff, hashes; snapshot, vault. */
  readonly source: string;
  /** The container that a restore made. */
  readonly restoredTo: string | undefined;
}

/** A vault with both VMs protected. */
export async function prepareVault({ ports, machine, wide }: Lab): Promise<void> {
  const address = { subscriptionId: BENCH_VM.subscriptionId, resourceGroup: 'bench', vault: 'v1' };
  await putVault(ports, address, { location: 'westeurope', skuName: 'Standard', tags: {}, properties: {} });
  const rules = { minuteOfDay: 60, zone: 'UTC', dailyRetentionDays: 7, instantRetentionDays: 2 };
  await putPolicy(ports, VAULT, 'nightly', {}, rules);
  for (const { id, resourceGroup, name } of [machine, wide])
    await protect(ports, VAULT, { resourceId: id, resourceGroup, vmName: name }, 'nightly');
}

/** Backs up on demand; a point kept for `hours` can be merged after that, by the lab's clock. */
export function backup<Name extends string>(
  lab: Lab,
  name: Name,
  hours: number,
  item: string = ITEM,
): Promise<Measured<Name>> {
  const retainUntil = lab.ports.clock.now() + hours * HOUR_MS;
  return job(lab, name, () => startBackup(lab.ports, VAULT, item, { kind: 'onDemand', retainUntil }));
}

export function restore<Name extends string>(lab: Lab, name: Name, point: PointRow): Promise<Measured<Name>> {
  return job(lab, name, () => startRestore(lab.ports, VAULT, ITEM, point.point, { accountId: RESTORE_ACCOUNT }));
}

/** Merges an expired point into the next one, deletes included. */
export function merge<Name extends string>(lab: Lab, name: Name, point: PointRow): Promise<Measured<Name>> {
  return job(lab, name, async () => {
    if (!(await startMerge(lab.ports, VAULT, ITEM, point.point)))
      throw new Error(`point ${point.point} cannot be merged now`);
    return (await readItem(lab.ports, VAULT, ITEM)).row.mergeJob!;
  });
}

export async function points(lab: Lab): Promise<PointRow[]> {
  const { row: vault } = await openVault(lab.ports, VAULT);
  const { row: item } = await readItem(lab.ports, VAULT, ITEM);
  return readPoints(lab.ports, pointsPartition(vault.containerName, item.itemId));
}

/** Deletes a point's snapshots behind the services' back, so that it can only come from the vault. */
export async function deleteSnapshots({ ports }: Lab, point: PointRow): Promise<void> {
  for (const { url, snapshot } of point.set.disks) await ports.snapshots.remove({ url, id: snapshot });
}

async function job<Name extends string>(lab: Lab, name: Name, start: () => Promise<JobId>): Promise<Measured<Name>> {
  const before = await vaultBlobs(lab);
  lab.busy.take();
  const { cost, result } = await measured(lab.server, async () => {
    const startedAt = performance.now();
    const id = await start();
    let visibleSeconds: number | undefined;
    const drained = await lab.queue.drain(async (step) => {
      await runStep(lab.ports, step);
      if (step.step === 'take-snapshot') visibleSeconds = (performance.now() - startedAt) / 1_000;
    });
    return { id, visibleSeconds, ...drained };
  });
  const row = await readJob(lab.ports, { vault: VAULT, jobId: result.id });
  assertCompleted(name, row);
  const after = await vaultBlobs(lab);
  return {
    name,
    cost,
    busy: lab.busy.take(),
    steps: result.steps,
    visibleSeconds: result.visibleSeconds,
    leftOutSeconds: result.skippedWaitMs / 1_000,
    storedBytes: bytesIn(after) - bytesIn(before),
    objects: {
      added: [...after.keys()].filter((blob) => !before.has(blob)).length,
      removed: [...before.keys()].filter((blob) => !after.has(blob)).length,
      left: after.size,
    },
    source: [...new Set(row.sources.map(({ source }) => source))].join(', '),
    restoredTo: row.restore?.containerUrl.split('/').at(-1),
  };
}

function assertCompleted(name: string, row: JobRow | undefined): asserts row is JobRow {
  if (row?.status === 'Completed') return;
  const why = row?.errors.map(({ code, message }) => `${code}: ${message}`).join('; ');
  throw new Error(`${name} ended as ${row?.status ?? 'no job at all'}${why ? `: ${why}` : ''}`);
}

/** Everything in the vault's container, by name. */
async function vaultBlobs(lab: Lab): Promise<Map<string, number>> {
  const { row } = await openVault(lab.ports, VAULT);
  const blobs = new Map<string, number>();
  for await (const { name, properties } of lab.vault(row.containerName).listBlobsFlat())
    blobs.set(name, properties.contentLength ?? 0);
  return blobs;
}

const bytesIn = (blobs: ReadonlyMap<string, number>): number => [...blobs.values()].reduce((sum, own) => sum + own, 0);
