import { BackupError, isBackupError } from '../domain/errors.ts';
import type { DiskId, ItemId } from '../domain/ids.ts';
import { type KnownBlocks, OwnersBuilder, type OwnerMap } from '../domain/known-blocks.ts';
import type { Layer } from '../domain/layer.ts';
import { type CheckpointName, type LayerName, stackDigest } from '../domain/point-stack.ts';
import { type RegionView, ViewBuilder } from '../domain/region-view.ts';
import { type Checkpoint, decodeCheckpoint } from '../format/checkpoint.ts';
import { LAYER_HEADER_BYTES, decodeLayer, decodeLayerMap, layerMapBytes } from '../format/layer-file.ts';
import { checkpointName, layerName, slabName } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { inOrder } from './pipeline.ts';

/** Layers of one stack read at once: each takes about 2 MiB when its region is full. */
const READS_IN_FLIGHT = 4;

/** A region of a disk of an item: what a stack of layers belongs to. */
export interface RegionOf {
  readonly item: ItemId;
  readonly disk: DiskId;
  readonly region: number;
  /** How many blocks the region has: where it is said, reading stops at the layer above which nothing lower is seen. */
  readonly blocks?: number;
}

/** The blob that a layer lies in: its own file, or its slab. */
export function blobOf({ item, disk, region }: RegionOf, { point, attempt, slab }: LayerName): string {
  return slab === undefined
    ? layerName({ item, disk, point, region, attempt })
    : slabName(item, disk, point, slab.number, attempt);
}

/** Reads one layer with its hashes. @throws BackupError VaultObjectMissing, LayerCorrupt */
export async function readLayer(
  container: VaultContainer,
  at: RegionOf,
  named: LayerName,
): Promise<Layer & { hashes: Uint8Array }> {
  const blob = blobOf(at, named);
  const bytes = await readObject(blob, () =>
    named.slab === undefined ? container.readWhole(blob) : container.read(blob, named.slab.offset, named.slab.bytes),
  );
  try {
    return decodeLayer(fileNameOf(at, named), bytes);
  } catch (error) {
    if (named.slab === undefined || !isBackupError(error, 'LayerCorrupt')) throw error;
    throw new BackupError('LayerCorrupt', `in slab ${blob}: ${error.message}`, { cause: error, target: blob });
  }
}

/** Reads one layer without its hashes: where its blocks are. @throws BackupError VaultObjectMissing, LayerCorrupt */
export async function readLayerMap(container: VaultContainer, at: RegionOf, named: LayerName): Promise<Layer> {
  if (named.slab !== undefined) return readLayer(container, at, named);
  const name = fileNameOf(at, named);
  const header = await readObject(name, () => container.read(name, 0, LAYER_HEADER_BYTES));
  const length = layerMapBytes(name, header);
  return decodeLayerMap(name, await readObject(name, () => container.read(name, 0, length)));
}

/** The name that a layer's checksum binds: that of a file of its own, wherever it lies. */
const fileNameOf = ({ item, disk, region }: RegionOf, { point, attempt }: LayerName): string =>
  layerName({ item, disk, point, region, attempt });

async function readObject(name: string, read: () => Promise<Uint8Array>): Promise<Uint8Array> {
  try {
    return await read();
  } catch (error) {
    if (isBackupError(error, 'BlobNotFound'))
      throw new BackupError('VaultObjectMissing', `layer ${name} is gone`, { cause: error, target: name });
    if (isBackupError(error, 'PackCorrupt'))
      throw new BackupError('LayerCorrupt', `${name} is cut: ${error.message}`, { cause: error, target: name });
    throw error;
  }
}

/**
 * The view above a stack, with the places of its bytes. Layers are read from the newest down; a checkpoint spares those of which
 * nothing is seen.
 * @throws BackupError VaultObjectMissing naming the layer, LayerCorrupt
 */
export async function readView(
  container: VaultContainer,
  at: RegionOf,
  stack: readonly LayerName[],
  checkpoint?: CheckpointName,
): Promise<RegionView> {
  const cached = await readCheckpoint(container, at, stack, checkpoint);
  const builder = new ViewBuilder();
  const above = stack.slice(cached?.layers.length ?? 0).toReversed();
  for await (const { result } of inOrder(above, READS_IN_FLIGHT, (name) => readLayer(container, at, name))) {
    builder.add(result);
    if (builder.speaksOf === at.blocks) return builder.finish();
  }
  if (cached === undefined) return builder.finish();
  const seen = [...builder.addOwned(cached)];
  for await (const { item, result } of inOrder(seen, READS_IN_FLIGHT, ([number]) =>
    readLayerMap(container, at, stack[number]!),
  )) {
    if (!builder.locate(result, item[1])) return readView(container, at, stack); // the checkpoint tells something else than the layers
  }
  return builder.finish();
}

/** What the region has above a stack, without the places of its bytes: with a checkpoint, only the layers above it are read. */
export async function readKnown(
  container: VaultContainer,
  at: RegionOf,
  stack: readonly LayerName[],
  checkpoint?: CheckpointName,
): Promise<KnownBlocks & { extents: OwnerMap }> {
  const cached = await readCheckpoint(container, at, stack, checkpoint);
  const builder = new OwnersBuilder();
  const depth = cached?.layers.length ?? 0;
  const above = [...stack.entries()].slice(depth).toReversed();
  for await (const { item, result } of inOrder(above, READS_IN_FLIGHT, ([, name]) => readLayer(container, at, name))) {
    builder.add(item[0], result);
    if (builder.speaksOf === at.blocks) return builder.finish();
  }
  if (cached !== undefined) builder.addOwned(cached);
  return builder.finish();
}

/** A checkpoint is a cache: one that is gone, damaged, or of other layers is as none. */
async function readCheckpoint(
  container: VaultContainer,
  { item, disk, region }: RegionOf,
  stack: readonly LayerName[],
  checkpoint: CheckpointName | undefined,
): Promise<Checkpoint | undefined> {
  if (checkpoint === undefined) return undefined;
  const name = checkpointName(item, disk, region, checkpoint.attempt);
  try {
    const read = decodeCheckpoint(name, await container.readWhole(name));
    const same = stackDigest(read.layers) === stackDigest(stack.slice(0, read.layers.length));
    return same && read.layers.length <= stack.length ? read : undefined;
  } catch (error) {
    if (isBackupError(error, 'BlobNotFound', 'CheckpointCorrupt', 'FormatUnsupported')) return undefined;
    throw error;
  }
}
