import type { ItemRow, PointRow } from '../catalog/catalog.ts';
import type { Versioned } from '../catalog/catalog-table.ts';
import type { ReportRow } from '../catalog/report-row.ts';
import { BackupError, ERROR_TABLE, isBackupError } from '../domain/errors.ts';
import { type ItemId, type JobId, type PointId, attemptId, itemId } from '../domain/ids.ts';
import type { ChainRecord, Manifest, RecordPoint } from '../format/documents.ts';
import { Chain } from './chain.ts';
import { releaseEnded } from './end-job.ts';
import { inTheWay } from './holders.ts';
import { type JobAddress, describeError, readJob } from './jobs.ts';
import { itemKey, pointsPartition } from './keys.ts';
import { inOrder } from './pipeline.ts';
import type { Ports } from './ports.ts';
import { project, readPoints } from './projection.ts';
import { isReported, report } from './reports.ts';
import { itemRowOf, snapshotPointRow, urlsOf, vaultPointRow } from './rebuild-rows.ts';
import { findSnapshots, snapshotOnly } from './rebuild-snapshots.ts';
import type { PointSnapshot } from './snapshot-tags.ts';
import { EVERY_DISK, latestUrls, unlistedUrls } from './url-list.ts';
import { openVault } from './vault-of.ts';
import { failJob } from './watch.ts';

/*
 * An item is rebuilt from its folder in the vault's container, and from the snapshots that say that they are its own.
 *
 * First a record is committed that stops the item and changes nothing else. So whatever handler of the time before is still
 * asleep finds its record taken when it wakes, and cannot commit what the rebuild has not seen; and no merge begins, since merges take
 * the item's state from the record that they build on. Only then are rows written: the points first, the item last, so
 * that an item which can be seen has its points.
 *
 * Which of the snapshots are recovery points that the vault does not have: rebuild-snapshots.ts.
 */

const READS_IN_FLIGHT = 16;

type RebuildStep = { readonly vault: string; readonly jobId: string; readonly item: string };

/**
 * One step of a rebuild: the rows of one item. It does nothing once its job has ended or has the item in its report. What is
 * damaged ends in the report; passing trouble is thrown, and `atLast`, when the queue has given the step up, snapshots that cannot be
 * listed are gone without.
 */
export async function rebuildItem(ports: Ports, step: RebuildStep, atLast: boolean): Promise<void> {
  const job: JobAddress = { vault: step.vault, jobId: step.jobId as JobId };
  const isWanted = async (): Promise<boolean> =>
    (await readJob(ports, job))?.status === 'InProgress' && !(await isReported(ports, job, step.item));
  if (!(await isWanted())) return;
  let entry: ReportRow | undefined;
  try {
    entry = await rebuild(ports, job, itemId(step.item), isWanted, atLast);
  } catch (error) {
    const isPassing = !isBackupError(error) || ERROR_TABLE[error.code].retry;
    if (isPassing && (!atLast || isBackupError(error, 'StorageUnavailable'))) throw error;
    const { code, message } = describeError(error, ports);
    entry = { subject: step.item, outcome: 'Failed', text: `${code}: ${message}`, details: { code, item: step.item } };
  }
  if (entry !== undefined) await report(ports, job, step.item, entry);
}

/** Undefined when the step turns out to be wanted no more. */
async function rebuild(
  ports: Ports,
  job: JobAddress,
  item: ItemId,
  isWanted: () => Promise<boolean>,
  atLast: boolean,
): Promise<ReportRow | undefined> {
  const { container, row: vault } = await openVault(ports, job.vault);
  const partition = pointsPartition(vault.containerName, item);
  const chain = new Chain(container, item);
  const { vm, points: live } = await chain.newest();
  const key = itemKey(vm.resourceGroup, vm.name);
  const standing = (await ports.catalog.items.get(job.vault, key))?.row;
  const givesWay = (other: ItemRow): Promise<boolean> => hasNothing(ports, job.vault, vault.containerName, other);
  const isOther = standing !== undefined && standing.itemId !== item;
  const empty: ReportRow = {
    subject: vm.name,
    outcome: 'Empty',
    text: 'it has no recovery point in the vault',
    details: { item },
  };
  if (isOther && !(await givesWay(standing))) return live.length === 0 ? empty : conflict(vm.name, item, standing);

  const known = new Set((await readPoints(ports, partition)).map(({ point }) => point));
  await endJobs(ports, job.vault, item);
  const record = await stopInChain(ports, job, chain, isWanted);
  if (record === undefined) return undefined;

  const { manifests, damaged } = await readManifests(chain, record);
  const before = await withoutSnapshots(ports, partition);
  const urls = urlsKnown(manifests, standing);
  const { snapshots, unlisted } = await findSnapshots(ports, vault.containerName, record, urls, atLast);
  const sets = await snapshotOnly(ports, job.vault, chain, record, snapshots);
  const points = await pointRows(ports, record, manifests, snapshots, sets);

  for (const row of points) await insertPoint(ports, partition, row);
  const added = points.filter(({ point }) => !known.has(point)).length;
  for (const row of points) await putBackSnapshots(ports, partition, row, before.get(row.point));
  if (damaged.size === 0) await project(ports, partition, chain, record);
  const rows = await readPoints(ports, partition);
  const isEmpty = rows.length + damaged.size + unlisted.length === 0;
  if (isEmpty && isOther) return empty;
  const ids = [...record.points.map(({ point }) => point), ...snapshots.map(({ point }) => point)].sort();
  const rebuilt = itemRowOf(record, rows, ids.at(-1), ports.clock.now());
  // Where a run has left snapshots that are no point's, the sweep has to look.
  const others = snapshots.map(({ url }) => url).filter((url) => !rebuilt.disks.some((disk) => disk.url === url));
  const formerUrls = latestUrls([...(rebuilt.formerUrls ?? []), ...others], Infinity);
  const row = { ...rebuilt, formerUrls, unlistedUrls: unlistedUrls(unlisted) };
  const other = await putItem(ports, job.vault, key, row, isWanted, givesWay);
  if (other !== undefined) return conflict(vm.name, item, other);
  await releaseEnded(ports, job.vault, key);
  if (isEmpty && standing === undefined) return empty;
  return entryOf(vm.name, item, rows, added, damaged, unlisted);
}

/** Ends what is running and would write to the item's chain. Restores go on: they only read. */
async function endJobs(ports: Ports, vault: string, item: ItemId): Promise<void> {
  for await (const { key } of ports.catalog.openJobs.list(vault)) {
    const address: JobAddress = { vault, jobId: key as JobId };
    const row = await readJob(ports, address);
    if (row?.itemId !== item || !['Backup', 'Merge', 'Compact'].includes(row.operation)) continue;
    await failJob(ports, address, new BackupError('JobEndedByRebuild', 'the catalog of the vault was rebuilt'));
  }
}

/** Commits the record that stops the item; undefined when the step is wanted no more. A rerun finds its own. */
async function stopInChain(
  ports: Ports,
  job: JobAddress,
  chain: Chain,
  isWanted: () => Promise<boolean>,
): Promise<ChainRecord | undefined> {
  for (;;) {
    const newest = await chain.newest();
    if (newest.kind === 'rebuild' && newest.job === job.jobId) return newest;
    if (!(await isWanted())) return undefined;
    const { won, record } = await chain.append(newest, {
      kind: 'rebuild',
      attempt: attemptId(ports.ids.hex(16)),
      job: job.jobId,
      writtenAt: new Date(ports.clock.now()).toISOString(),
      state: 'stopped',
    });
    if (won) return record;
  }
}

interface Read {
  readonly entry: RecordPoint;
  readonly manifest: Manifest;
}

/** The manifests of the record's points, and what is wrong with those that cannot be read. */
async function readManifests(
  chain: Chain,
  record: ChainRecord,
): Promise<{ manifests: Read[]; damaged: Map<PointId, string> }> {
  const manifests: Read[] = [];
  const damaged = new Map<PointId, string>();
  const read = async (entry: RecordPoint): Promise<void> => {
    try {
      manifests.push({ entry, manifest: await chain.manifest(entry) });
    } catch (error) {
      if (!isBackupError(error, 'DocumentCorrupt', 'VaultObjectMissing', 'FormatUnsupported')) throw error;
      damaged.set(entry.point, `${error.code}: ${error.message}`);
    }
  };
  for await (const _ of inOrder(record.points, READS_IN_FLIGHT, read)) void _;
  manifests.sort((a, b) => (a.entry.point < b.entry.point ? -1 : 1));
  return { manifests, damaged };
}

/** The disks that the item is known to have had. */
function urlsKnown(manifests: readonly Read[], standing: ItemRow | undefined): string[] {
  return [
    ...urlsOf(manifests.map(({ manifest }) => manifest)),
    ...(standing?.disks ?? []).map(({ url }) => url),
    ...(standing?.formerUrls ?? []),
    ...(standing?.unlistedUrls ?? []).filter((url) => url !== EVERY_DISK),
  ];
}

/** All rows that the item is to have, in snapshot order. */
async function pointRows(
  ports: Ports,
  record: ChainRecord,
  manifests: readonly Read[],
  snapshots: readonly PointSnapshot[],
  sets: readonly PointSnapshot[][],
): Promise<PointRow[]> {
  const rows = manifests.map(({ entry, manifest }) => vaultPointRow(record, entry, manifest, snapshots));
  for (const set of sets) {
    const sizes = await Promise.all(set.map((snapshot) => ports.snapshots.sizeOf(snapshot)));
    if (sizes.every((size) => size !== undefined)) rows.push(snapshotPointRow(record.item, set, sizes));
  }
  return rows.sort((a, b) => (a.point < b.point ? -1 : 1));
}

async function insertPoint(ports: Ports, partition: string, row: PointRow): Promise<void> {
  try {
    await ports.catalog.points.insert(partition, row.point, row);
  } catch (error) {
    if (!isBackupError(error, 'RowAlreadyExists')) throw error;
  }
}

/** The rows of points that are not in the snapshot tier, as they are before the snapshots are listed. */
async function withoutSnapshots(ports: Ports, partition: string): Promise<Map<PointId, Versioned<PointRow>>> {
  const rows = new Map<PointId, Versioned<PointRow>>();
  for await (const { row, etag } of ports.catalog.points.list(partition))
    if (row.instant !== 'Valid') rows.set(row.point, { row, etag });
  return rows;
}

/**
 * Puts a point back into the snapshot tier, where an earlier rebuild could not list its snapshots and took them for gone. Retention
 * takes the snapshots before it says so on the row: under the ETag of a time before they were listed what was found is there.
 */
async function putBackSnapshots(
  ports: Ports,
  partition: string,
  found: PointRow,
  before: Versioned<PointRow> | undefined,
): Promise<void> {
  if (before === undefined || found.instant !== 'Valid' || before.row.set.attempt !== found.set.attempt) return;
  try {
    await ports.catalog.points.replace(partition, found.point, { ...before.row, instant: 'Valid' }, before.etag);
  } catch (error) {
    if (!isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw error;
  }
}

/** Inserts the item's row, or stops the one that is there; answers the row of another item that stands in its place. */
async function putItem(
  ports: Ports,
  vault: string,
  key: string,
  row: ItemRow,
  isWanted: () => Promise<boolean>,
  givesWay: (other: ItemRow) => Promise<boolean>,
): Promise<ItemRow | undefined> {
  for (;;) {
    const found = await ports.catalog.items.get(vault, key);
    const isOther = found !== undefined && found.row.itemId !== row.itemId;
    if (isOther && !(await givesWay(found.row))) return found.row;
    if (!(await isWanted())) return undefined;
    try {
      if (found === undefined) await ports.catalog.items.insert(vault, key, row);
      else await ports.catalog.items.replace(vault, key, isOther ? row : stopped(found.row, row), found.etag);
      return undefined;
    } catch (error) {
      if (!isBackupError(error, 'RowAlreadyExists', 'EtagMismatch', 'RowNotFound')) throw error;
    }
  }
}

/**
 * Whether an item has no recovery point and makes none: the VM was protected anew after the loss, or two requests to protect it have
 * met. It gives its place to the one that has.
 */
async function hasNothing(ports: Ports, vault: string, containerName: string, other: ItemRow): Promise<boolean> {
  if ((await inTheWay(ports, vault, other)) !== 'nobody') return false;
  if ((await readPoints(ports, pointsPartition(containerName, other.itemId))).length > 0) return false;
  const chain = new Chain(await ports.vaults.open(containerName), other.itemId);
  return (await chain.newest()).points.length === 0;
}

/** A row that was not lost knows more than the container does. */
function stopped(standing: ItemRow, { lastPoint, unlistedUrls: unlisted, ...rebuilt }: ItemRow): ItemRow {
  const newest = [standing.lastPoint, lastPoint]
    .filter((point) => point !== undefined)
    .sort()
    .at(-1);
  return {
    ...standing,
    policyName: '',
    protectionState: 'ProtectionStopped',
    lastPoint: newest,
    disks: standing.disks.length === 0 ? rebuilt.disks : standing.disks,
    unlistedUrls: unlisted,
  };
}

function conflict(vmName: string, item: ItemId, standing: ItemRow): ReportRow {
  const text = `${vmName} is item ${standing.itemId} of this vault by now: the points of item ${item} stay in the container, and cannot be listed beside`;
  return { subject: vmName, outcome: 'Conflict', text, details: { item, standing: standing.itemId } };
}

function entryOf(
  vmName: string,
  item: ItemId,
  rows: readonly PointRow[],
  added: number,
  damaged: ReadonlyMap<PointId, string>,
  unlisted: readonly string[],
): ReportRow {
  const inVault = rows.filter(({ vault }) => vault === 'Valid').length;
  const inSnapshots = rows.filter(({ instant }) => instant === 'Valid').length;
  const problems = [
    ...[...damaged].map(([point, why]) => `recovery point ${point} is not back: ${why}`),
    ...unlisted.map((url) => `the snapshots of ${url} could not be listed: rebuild again when they can`),
  ];
  const counts = `${rows.length} recovery points, ${inVault} of them in the vault, ${inSnapshots} in the snapshot tier; ${added} were missing`;
  return {
    subject: vmName,
    outcome: problems.length === 0 ? 'Rebuilt' : 'Incomplete',
    text: [counts, ...problems].join('; ').slice(0, 8_000),
    details: { item, points: rows.length, inVault, inSnapshots, added, problems: problems.slice(0, 50) },
  };
}
