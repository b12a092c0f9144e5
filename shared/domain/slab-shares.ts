import type { LayerName } from './point-stack.ts';

/** A layer with the bytes that it is billed for. */
interface SharedLayer extends LayerName {
  readonly storedBytes: number;
}

interface RegionLayers {
  readonly region: number;
  readonly layers: readonly SharedLayer[];
}

/**
 * A slab stays as it is until the last of its layers is gone. So what a merge lets go of in one is still stored: the first layer that
 * stays takes that share over, as bytes that nobody shows any more, and the shares still add up to the slab's size.
 *
 * `before` are the layers of one disk that the merge found, of the expired point and of its successor; `after` is what the
 * successor's manifest is going to list. Layers outside of slabs stay as they are.
 */
export function wholeSlabs<Region extends RegionLayers>(
  before: Iterable<SharedLayer>,
  after: readonly Region[],
): Region[] {
  const missing = new Map<string, number>();
  const count = (layer: SharedLayer, bytes: number): unknown =>
    missing.set(slabOf(layer), (missing.get(slabOf(layer)) ?? 0) + bytes);
  for (const layer of inSlabs(before)) count(layer, layer.storedBytes);
  for (const layer of inSlabs(after.flatMap(({ layers }) => layers))) count(layer, -layer.storedBytes);
  return after.map((region) => {
    if (!region.layers.some((layer) => (missing.get(slabOf(layer)) ?? 0) > 0)) return region;
    const layers = region.layers.map((layer) => {
      const slab = slabOf(layer);
      const share = missing.get(slab) ?? 0;
      missing.delete(slab);
      return share > 0 ? { ...layer, storedBytes: layer.storedBytes + share } : layer;
    });
    return { ...region, layers };
  });
}

/** Which slab of its disk a layer lies in; empty for a layer in none. */
const slabOf = ({ point, attempt, slab }: LayerName): string =>
  slab === undefined ? '' : `${point}.${attempt}.${slab.number}`;

/** The layers that lie in slabs, each once. */
function inSlabs(layers: Iterable<SharedLayer>): Iterable<SharedLayer> {
  const found = new Map<string, SharedLayer>();
  for (const layer of layers) if (layer.slab !== undefined) found.set(`${slabOf(layer)}@${layer.slab.offset}`, layer);
  return found.values();
}
