import { createHash } from 'node:crypto';
import type { FindingRow } from '../catalog/finding-row.ts';
import { without } from '../domain/changes.ts';
import { type BackupError, isBackupError } from '../domain/errors.ts';
import { type BlockRun, normalise } from '../domain/extent.ts';
import { type FindingKind, capRuns, uncapRuns } from '../domain/findings.ts';
import type { DiskId, ItemId, JobId, PointId } from '../domain/ids.ts';
import { chainOf } from '../domain/point-stack.ts';
import { BLOCK_BYTES } from '../domain/units.ts';
import type { LayerRef, Manifest } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { type RegionOf, readLayerMap } from './layers.ts';
import type { Ports } from './ports.ts';
import { regionsOf } from './spans.ts';

/*
 * What is known to be wrong in a vault: one row for each object and region. Whoever meets damage records it; verify looks at the
 * region again, says exactly which blocks and points are touched, and notes when it has gone. The next backup asks what of it
 * the newest point still shows, and writes that again.
 */

/** A disk of an item, as findings name it. */
export interface NamedDisk {
  readonly disk: DiskId;
  readonly lun?: number | undefined;
  readonly name?: string | undefined;
}

/** What somebody has seen. */
export interface Found {
  readonly kind: FindingKind;
  /** The damaged blob; of a view the snapshot. */
  readonly object: string;
  readonly code: string;
  readonly message: string;
  readonly disk?: NamedDisk | undefined;
  readonly region?: number | undefined;
  /** Blocks of the region. */
  readonly runs: readonly BlockRun[];
  /** Live points whose restore is touched, oldest first. */
  readonly points: readonly PointId[];
  /** The newest vault point that includes the disk; or an earlier one, where the layers of all points after it lie above the damage. */
  readonly newest?: PointId | undefined;
}

/** A message may be long, and a row's property has an end. */
const MOST_MESSAGE_CHARS = 1000;
/** Points that a row lists: 20 characters each as JSON. */
const MOST_POINTS = 1500;

const regionKey = (region: number | undefined): string => (region === undefined ? '-' : `${region}`.padStart(6, '0'));

/** The key of a region's findings, without the part that tells them apart. */
const findingPrefix = (disk: string | undefined, region: number | undefined): string =>
  `${disk ?? '-'}|${regionKey(region)}|`;

/** The key of a region's check. */
export const checkKey = (disk: string, region: number): string => `${disk}|${regionKey(region)}`;

/** The region that a check's key names. */
export function placeOf(key: string): { disk: string; region: number } {
  const [disk = '', region] = key.split('|');
  return { disk, region: Number(region) };
}

function keyOf({ kind, object, disk, region }: Pick<Found, 'kind' | 'object' | 'disk' | 'region'>): string {
  const digest = createHash('sha256').update(`${kind}\n${object}`).digest('hex').slice(0, 32);
  return `${findingPrefix(disk?.disk, region)}${digest}`;
}

/**
 * Records what was found, or that it is still there. `partition` is that of the item's points. Repeats safely. Stale points nobody finds once
 * more, so to what is known of them is added.
 */
export async function recordFinding(ports: Ports, partition: string, found: Found, seenBy?: JobId): Promise<void> {
  const seenAt = ports.clock.now();
  await changeFinding(ports, partition, keyOf(found), (known) => {
    const kept = found.kind === 'stale' && known?.healedAt === undefined ? known : undefined;
    const { runs, blocksLeftOut, end } = capRuns([...(kept ? uncapRuns(kept) : []), ...found.runs]);
    const points = [...new Set([...(kept?.points ?? []), ...found.points])].sort();
    return {
      kind: found.kind,
      object: found.object,
      code: found.code,
      message: found.message.slice(0, MOST_MESSAGE_CHARS),
      disk: found.disk?.disk,
      lun: found.disk?.lun ?? known?.lun,
      name: found.disk?.name ?? known?.name,
      region: found.region,
      runs,
      blocksLeftOut,
      end,
      points: points.slice(0, MOST_POINTS),
      pointsLeftOut: Math.max(0, points.length - MOST_POINTS),
      newest: found.newest,
      newestIsSound: found.newest !== undefined && !found.points.includes(found.newest),
      foundAt: known === undefined || known.healedAt !== undefined ? seenAt : known.foundAt,
      seenAt,
      seenBy,
    };
  });
}

/** Codes of damage in a vault, as readers throw them. */
export const DAMAGE_CODES = [
  'DocumentCorrupt',
  'LayerCorrupt',
  'PackCorrupt',
  'SlabCorrupt',
  'VaultObjectMissing',
  'FormatUnsupported',
] as const;

/**
 * Records damage that a job has met while it did something else. Which blocks and points it touches nobody has looked into yet, so
 * `newest` is taken to show it too: what is known already stays, and the next verify looks at the region first. False: `error` is not
 * about a damaged object.
 */
export async function recordFailure(
  ports: Ports,
  partition: string,
  error: unknown,
  at: { disk?: NamedDisk; region?: number; point?: PointId; newest?: PointId },
): Promise<boolean> {
  if (!isBackupError(error, ...DAMAGE_CODES) || error.target === undefined) return false;
  const kind = kindOf(error);
  if (kind !== 'document' && (at.disk === undefined || at.region === undefined)) return false;
  const place = kind === 'document' ? {} : { disk: at.disk, region: at.region };
  const found: Found = {
    kind,
    object: error.target,
    code: error.code,
    message: error.message,
    ...place,
    runs: [],
    points: [...new Set([at.point, at.newest])].filter((point) => point !== undefined).sort(),
    ...(at.newest && { newest: at.newest }),
  };
  const known = (await ports.catalog.findings.get(partition, keyOf(found)))?.row;
  if (known === undefined || known.healedAt !== undefined) await recordFinding(ports, partition, found);
  else await changeFinding(ports, partition, keyOf(found), (row) => row && { ...row, seenAt: ports.clock.now() });
  return true;
}

function kindOf({ code, target = '' }: BackupError): FindingKind {
  // With a slab its layers are gone too.
  if (
    code === 'LayerCorrupt' ||
    target.endsWith('.layer') ||
    (code === 'VaultObjectMissing' && target.endsWith('.slab'))
  )
    return 'layer';
  return /\.(pack|slab)$/.test(target) ? 'blocks' : 'document';
}

/** Changes a finding under its ETag; `change` gets the newest row and answers the new one, or undefined to leave it. */
async function changeFinding(
  ports: Ports,
  partition: string,
  key: string,
  change: (known: FindingRow | undefined) => FindingRow | undefined,
): Promise<void> {
  for (;;) {
    const known = await ports.catalog.findings.get(partition, key);
    const next = change(known?.row);
    if (next === undefined) return;
    try {
      if (known === undefined) await ports.catalog.findings.insert(partition, key, next);
      else await ports.catalog.findings.replace(partition, key, next, known.etag);
      return;
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch', 'RowAlreadyExists', 'RowNotFound')) throw error;
    }
  }
}

/** Findings that have not healed, one after another, by ascending key. */
export async function* eachOpenFinding(
  ports: Ports,
  partition: string,
  prefix?: string,
): AsyncGenerator<{ key: string; row: FindingRow }> {
  for await (const { key, row } of ports.catalog.findings.list(partition, prefix))
    if (row.healedAt === undefined) yield { key, row };
}

/** Findings that have not healed, with their keys; of one disk or region where `prefix` says so. */
export async function openFindings(
  ports: Ports,
  partition: string,
  prefix?: string,
): Promise<{ key: string; row: FindingRow }[]> {
  const open: { key: string; row: FindingRow }[] = [];
  for await (const own of eachOpenFinding(ports, partition, prefix)) open.push(own);
  return open;
}

/** How long healed findings are kept for people to see. */
const HEALED_KEPT_MS = 30 * 86_400_000;

/**
 * Notes that what was found is there no more. A finding that was seen after `since`, or by job `by`, has just been found and stays.
 */
export async function healFinding(
  ports: Ports,
  partition: string,
  key: string,
  { since, by }: { since: number; by: JobId },
): Promise<void> {
  await changeFinding(ports, partition, key, (row) =>
    row === undefined || row.healedAt !== undefined || row.seenAt > since || row.seenBy === by
      ? undefined
      : { ...row, healedAt: ports.clock.now() },
  );
}

/** Leaves of a finding's points those that are `live`, if any is: what was merged away nobody restores any more. */
export async function forgetPoints(
  ports: Ports,
  partition: string,
  key: string,
  live: ReadonlySet<PointId>,
): Promise<void> {
  await changeFinding(ports, partition, key, (row) => {
    const points = row?.points.filter((point) => live.has(point)) ?? [];
    return row === undefined || points.length === 0 || points.length === row.points.length
      ? undefined
      : { ...row, points };
  });
}

/** Drops findings that healed a month ago. */
export async function forgetHealed(ports: Ports, partition: string): Promise<void> {
  for await (const { key, row, etag } of ports.catalog.findings.list(partition)) {
    if (row.healedAt === undefined || ports.clock.now() - row.healedAt < HEALED_KEPT_MS) continue;
    try {
      await ports.catalog.findings.remove(partition, key, etag);
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch')) throw error; // found again this moment
    }
  }
}

/** What of a region has to be written again. */
export interface RegionDamage {
  /** A layer cannot be read, so that the region's view is not known. */
  readonly whole: boolean;
  readonly runs: readonly BlockRun[];
}

/**
 * Damage of a disk that the newest vault point still shows, by region: what a backup heals by writing it again. Damage that later
 * layers have covered since is noted as healed for new points and left out. `findings` are the item's open ones, where the caller has
 * listed them for all its disks.
 */
export async function damageOf(
  ports: Ports,
  partition: string,
  disk: DiskId,
  findings?: Awaited<ReturnType<typeof openFindings>>,
): Promise<Map<number, RegionDamage>> {
  const damage = new Map<number, RegionDamage>();
  const open = (findings ?? (await openFindings(ports, partition, `${disk}|`))).filter(
    ({ row }) =>
      row.disk === disk &&
      !row.newestIsSound &&
      row.region !== undefined &&
      ['layer', 'blocks', 'view'].includes(row.kind),
  );
  if (open.length === 0) return damage;
  const later = new LaterLayers(ports, partition, disk);
  for (const { key, row } of open) {
    const region = row.region!;
    const whole = row.kind === 'layer';
    const runs = whole ? [{ start: 0, count: ports.settings.geometry.regionBytes / BLOCK_BYTES }] : uncapRuns(row);
    const left = await later.notCovered(region, runs, row.newest);
    if (left.length === 0) {
      if (runs.length > 0)
        await changeFinding(ports, partition, key, (now) =>
          now?.newest === row.newest && now?.seenAt === row.seenAt ? { ...now, newestIsSound: true } : undefined,
        );
      continue;
    }
    const known = damage.get(region);
    damage.set(region, {
      whole: whole || known?.whole === true,
      runs: normalise([...(known?.runs ?? []), ...left]),
    });
  }
  return damage;
}

/** What later points have written over the damage of one disk. Manifests are read once, and only those that are asked for. */
class LaterLayers {
  readonly #ports: Ports;
  readonly #disk: DiskId;
  readonly #item: ItemId;
  readonly #containerName: string;
  #opened:
    | Promise<{ container: VaultContainer; chain: Chain; record: Awaited<ReturnType<Chain['newest']>> }>
    | undefined;
  readonly #manifests = new Map<PointId, Promise<Manifest | undefined>>();

  constructor(ports: Ports, partition: string, disk: DiskId) {
    this.#ports = ports;
    this.#disk = disk;
    const at = partition.indexOf('|');
    this.#containerName = partition.slice(0, at);
    this.#item = partition.slice(at + 1) as ItemId;
  }

  async #open() {
    const container = await this.#ports.vaults.open(this.#containerName);
    const chain = new Chain(container, this.#item);
    return { container, chain, record: await chain.newest() };
  }

  /** The manifests of live points after `after`, oldest first, as far as they can be read. */
  async #after(after: PointId | undefined): Promise<Manifest[]> {
    this.#opened ??= this.#open();
    const { chain, record } = await this.#opened;
    const entries = record.points.filter(({ point }) => after !== undefined && point > after);
    const manifests = await Promise.all(
      entries.map((entry) => {
        const read = this.#manifests.get(entry.point) ?? unlessDamaged(chain.manifest(entry));
        this.#manifests.set(entry.point, read);
        return read;
      }),
    );
    return manifests.filter((own) => own !== undefined);
  }

  /** What of `runs` no layer of a point after `after` speaks of. With `after` undefined nobody knows, and all of it is left. */
  async notCovered(region: number, runs: readonly BlockRun[], after: PointId | undefined): Promise<BlockRun[]> {
    let left = [...runs];
    if (left.length === 0 || after === undefined) return left;
    const { container, chain } = await (this.#opened ??= this.#open());
    for (const { disk: own } of chainOf(this.#disk, await this.#after(after))) {
      const regions = await unlessDamaged(regionsOf(chain, own, { from: region, to: region + 1 }));
      for (const layer of regions?.[0]?.layers ?? []) {
        const at = { item: this.#item, disk: this.#disk, region };
        left = without(left, await speaksOf(container, at, layer));
        if (left.length === 0) return left;
      }
    }
    return left;
  }
}

/** What a layer speaks of; one that is damaged itself covers nothing. */
async function speaksOf(container: VaultContainer, at: RegionOf, layer: LayerRef): Promise<readonly BlockRun[]> {
  return (await unlessDamaged(readLayerMap(container, at, layer)))?.extents ?? [];
}

/** Undefined for what is damaged. */
async function unlessDamaged<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (isBackupError(error, ...DAMAGE_CODES)) return undefined;
    throw error;
  }
}
