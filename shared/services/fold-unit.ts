import { CLEARED, type Extent } from '../domain/extent.ts';
import { layerOf } from '../domain/fold.ts';
import { type RunId } from '../domain/ids.ts';
import type { Layer } from '../domain/layer.ts';
import { type RegionView, ViewBuilder } from '../domain/region-view.ts';
import { BLOCK_BYTES, type Geometry, HASH_BYTES } from '../domain/units.ts';
import type { MergePlan } from '../format/documents.ts';
import type { LayerKey } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { inRegion } from './damaged-region.ts';
import { PackSink, RegionWriter, SlabWriter, storeLayer } from './layer-writer.ts';
import { readView } from './layers.ts';
import { readBlocks } from './region-bytes.ts';
import { withSlabRanges } from './slab-ranges.ts';
import { type UnitObject, objectName } from './unit-objects.ts';

type Unit = MergePlan['units'][number];
type Fold = Unit['folds'][number];

/** What a unit of a merge writes. */
export const foldObject = (plan: MergePlan, { disk, into, slab, folds }: Unit): UnitObject => ({
  item: plan.item,
  attempt: plan.attempt,
  disk,
  point: into,
  slab,
  regions: folds.map(({ region }) => region),
});

/**
 * One unit of a merge: several layers of a region become one. Blocks stay in the packs that they are in, only the map is new. Those
 * that lie in slabs are written anew, so that a slab is used by its own layers alone and goes with the last of them; where all
 * that is left is thin, it becomes part of a new slab. The object is the unit's one: the first one stands.
 */
export async function foldUnit(
  container: VaultContainer,
  { regionBytes }: Geometry,
  plan: MergePlan,
  unit: Unit,
  run: RunId,
): Promise<void> {
  const object = foldObject(plan, unit);
  if ((await container.stat(objectName(object))) !== undefined) return;
  const { item, attempt } = plan;
  const keyOf = ({ region }: Fold): LayerKey => ({ item, disk: unit.disk, point: unit.into, region, attempt });
  // A layer that speaks of the whole region hides what lies below it, were it damaged.
  const regionOf = (fold: Fold) => ({ ...keyOf(fold), blocks: regionBytes / BLOCK_BYTES });
  if (unit.slab === null) {
    const fold = unit.folds[0]!;
    await storeLayer(
      container,
      keyOf(fold),
      await inRegion(keyOf(fold), () => foldOf(container, regionOf(fold), fold, run)),
    );
    return;
  }
  const wanted = unit.folds.flatMap((fold) => fold.layers.map((layer) => ({ at: keyOf(fold), layer })));
  const slabs = withSlabRanges(container, wanted, { frames: true });
  const slab = new SlabWriter(objectName(object));
  for (const fold of unit.folds) {
    await slab.region(keyOf(fold), (writer) =>
      inRegion(keyOf(fold), async () =>
        writeView(slabs, await readView(slabs, regionOf(fold), fold.layers), fold.bottom, writer),
      ),
    );
  }
  await slab.store(container);
}

/** The fold of a region, its blocks out of slabs in packs of this run. */
async function foldOf(
  container: VaultContainer,
  key: LayerKey & { blocks: number },
  { layers, bottom }: Fold,
  run: RunId,
): Promise<Layer> {
  const view = await readView(container, key, layers);
  const inSlab = ({ frame }: Extent): boolean =>
    frame !== CLEARED && view.packs[view.frames[frame]!.pack]!.name.endsWith('.slab');
  if (!view.extents.some(inSlab)) return layerOf(view, bottom);
  const sink = new PackSink(container, key, run);
  const writer = new RegionWriter(sink);
  await writeView(container, { ...view, extents: view.extents.filter(inSlab) }, true, writer);
  const moved = await writer.finish();
  const builder = new ViewBuilder();
  builder.add({ ...moved, packs: await sink.close() });
  builder.add(layerOf(view, false));
  return layerOf(builder.finish(), bottom);
}

/** Writes what a view shows, each block checked against its hash on the way; without its cleared blocks where nothing lies below. */
async function writeView(
  container: VaultContainer,
  view: RegionView,
  bottom: boolean,
  writer: RegionWriter,
): Promise<void> {
  const cleared = bottom ? [] : view.extents.filter(({ frame }) => frame === CLEARED);
  let next = 0;
  const clearUpTo = (block: number): void => {
    for (; next < cleared.length && cleared[next]!.start < block; next++)
      writer.cleared(cleared[next]!.start, cleared[next]!.count);
  };
  for await (const { start, bytes, hashes } of readBlocks(container, view)) {
    for (let i = 0; i * BLOCK_BYTES < bytes.length; i++) {
      clearUpTo(start + i);
      const block = bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
      await writer.data(start + i, block, hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
    }
  }
  clearUpTo(Infinity);
}

/** About what the folds of a plan write: 48 bytes of map for each block, and the blocks of new slabs. */
export function foldedBytes({ units }: Pick<MergePlan, 'units'>): number {
  return units.reduce(
    (sum, { slab, folds }) =>
      folds.reduce((own, { layers }) => {
        const blocks = layers.reduce((all, layer) => all + layer.dataBlocks + layer.clearedBlocks, 0);
        return own + blocks * (slab === null ? 48 : BLOCK_BYTES);
      }, sum),
    0,
  );
}
