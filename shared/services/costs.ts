import { type PointCost, costOfPoint } from '../domain/costs.ts';
import type { ErrorCode } from '../domain/errors.ts';
import type { ChainRecord, Manifest } from '../format/documents.ts';
import type { ItemId, PointId } from '../domain/ids.ts';
import { ITEMS_PREFIX, VAULT_NAME, chainPrefix, checkpointName, itemOfFolder, itemPrefix } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { inOrder } from './pipeline.ts';
import type { Ports } from './ports.ts';
import { openVault } from './vault-of.ts';

/** Checkpoints whose sizes are asked for at once. */
const STATS_IN_FLIGHT = 16;
/** Reports that commits may spoil while they are made. */
const TRIES = 5;

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

export interface VaultCosts {
  readonly containerName: string;
  readonly items: readonly ItemCost[];
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
 * a request per checkpoint. A point whose manifest is damaged is named, and the rest is counted.
 * @throws BackupError ResourceNotFound; of an item without a readable newest record VaultObjectMissing, DocumentCorrupt
 */
export async function vaultCosts(ports: Ports, vault: string, { listing }: { listing: boolean }): Promise<VaultCosts> {
  const { container, row } = await openVault(ports, vault);
  const keys = new Map<string, string>();
  for await (const { key, row: item } of ports.catalog.items.list(vault)) keys.set(item.itemId, key);
  const items: ItemCost[] = [];
  for await (const folder of container.folders(ITEMS_PREFIX)) {
    const item = itemOfFolder(folder);
    if (item !== undefined) items.push(await itemCost(container, item, keys.get(item)));
  }
  const vaultDocumentBytes = (await container.stat(VAULT_NAME))?.sizeBytes ?? 0;
  const bytes = items.reduce((sum, item) => sum + item.bytes, vaultDocumentBytes);
  return {
    containerName: row.containerName,
    items,
    vaultDocumentBytes,
    bytes,
    listing: listing ? await listed(container, bytes) : undefined,
  };
}

async function itemCost(container: VaultContainer, item: ItemId, key: string | undefined): Promise<ItemCost> {
  const { record, manifests, lost } = await liveManifests(new Chain(container, item));
  const { name: vmName, resourceGroup } = record.vm;
  const named = new Map(record.points.map(({ point, manifest }) => [manifest, point]));
  const sizes = new Map<string, number>();
  let otherManifestBytes = 0;
  for await (const { name, sizeBytes } of container.list(`${itemPrefix(item)}points/`)) {
    const point = named.get(name);
    if (point === undefined) otherManifestBytes += sizeBytes;
    else sizes.set(point, sizeBytes);
  }
  const checkpoints = await checkpointSizes(container, manifests);
  const points = manifests.map((manifest) =>
    costOfPoint(
      manifest,
      sizes.get(manifest.point) ?? 0,
      (disk, region) => checkpoints.get(`${manifest.point}/${disk}/${region}`) ?? 0,
    ),
  );
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

/** The newest record and its manifests. A merge may delete one meanwhile: then there is a newer record. */
async function liveManifests(chain: Chain): Promise<{ record: ChainRecord } & Awaited<ReturnType<Chain['readable']>>> {
  for (let tries = 1; ; tries++) {
    const record = await chain.newest();
    const found = await chain.readable(record);
    const isGone = found.lost.some(({ error }) => error.code === 'VaultObjectMissing');
    if (!isGone || tries === TRIES || (await chain.newest()).seq === record.seq) return { record, ...found };
  }
}

/** The sizes of the checkpoints that manifests name, by point, disk and region. One that is gone takes nothing: it is a cache. */
async function checkpointSizes(
  container: VaultContainer,
  manifests: readonly Manifest[],
): Promise<Map<string, number>> {
  const named = manifests.flatMap(({ item, point, disks }) =>
    disks.flatMap(({ disk, regions }) =>
      regions.flatMap(({ region, checkpoint }) =>
        checkpoint === undefined
          ? []
          : [{ key: `${point}/${disk}/${region}`, name: checkpointName(item, disk, region, checkpoint.attempt) }],
      ),
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
