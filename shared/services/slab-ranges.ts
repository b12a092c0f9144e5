import type { LayerName } from '../domain/point-stack.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { type RegionOf, blobOf } from './layers.ts';

/** Bytes of slabs that one unit may keep; what would be more is read as it is asked for. */
const MOST_KEPT_BYTES = 64 * 1024 * 1024;

/** A layer that a unit is going to read, if it lies in a slab. */
interface Wanted {
  readonly at: RegionOf;
  readonly layer: LayerName;
}

/**
 * A container whose reads of slabs come from memory. The regions of one unit share few slabs, in which their layers lie one after another:
 * so each slab is read once, from the first wanted layer to the last, or with `frames` from its start, since the blocks are
 * wanted too. Nothing is read before it is asked for, and a read that is not inside goes to the container.
 */
export function withSlabRanges(
  container: VaultContainer,
  wanted: readonly Wanted[],
  { frames }: { frames: boolean },
): VaultContainer {
  const ranges = new Map<string, { start: number; end: number; bytes?: Promise<Uint8Array | undefined> }>();
  for (const { at, layer } of wanted) {
    if (layer.slab === undefined) continue;
    const { offset, bytes } = layer.slab;
    const name = blobOf(at, layer);
    const known = ranges.get(name) ?? { start: frames ? 0 : offset, end: offset + bytes };
    ranges.set(name, { start: Math.min(known.start, offset), end: Math.max(known.end, offset + bytes) });
  }
  const total = [...ranges.values()].reduce((sum, { start, end }) => sum + end - start, 0);
  if (total > MOST_KEPT_BYTES) return container;
  return {
    ...container,
    async read(name, offset, length) {
      const range = ranges.get(name);
      if (range === undefined || offset < range.start || offset + length > range.end)
        return container.read(name, offset, length);
      range.bytes ??= container.read(name, range.start, range.end - range.start).catch(() => undefined);
      const bytes = await range.bytes;
      // Where the range cannot be read some of it may be: whoever asks is told of his own part.
      if (bytes === undefined) return container.read(name, offset, length);
      return bytes.subarray(offset - range.start, offset - range.start + length);
    },
  };
}
