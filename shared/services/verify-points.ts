import { type BackupError, isBackupError } from '../domain/errors.ts';
import type { ChainPoint } from '../domain/findings.ts';
import type { DiskId, PointId } from '../domain/ids.ts';
import { nameOf } from '../domain/point-stack.ts';
import type { ChainRecord, CheckpointRef, CountedLayer, Manifest, RecordPoint } from '../format/documents.ts';
import type { OwnedLayer } from '../format/verify-plan.ts';
import type { Chain } from './chain.ts';
import { type Found, DAMAGE_CODES } from './findings.ts';
import { inOrder } from './pipeline.ts';
import { whole } from './spans.ts';

/** Manifests read at once. */
const READS_IN_FLIGHT = 16;

/** The live points of a record as far as their manifests can be read. */
export interface LivePoints {
  readonly record: ChainRecord;
  /** In snapshot order; points whose manifest is damaged are left out. */
  readonly manifests: readonly Manifest[];
  /** The damaged manifests, each with the points of which nobody knows any more what their disks looked like. */
  readonly damaged: readonly Found[];
}

/**
 * Reads all manifests of the newest record, and says which of them are damaged. A manifest that is gone while another record has become
 * the newest was replaced by it: then all is read again.
 */
export async function livePoints(chain: Chain): Promise<LivePoints> {
  for (let record = await chain.newest(); ;) {
    const manifests: Manifest[] = [];
    const lost: { entry: RecordPoint; error: BackupError }[] = [];
    for await (const { item: entry, result } of inOrder(record.points, READS_IN_FLIGHT, async (own) => {
      try {
        return await whole(chain, await chain.manifest(own));
      } catch (error) {
        if (isBackupError(error, ...DAMAGE_CODES)) return error;
        throw error;
      }
    })) {
      if (!(result instanceof Error)) {
        manifests.push(result);
        continue;
      }
      lost.push({ entry, error: result });
    }
    const isGone = lost.some(({ error }) => error.code === 'VaultObjectMissing');
    const newest = isGone ? await chain.newest() : record;
    if (newest.seq === record.seq)
      return { record, manifests, damaged: lost.map((own) => lostManifest(record, manifests, own)) };
    record = newest;
  }
}

/** A manifest that is lost takes later points along, but for those whose disks all begin anew after it. */
function lostManifest(
  { points }: ChainRecord,
  manifests: readonly Manifest[],
  { entry, error }: { entry: RecordPoint; error: BackupError },
): Found {
  const beyond = new Set(
    manifests.filter(({ disks }) => disks.every(({ begins = '' }) => begins > entry.point)).map(({ point }) => point),
  );
  return {
    kind: 'document',
    object: error.target ?? entry.manifest,
    code: error.code,
    message: error.message,
    runs: [],
    points: points.map(({ point }) => point).filter((point) => point >= entry.point && !beyond.has(point)),
    newest: points.at(-1)?.point,
  };
}

/** A layer with the point in whose list it stands. */
export interface LiveLayer {
  readonly owner: PointId;
  readonly layer: CountedLayer;
  /** Of its slab's live layers it has the lowest region: who looks at that looks at what the slab says of itself, too. */
  leads: boolean;
}

/** A region of a disk with all layers that live points have of it, oldest first. */
export interface LiveRegion {
  readonly region: number;
  readonly layers: LiveLayer[];
  readonly checkpoints: CheckpointRef[];
}

/** A disk as live points have it. */
export interface LiveDisk {
  readonly disk: DiskId;
  lun: number;
  name: string;
  /** The largest size it has at any of them. */
  sizeBytes: number;
  /** The points that include it, in snapshot order. */
  readonly points: ChainPoint[];
  readonly regions: Map<number, LiveRegion>;
}

/** The disks of live points, with all their regions; only `disk` where it is given. */
export function liveDisks(manifests: readonly Manifest[], only?: DiskId): Map<DiskId, LiveDisk> {
  const disks = new Map<DiskId, LiveDisk>();
  for (const { point, disks: own } of manifests) {
    for (const { disk, lun, name, sizeBytes, begins, regions } of own) {
      if (only !== undefined && disk !== only) continue;
      let live = disks.get(disk);
      if (live === undefined) disks.set(disk, (live = { disk, lun, name, sizeBytes, points: [], regions: new Map() }));
      live.lun = lun;
      live.name = name;
      live.sizeBytes = Math.max(live.sizeBytes, sizeBytes);
      live.points.push({ point, begins });
      for (const { region, layers, checkpoint } of regions) {
        let found = live.regions.get(region);
        if (found === undefined) live.regions.set(region, (found = { region, layers: [], checkpoints: [] }));
        found.layers.push(...layers.map((layer) => ({ owner: point, layer, leads: false })));
        if (checkpoint !== undefined) found.checkpoints.push(checkpoint);
      }
    }
  }
  for (const { regions } of disks.values()) markLeaders(regions);
  return disks;
}

function markLeaders(regions: ReadonlyMap<number, LiveRegion>): void {
  const leaders = new Map<string, { region: number; own: LiveLayer }>();
  for (const { region, layers } of regions.values()) {
    for (const own of layers) {
      const { point, attempt, slab } = own.layer;
      if (slab === undefined) continue;
      const name = `${point}.${attempt}.${slab.number}`;
      if (region < (leaders.get(name)?.region ?? Infinity)) leaders.set(name, { region, own });
    }
  }
  for (const { own } of leaders.values()) own.leads = true;
}

/** A layer as a verify plan names it. */
export const owned = ({ owner, layer, leads }: LiveLayer): OwnedLayer => ({
  owner,
  ...nameOf(layer),
  ...(leads ? { leads } : {}),
});
