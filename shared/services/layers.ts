import { BackupError, isBackupError } from '../domain/errors.ts';
import { CLEARED } from '../domain/extent.ts';
import type { DiskId, ItemId } from '../domain/ids.ts';
import type { Layer } from '../domain/layer.ts';
import type { LayerName } from '../domain/point-stack.ts';
import { type RegionView, regionView } from '../domain/region-view.ts';
import { decodeLayer } from '../format/layer-file.ts';
import { layerName } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { inOrder } from './pipeline.ts';

/** Layers of one stack read at once. */
const READS_IN_FLIGHT = 16;

/** A region of a disk of an item: what a stack of layers belongs to. */
export interface RegionOf {
  readonly item: ItemId;
  readonly disk: DiskId;
  readonly region: number;
}

/**
 * Reads the layers of a stack, oldest first, with their hashes.
 * @throws BackupError VaultObjectMissing naming the layer, LayerCorrupt
 */
export async function readLayers(
  container: VaultContainer,
  at: RegionOf,
  stack: readonly LayerName[],
): Promise<Layer[]> {
  const layers: Layer[] = [];
  for await (const { result } of inOrder(stack, READS_IN_FLIGHT, (name) => readLayer(container, at, name)))
    layers.push(result);
  return layers;
}

async function readLayer(container: VaultContainer, at: RegionOf, { point, attempt }: LayerName): Promise<Layer> {
  const name = layerName({ ...at, point, attempt });
  try {
    return decodeLayer(name, await container.readWhole(name));
  } catch (error) {
    if (!isBackupError(error, 'BlobNotFound')) throw error;
    throw new BackupError('VaultObjectMissing', `layer ${name} is gone`, { cause: error, target: name });
  }
}

/** The view above a stack. */
export async function readView(
  container: VaultContainer,
  at: RegionOf,
  stack: readonly LayerName[],
): Promise<RegionView> {
  return regionView(await readLayers(container, at, stack));
}

/** Block counts and the bytes that a layer file and its packs take. */
export function measureLayer(
  layer: Layer,
  fileBytes: number,
): { dataBlocks: number; clearedBlocks: number; storedBytes: number } {
  let dataBlocks = 0;
  let clearedBlocks = 0;
  for (const extent of layer.extents) {
    if (extent.frame === CLEARED) clearedBlocks += extent.count;
    else dataBlocks += extent.count;
  }
  return {
    dataBlocks,
    clearedBlocks,
    storedBytes: layer.packs.reduce((sum, pack) => sum + pack.totalBytes, fileBytes),
  };
}
