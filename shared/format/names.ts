import { BackupError } from '../domain/errors.ts';
import {
  type AttemptId,
  type DiskId,
  type ItemId,
  type PointId,
  type RunId,
  attemptId,
  isItemId,
  pointId,
} from '../domain/ids.ts';

/**
 * The names of everything in a vault's container. Numbers in names are padded, so that byte order is numeric order.
 * docs/format.md lists them; nobody reads by guessing a name, except the listing of the chain.
 */
const ROOT = 'v1';

export const VAULT_NAME = `${ROOT}/vault.json`;

const item = (id: ItemId): string => `${ROOT}/items/${id}`;
const disk = (id: ItemId, diskId: DiskId): string => `${item(id)}/disks/${diskId}`;
const padded = (region: number): string => region.toString().padStart(6, '0');

/** The folder of all items. */
export const ITEMS_PREFIX = `${ROOT}/items/`;

/** The item whose folder this is; undefined when no item can be called so. */
export function itemOfFolder(folder: string): ItemId | undefined {
  const name = folder.slice(ITEMS_PREFIX.length, -1);
  return folder === `${ITEMS_PREFIX}${name}/` && isItemId(name) ? name : undefined;
}

export const itemPrefix = (id: ItemId): string => `${item(id)}/`;
/** Of an item's manifests and their parts. */
export const manifestPrefix = (id: ItemId): string => `${item(id)}/points/`;
export const chainPrefix = (id: ItemId): string => `${item(id)}/chain/`;

export function recordName(id: ItemId, seq: number): string {
  return `${chainPrefix(id)}${seq.toString().padStart(12, '0')}.json`;
}

export function recordSeq(name: string): number {
  const digits = /\/chain\/(\d{12})\.json$/.exec(name)?.[1];
  if (digits === undefined) throw new BackupError('DocumentCorrupt', `${name} is not the name of a chain record`);
  return Number(digits);
}

export function manifestName(id: ItemId, point: PointId, attempt: AttemptId): string {
  return `${manifestPrefix(id)}${point}.${attempt}.json`;
}

/** A part of a manifest: the regions from `region` on of one disk. */
export function manifestPartName(
  id: ItemId,
  point: PointId,
  attempt: AttemptId,
  diskId: DiskId,
  region: number,
): string {
  return `${manifestPrefix(id)}${point}.${attempt}.${diskId}.${padded(region)}.json`;
}

/** A plan, or with `part` one of the parts after its first. */
export function planName(id: ItemId, attempt: AttemptId, part = 0): string {
  return `${item(id)}/plans/${attempt}${part === 0 ? '' : `.${padded(part)}`}.json`;
}

/** What the names of all documents of a plan begin with. */
export const planPrefix = (id: ItemId, attempt: AttemptId): string => `${item(id)}/plans/${attempt}.`;

/** What the layer's own name says: a layer is bound to it by its checksum. */
export interface LayerKey {
  readonly item: ItemId;
  readonly disk: DiskId;
  readonly point: PointId;
  readonly region: number;
  readonly attempt: AttemptId;
}

/** The folder of what one point wrote of one disk. */
export const layersPrefix = (id: ItemId, diskId: DiskId, point: PointId): string => `${disk(id, diskId)}/${point}/`;

export function layerName(key: LayerKey): string {
  return `${layersPrefix(key.item, key.disk, key.point)}${padded(key.region)}.${key.attempt}.layer`;
}

export function packName(key: LayerKey, run: RunId, n: number): string {
  return `${layersPrefix(key.item, key.disk, key.point)}${padded(key.region)}.${key.attempt}.${run}.${n}.pack`;
}

/** A slab of the point's folder: several thin regions' layers and frames in one blob. */
export function slabName(id: ItemId, diskId: DiskId, point: PointId, number: number, attempt: AttemptId): string {
  return `${layersPrefix(id, diskId, point)}${padded(number)}.${attempt}.slab`;
}

export function checkpointName(id: ItemId, diskId: DiskId, region: number, attempt: AttemptId): string {
  return `${disk(id, diskId)}/${padded(region)}.${attempt}.checkpoint`;
}

const LAYER_FORM = /^v1\/items\/([^/]+)\/disks\/([^/]+)\/(\d{17})\/(\d{6,})\.([0-9a-f]{16})\.layer$/;

/** Reads a layer's name back; undefined when `name` is not one. */
export function parseLayerName(name: string): LayerKey | undefined {
  const [, itemPart, diskPart, point, region, attempt] = LAYER_FORM.exec(name) ?? [];
  if (itemPart === undefined || diskPart === undefined || point === undefined || region === undefined) return undefined;
  return {
    item: itemPart as ItemId,
    disk: diskPart as DiskId,
    point: pointId(point),
    region: Number(region),
    attempt: attemptId(attempt ?? ''),
  };
}

/** What lies in a disk's folder. */
export type DiskObject = 'layer' | 'pack' | 'slab' | 'checkpoint';

const OBJECT_FORM =
  /\/disks\/([^/]+)\/(?:(?:\d{17}\/)(\d{6,})\.[0-9a-f]{16}\.(?:(layer|slab)|[0-9a-f]{8}\.\d+\.(pack))|(\d{6,})\.[0-9a-f]{16}\.(checkpoint))$/;

/** The disk that an object belongs to, and its region, of a slab its number; undefined when `name` is no such object's. */
export function placeOfObject(name: string): { disk: DiskId; region: number; kind: DiskObject } | undefined {
  const [, diskPart, inFolder, file, pack, besides, checkpoint] = OBJECT_FORM.exec(name) ?? [];
  const kind = (file ?? pack ?? checkpoint) as DiskObject | undefined;
  return kind && { disk: diskPart as DiskId, region: Number(inFolder ?? besides), kind };
}

/** How many digits the numbers of regions have in names, but for those beyond a million. */
export const REGION_DIGITS = 6;

/** The regions below a million whose numbers, in names, begin with `digits`: `from` to `to`, the latter excluded. */
export function regionsUnder(digits: string): { from: number; to: number } {
  const regions = 10 ** (REGION_DIGITS - digits.length);
  return { from: Number(digits) * regions, to: (Number(digits) + 1) * regions };
}

/** The folder of everything of one disk, and of all disks. */
export const diskPrefix = (id: ItemId, diskId: DiskId): string => `${disk(id, diskId)}/`;
export const disksPrefix = (id: ItemId): string => `${item(id)}/disks/`;

/** The attempt that a name was made for; undefined for names that no plan makes (the chain, vault.json). */
export function attemptIn(name: string): AttemptId | undefined {
  const found =
    /\/plans\/([0-9a-f]{16})(?:\.\d+)?\.json$|\.([0-9a-f]{16})\.(?:(?:[^./]+\.\d+\.)?json|layer|slab|checkpoint|[0-9a-f]{8}\.\d+\.pack)$/.exec(
      name,
    );
  const attempt = found?.[1] ?? found?.[2];
  return attempt === undefined ? undefined : attemptId(attempt);
}
