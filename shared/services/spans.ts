import type { DiskId } from '../domain/ids.ts';
import type { Layout } from '../domain/layout.ts';
import type { CountedLayer, Manifest, ManifestDisk, ManifestRegion, PartRef } from '../format/documents.ts';
import type { Chain } from './chain.ts';
import { type RegionStack, stacksOf } from '../domain/point-stack.ts';
import { inOrder } from './pipeline.ts';

/*
 * A disk of 32 TiB has 32,768 regions, and a manifest says something of each that its point changed. So manifests of many regions
 * have parts, and whoever works with several manifests looks at them a span of a disk at a time: as if each had nothing but
 * what lies in that span. What holds for whole manifests holds for each span, since regions know nothing of each other, but for
 * those that share a slab: and a slab ends where a span does.
 */

/** Parts read at once. */
const READS_IN_FLIGHT = 16;

/** Regions `from` to `to`, the latter excluded. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/**
 * The spans of `disk` in which any of `manifests` names a layer, or one of the regions `also` lies, ascending. A part or a slab that was
 * written under another setting is never cut: its spans are one then.
 */
export function spansOf(
  disk: DiskId,
  manifests: readonly Manifest[],
  { spanRegions }: Pick<Layout, 'spanRegions'>,
  also: Iterable<number> = [],
): Span[] {
  const found = new Map<number, number>();
  const add = (first: number, last: number): void => {
    const from = Math.floor(first / spanRegions) * spanRegions;
    const to = (Math.floor(last / spanRegions) + 1) * spanRegions;
    found.set(from, Math.max(found.get(from) ?? 0, to));
  };
  for (const region of also) add(region, region);
  for (const { disks } of manifests) {
    for (const own of disks) {
      if (own.disk !== disk) continue;
      for (const { region } of own.regions) add(region, region);
      for (const { first, last } of reachOfSlabs(own.regions)) add(first, last);
      for (const { first, last } of own.parts ?? []) add(first, last);
    }
  }
  const spans: { from: number; to: number }[] = [];
  for (const [from, to] of [...found].sort(([a], [b]) => a - b)) {
    const before = spans.at(-1);
    if (before !== undefined && from < before.to) before.to = Math.max(before.to, to);
    else spans.push({ from, to });
  }
  return spans;
}

/** Slabs from before there were spans may lie across their borders: their regions stay together, so that their shares add up. */
function reachOfSlabs(regions: readonly ManifestRegion[]): Iterable<{ first: number; last: number }> {
  const reach = new Map<string, { first: number; last: number }>();
  for (const { region, layers } of regions) {
    for (const { point, attempt, slab } of layers) {
      if (slab === undefined) continue;
      const key = `${point}.${attempt}.${slab.number}`;
      reach.set(key, { first: reach.get(key)?.first ?? region, last: region });
    }
  }
  return reach.values();
}

/** The ids of all disks of `manifests`, each once. */
export const disksOf = (manifests: readonly Manifest[]): DiskId[] => [
  ...new Set(manifests.flatMap(({ disks }) => disks.map(({ disk }) => disk))),
];

/** What a manifest says of the regions of its disk in `span`. @throws BackupError VaultObjectMissing, DocumentCorrupt */
export async function regionsOf(
  chain: Chain,
  { regions, parts = [] }: ManifestDisk,
  span: Span,
): Promise<ManifestRegion[]> {
  const found = regions.filter((entry) => isIn(entry, span));
  for (const part of parts) {
    if (part.last < span.from || part.first >= span.to) continue;
    for (const entry of (await chain.part(part)).regions) if (isIn(entry, span)) found.push(entry);
  }
  return found;
}

const isIn = ({ region }: ManifestRegion, { from, to }: Span): boolean => region >= from && region < to;

/** `manifests` as if they had nothing but one disk, and that nothing but the regions of one span. */
export async function within(
  chain: Chain,
  manifests: readonly Manifest[],
  disk: DiskId,
  span: Span,
): Promise<Manifest[]> {
  const reduced: Manifest[] = [];
  for await (const { result } of inOrder(manifests, READS_IN_FLIGHT, (own) => reduce(chain, own, disk, span)))
    reduced.push(result);
  return reduced;
}

/** The stacks of the regions of a span at the last of `manifests`. Manifests from before the disk's chain begins are not looked into. */
export async function stacksWithin(
  chain: Chain,
  manifests: readonly Manifest[],
  disk: DiskId,
  span: Span,
): Promise<Map<number, RegionStack<CountedLayer>>> {
  const { begins = '' } =
    manifests.findLast(({ disks }) => disks.some((own) => own.disk === disk))?.disks.find((own) => own.disk === disk) ??
    {};
  return stacksOf(
    disk,
    await within(
      chain,
      manifests.filter(({ point }) => point >= begins),
      disk,
      span,
    ),
  );
}

async function reduce(chain: Chain, manifest: Manifest, disk: DiskId, span: Span): Promise<Manifest> {
  const own = manifest.disks.find((each) => each.disk === disk);
  if (own === undefined) return { ...manifest, disks: [] };
  const { parts: _, ...rest } = own;
  return { ...manifest, disks: [{ ...rest, regions: await regionsOf(chain, own, span) }] };
}

/** Every span of every disk of `manifests`, one after another. */
export async function* eachSpan(
  chain: Chain,
  manifests: readonly Manifest[],
  layout: Pick<Layout, 'spanRegions'>,
): AsyncGenerator<{ disk: DiskId; span: Span; manifests: Manifest[] }> {
  for (const disk of disksOf(manifests)) {
    for (const span of spansOf(disk, manifests, layout))
      yield { disk, span, manifests: await within(chain, manifests, disk, span) };
  }
}

/** What the layers of some regions add up to. */
export type LayerSum = Pick<PartRef, 'layers' | 'dataBlocks' | 'clearedBlocks' | 'storedBytes' | 'liveBytes'>;

export const NOTHING: LayerSum = { layers: 0, dataBlocks: 0, clearedBlocks: 0, storedBytes: 0, liveBytes: 0 };

const add = (sum: LayerSum, own: LayerSum): LayerSum => ({
  layers: sum.layers + own.layers,
  dataBlocks: sum.dataBlocks + own.dataBlocks,
  clearedBlocks: sum.clearedBlocks + own.clearedBlocks,
  storedBytes: sum.storedBytes + own.storedBytes,
  liveBytes: sum.liveBytes + own.liveBytes,
});

export function sumOfLayers(regions: readonly ManifestRegion[]): LayerSum {
  return regions.flatMap(({ layers }) => layers).reduce((sum, layer) => add(sum, { layers: 1, ...layer }), NOTHING);
}

/** What the layers of a manifest add up to, without reading its parts. */
export function sumOfManifest({ disks }: Manifest): LayerSum {
  return disks.reduce(
    (sum, { regions, parts = [] }) => parts.reduce<LayerSum>(add, add(sum, sumOfLayers(regions))),
    NOTHING,
  );
}
