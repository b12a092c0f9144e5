import type { ItemRow } from '../catalog/catalog.ts';
import { type PointCost, costOfPoint, joinCosts, withManifest } from '../domain/costs.ts';
import { type BackupError, type ErrorCode, isBackupError } from '../domain/errors.ts';
import type { ChainRecord, Manifest } from '../format/documents.ts';
import type { ItemId, PointId } from '../domain/ids.ts';
import { ITEMS_PREFIX, VAULT_NAME, chainPrefix, checkpointName, itemOfFolder, itemPrefix } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { DAMAGE_CODES } from './findings.ts';
import { inOrder } from './pipeline.ts';
import type { Ports } from './ports.ts';
import { eachSpan } from './spans.ts';
import { openVault } from './vault-of.ts';

/** Checkpoints whose sizes are asked for at once. */
const STATS_IN_FLIGHT = 16;

/** What an item takes up in its vault's container. */
export interface ItemCost {
  /** Undefined for what no protected item owns: left of one whose row was lost before it had a point. */
  readonly key: string | undefined;
  readonly item: ItemId;
  readonly vmName: string;
  readonly resourceGroup: string;
  /** The record that names the points. */
  readonly seq: number;
  /** Oldest first. */
  readonly points: readonly PointCost[];
  /** Points whose manifests cannot be read: of what they take only the manifest itself is counted, if it is there. */
  readonly uncounted: readonly Uncounted[];
  readonly chainBytes: number;
  /** Manifests in the item's folder that the newest record does not name: about to be deleted, or of a commit that is under way. */
  readonly otherManifestBytes: number;
  /** Plans of work that is under way. */
  readonly planBytes: number;
  readonly bytes: number;
}

export interface Uncounted {
  readonly point: PointId;
  readonly code: ErrorCode;
  readonly message: string;
  readonly manifestBytes: number;
}

/** An item whose newest chain record cannot be read: nobody knows its points, and of what it takes only the documents are counted. */
export interface UncountedItem {
  readonly item: ItemId;
  /** As its row has them; empty without one. */
  readonly vmName: string;
  readonly resourceGroup: string;
  readonly code: ErrorCode;
  readonly message: string;
  /** Chain records, manifests and plans. */
  readonly documentBytes: number;
}

export interface VaultCosts {
  readonly containerName: string;
  readonly items: readonly ItemCost[];
  readonly uncounted: readonly UncountedItem[];
  readonly vaultDocumentBytes: number;
  readonly bytes: number;
  /** Only where it was asked for: the whole container, object by object. */
  readonly listing: Listing | undefined;
}

export interface Listing {
  readonly objects: number;
  readonly bytes: number;
  /** By the kind of object, as names end: layer, pack, slab, checkpoint, and the folders of documents. */
  readonly bytesByKind: Readonly<Record<string, number>>;
  /** What the container holds besides what the report explains: what commits, reclaims and sweeps have not got round to. At a quiet moment 0. */
  readonly unexplainedBytes: number;
}

/**
 * What a vault's container holds and for whom, from manifests: what layers and packs take stands there. Listed are the folders of the
 * documents alone; with `listing` the whole container is listed besides, to compare. Takes a read per recovery point and
 * a request per checkpoint. A point whose manifest is damaged is named, and so is an item whose newest record is; the rest is counted.
 * @throws BackupError ResourceNotFound
 */
export async function vaultCosts(
  ports: Ports,
  vault: string,
  { listing, inDetail }: { listing: boolean; inDetail?: string | undefined },
): Promise<VaultCosts> {
  const { container, row } = await openVault(ports, vault);
  const known = new Map<string, { key: string; row: ItemRow }>();
  for await (const { key, row: item } of ports.catalog.items.list(vault)) known.set(item.itemId, { key, row: item });
  const items: ItemCost[] = [];
  const uncounted: UncountedItem[] = [];
  for await (const folder of container.folders(ITEMS_PREFIX)) {
    const item = itemOfFolder(folder);
    if (item === undefined) continue;
    const own = known.get(item);
    try {
      items.push(await itemCost(ports, container, item, own?.key, inDetail));
    } catch (error) {
      if (!isBackupError(error, ...DAMAGE_CODES)) throw error;
      uncounted.push(await uncountedItem(container, item, own?.row, error));
    }
  }
  const vaultDocumentBytes = (await container.stat(VAULT_NAME))?.sizeBytes ?? 0;
  const unread = uncounted.reduce((sum, { documentBytes }) => sum + documentBytes, 0);
  const bytes = items.reduce((sum, item) => sum + item.bytes, vaultDocumentBytes + unread);
  return {
    containerName: row.containerName,
    items,
    uncounted,
    vaultDocumentBytes,
    bytes,
    listing: listing ? await listed(container, bytes) : undefined,
  };
}

async function uncountedItem(
  container: VaultContainer,
  item: ItemId,
  row: ItemRow | undefined,
  { code, message }: BackupError,
): Promise<UncountedItem> {
  let documentBytes = 0;
  for (const prefix of [chainPrefix(item), `${itemPrefix(item)}points/`, `${itemPrefix(item)}plans/`])
    documentBytes += await bytesUnder(container, prefix);
  return { item, vmName: row?.vmName ?? '', resourceGroup: row?.resourceGroup ?? '', code, message, documentBytes };
}

async function itemCost(
  ports: Ports,
  container: VaultContainer,
  item: ItemId,
  key: string | undefined,
  inDetail: string | undefined,
): Promise<ItemCost> {
  const chain = new Chain(container, item);
  const { record, manifests, spans, lost } = await livePoints(ports, container, chain, inDetail);
  const { name: vmName, resourceGroup } = record.vm;
  const named = new Map(record.points.map(({ point, manifest }) => [manifest, point]));
  for (const { point, disks } of manifests)
    for (const { parts = [] } of disks) for (const { name } of parts) named.set(name, point);
  const sizes = new Map<string, number>();
  let otherManifestBytes = 0;
  for await (const { name, sizeBytes } of container.list(`${itemPrefix(item)}points/`)) {
    const point = named.get(name);
    if (point === undefined) otherManifestBytes += sizeBytes;
    else sizes.set(point, (sizes.get(point) ?? 0) + sizeBytes);
  }
  const points = spans.map((own) => withManifest(own, sizes.get(own.point) ?? 0));
  const chainBytes = await bytesUnder(container, chainPrefix(item));
  const planBytes = await bytesUnder(container, `${itemPrefix(item)}plans/`);
  const uncounted = lost.map(({ point, error: { code, message } }) => ({
    point,
    code,
    message,
    manifestBytes: sizes.get(point) ?? 0,
  }));
  const unread = uncounted.reduce((sum, { manifestBytes }) => sum + manifestBytes, 0);
  const documents = chainBytes + otherManifestBytes + planBytes + unread;
  const bytes = points.reduce((sum, point) => sum + point.bytes, documents);
  const whose = { key, item, vmName, resourceGroup, seq: record.seq };
  return { ...whose, points, uncounted, chainBytes, otherManifestBytes, planBytes, bytes };
}

interface LostPoint {
  readonly point: PointId;
  readonly error: BackupError;
}

/** The newest record, its manifests, what the layers of each point cost, and the points of which that cannot be told. */
function livePoints(
  ports: Ports,
  container: VaultContainer,
  chain: Chain,
  inDetail: string | undefined,
): Promise<{ record: ChainRecord; manifests: Manifest[]; spans: PointCost[]; lost: LostPoint[] }> {
  return chain.onNewest(async (record) => {
    const { manifests, lost: unread } = await chain.readable(record);
    const lost: LostPoint[] = [...unread];
    const spans: PointCost[] = [];
    for (const own of manifests) {
      try {
        spans.push(await costOfLayers(ports, container, chain, own, own.point === inDetail));
      } catch (error) {
        if (!isBackupError(error, ...DAMAGE_CODES)) throw error;
        lost.push({ point: own.point, error });
      }
    }
    // Gone under a record that is the newest no more: then all is looked at again.
    const gone = lost.find(({ error }) => error.code === 'VaultObjectMissing');
    if (gone !== undefined && (await chain.newest()).seq !== record.seq) throw gone.error;
    return { record, manifests, spans, lost };
  });
}

/** What a point costs without its manifest, span by span. */
async function costOfLayers(
  ports: Ports,
  container: VaultContainer,
  chain: Chain,
  manifest: Manifest,
  inDetail: boolean,
): Promise<PointCost> {
  let sum = costOfPoint({ ...manifest, disks: manifest.disks.map((own) => ({ ...own, regions: [] })) }, 0, () => 0);
  for await (const { manifests } of eachSpan(chain, [manifest], ports.settings.layout)) {
    const [reduced] = manifests as [Manifest];
    const sizes = await checkpointSizes(container, reduced);
    const own = costOfPoint(reduced, 0, (disk, region) => sizes.get(`${disk}/${region}`) ?? 0);
    sum = joinCosts(sum, own, inDetail);
  }
  return sum;
}

/** The sizes of the checkpoints that a manifest names, by disk and region. One that is gone takes nothing: it is a cache. */
async function checkpointSizes(container: VaultContainer, { item, disks }: Manifest): Promise<Map<string, number>> {
  const named = disks.flatMap(({ disk, regions }) =>
    regions.flatMap(({ region, checkpoint }) =>
      checkpoint === undefined
        ? []
        : [{ key: `${disk}/${region}`, name: checkpointName(item, disk, region, checkpoint.attempt) }],
    ),
  );
  const sizes = new Map<string, number>();
  for await (const { item, result } of inOrder(named, STATS_IN_FLIGHT, ({ name }) => container.stat(name)))
    sizes.set(item.key, result?.sizeBytes ?? 0);
  return sizes;
}

async function bytesUnder(container: VaultContainer, prefix: string): Promise<number> {
  let bytes = 0;
  for await (const { sizeBytes } of container.list(prefix)) bytes += sizeBytes;
  return bytes;
}

async function listed(container: VaultContainer, explainedBytes: number): Promise<Listing> {
  const bytesByKind: Record<string, number> = {};
  let objects = 0;
  let bytes = 0;
  for await (const { name, sizeBytes } of container.list('')) {
    const kind =
      /\.(layer|pack|slab|checkpoint)$/.exec(name)?.[1] ?? /\/(chain|points|plans)\//.exec(name)?.[1] ?? 'other';
    bytesByKind[kind] = (bytesByKind[kind] ?? 0) + sizeBytes;
    objects++;
    bytes += sizeBytes;
  }
  return { objects, bytes, bytesByKind, unexplainedBytes: bytes - explainedBytes };
}
