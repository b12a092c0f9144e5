import { type BackupError, isBackupError } from '../domain/errors.ts';
import type { ChainPoint } from '../domain/findings.ts';
import type { DiskId, PointId } from '../domain/ids.ts';
import type { Layout } from '../domain/layout.ts';
import { nameOf } from '../domain/point-stack.ts';
import type { ChainRecord, CheckpointRef, CountedLayer, Manifest, RecordPoint } from '../format/documents.ts';
import type { OwnedLayer } from '../format/verify-plan.ts';
import type { Chain } from './chain.ts';
import { type Found, DAMAGE_CODES } from './findings.ts';
import { inOrder } from './pipeline.ts';
import { type Span, spansOf, within } from './spans.ts';

/** Manifests read at once, and parts of them: with one of each a span of a manifest is held. */
const READS_IN_FLIGHT = 4;

/** The live points of a record as far as their manifests can be read. */
export interface LivePoints {
  readonly record: ChainRecord;
  /** In snapshot order; points of whose manifest some part is damaged are left out. What parts say of regions is not in them. */
  readonly manifests: readonly Manifest[];
  /** The damaged manifests, each with the points of which nobody knows any more what their disks looked like. */
  readonly damaged: readonly Found[];
}

/** What of `items` can be read, and the damage that is in the way of the others. */
async function readSound<Item, Result>(
  items: readonly Item[],
  read: (item: Item) => Promise<Result>,
): Promise<{ sound: Result[]; lost: { item: Item; error: BackupError }[] }> {
  const sound: Result[] = [];
  const lost: { item: Item; error: BackupError }[] = [];
  for await (const { item, result } of inOrder(items, READS_IN_FLIGHT, async (own) => {
    try {
      return { value: await read(own) };
    } catch (error) {
      if (isBackupError(error, ...DAMAGE_CODES)) return { error };
      throw error;
    }
  })) {
    if ('error' in result) lost.push({ item, error: result.error });
    else sound.push(result.value);
  }
  return { sound, lost };
}

/** Whether something is gone under a record that is the newest no more: then it was replaced, and all is read again. */
const isReplaced = async (
  chain: Chain,
  { seq }: ChainRecord,
  lost: readonly { error: BackupError }[],
): Promise<boolean> =>
  lost.some(({ error }) => error.code === 'VaultObjectMissing') && (await chain.newest()).seq !== seq;

/** Reads all manifests of the newest record with all their parts, and says which of them are damaged. */
export async function livePoints(chain: Chain): Promise<LivePoints> {
  const record = await chain.newest();
  const { sound, lost } = await readSound(record.points, async (entry) => {
    const manifest = await chain.manifest(entry);
    for (const { parts = [] } of manifest.disks) for (const part of parts) await chain.part(part);
    return manifest;
  });
  if (await isReplaced(chain, record, lost)) return livePoints(chain);
  return { record, manifests: sound, damaged: lost.map((own) => lostManifest(record, sound, own)) };
}

/**
 * A disk as the live points of the newest record have it in the span that `spanOf` chooses. Points of whose manifest what says so is damaged
 * are left out. `live` is undefined where no point includes the disk.
 */
export async function liveWithin(
  chain: Chain,
  disk: DiskId,
  spanOf: (manifests: readonly Manifest[]) => Span,
): Promise<{ record: ChainRecord; live: LiveDisk | undefined }> {
  const record = await chain.newest();
  const heads = await readSound(record.points, (entry) => chain.manifest(entry));
  const span = spanOf(heads.sound);
  const { sound, lost } = await readSound(heads.sound, (own) => within(chain, [own], disk, span));
  if (await isReplaced(chain, record, [...heads.lost, ...lost])) return liveWithin(chain, disk, spanOf);
  return { record, live: liveDisks(sound.flat(), disk).get(disk) };
}

/** The span in which a region lies; of one that no manifest speaks of, itself. */
export const spanAround = (
  region: number,
  disk: DiskId,
  manifests: readonly Manifest[],
  layout: Pick<Layout, 'spanRegions'>,
): Span =>
  spansOf(disk, manifests, layout).find(({ from, to }) => region >= from && region < to) ?? {
    from: region,
    to: region + 1,
  };

/** A manifest that is lost takes later points along, but for those whose disks all begin anew after it. */
function lostManifest(
  { points }: ChainRecord,
  manifests: readonly Manifest[],
  { item: entry, error }: { item: RecordPoint; error: BackupError },
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
  /** Of whole manifests, or of the span that they were reduced to. */
  readonly regions: Map<number, LiveRegion>;
}

/** The disks of live points, with what the manifests themselves say of regions; only `disk` where it is given. */
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
