import { CLEARED } from '../domain/extent.ts';
import type { LayerName } from '../domain/point-stack.ts';
import type { RegionView } from '../domain/region-view.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { type RegionOf, blobOf } from './layers.ts';

/** Bytes of slabs that one unit may keep; what would be more is read as it is asked for. */
const MOST_KEPT_BYTES = 64 * 1024 * 1024;
/** Bytes that nobody wants which are read along for each request that it saves: about what a request costs. */
const GAP_BYTES = 64 * 1024;

/** A layer that a unit is going to read, if it lies in a slab. */
interface Wanted {
  readonly at: RegionOf;
  readonly layer: LayerName;
}

type Ranges = Map<string, { start: number; end: number; bytes?: Promise<Uint8Array | undefined> }>;

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
  const ranges: Ranges = new Map();
  for (const { at, layer } of wanted) {
    if (layer.slab === undefined) continue;
    const { offset, bytes } = layer.slab;
    const name = blobOf(at, layer);
    const known = ranges.get(name) ?? { start: frames ? 0 : offset, end: offset + bytes };
    ranges.set(name, { start: Math.min(known.start, offset), end: Math.max(known.end, offset + bytes) });
  }
  return withRanges(container, ranges);
}

/**
 * A container whose reads of the frames of `views` come from memory, where several of the views have frames in one pack or slab with
 * little between them that nobody wants.
 */
export function withFrameRanges(container: VaultContainer, views: readonly RegionView[]): VaultContainer {
  const packs = new Map<string, { start: number; end: number; wantedBytes: number; views: number }>();
  for (const view of views) {
    const own = new Map<string, { start: number; end: number; wantedBytes: number }>();
    const frames = new Set(view.extents.flatMap(({ frame }) => (frame === CLEARED ? [] : [frame])));
    for (const number of frames) {
      const { pack, offset, storedBytes } = view.frames[number]!;
      const end = offset + storedBytes;
      const { name } = view.packs[pack]!;
      own.set(name, joined(own.get(name), { start: offset, end, wantedBytes: storedBytes }));
    }
    for (const [name, found] of own) {
      const known = packs.get(name);
      packs.set(name, { ...joined(known, found), views: (known?.views ?? 0) + 1 });
    }
  }
  const shared = [...packs].filter(
    ([, { start, end, wantedBytes, views: users }]) =>
      users > 1 && end - start - wantedBytes <= (users - 1) * GAP_BYTES,
  );
  return withRanges(container, new Map(shared.map(([name, { start, end }]) => [name, { start, end }])));
}

type Span = { readonly start: number; readonly end: number; readonly wantedBytes: number };

const joined = (one: Span | undefined, other: Span): Span =>
  one === undefined
    ? other
    : {
        start: Math.min(one.start, other.start),
        end: Math.max(one.end, other.end),
        wantedBytes: one.wantedBytes + other.wantedBytes,
      };

function withRanges(container: VaultContainer, ranges: Ranges): VaultContainer {
  const total = [...ranges.values()].reduce((sum, { start, end }) => sum + end - start, 0);
  if (total === 0 || total > MOST_KEPT_BYTES) return container;
  return {
    ...container,
    async read(name, offset, length, into) {
      const range = ranges.get(name);
      if (range === undefined || offset < range.start || offset + length > range.end)
        return container.read(name, offset, length, into);
      range.bytes ??= container.read(name, range.start, range.end - range.start).catch(() => undefined);
      const bytes = await range.bytes;
      // Where the range cannot be read some of it may be: whoever asks is told of his own part.
      if (bytes === undefined) return container.read(name, offset, length, into);
      return bytes.subarray(offset - range.start, offset - range.start + length);
    },
  };
}
