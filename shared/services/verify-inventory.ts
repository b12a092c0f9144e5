import { pointsShowing } from '../domain/findings.ts';
import type { DiskId } from '../domain/ids.ts';
import { HASH_BYTES, regionsIn } from '../domain/units.ts';
import type { CountedLayer, Manifest } from '../format/documents.ts';
import { LAYER_HEADER_BYTES } from '../format/layer-file.ts';
import { REGION_DIGITS, checkpointName, regionsUnder } from '../format/names.ts';
import type { OwnedLayer, VerifyPlan } from '../format/verify-plan.ts';
import type { BlobInfo } from '../vault/vault-container.ts';
import { listRegions } from './disk-listing.ts';
import type { Found } from './findings.ts';
import { blobOf } from './layers.ts';
import { countsOf } from './layer-writer.ts';
import { inOrder } from './pipeline.ts';
import type { Settings } from './ports.ts';
import { wholeRegion } from './region-bytes.ts';
import { type Span, spansOf } from './spans.ts';
import { readCovers } from './verify-region.ts';
import { type LiveDisk, type LiveRegion, liveWithin, owned, spanAround } from './verify-points.ts';
import type { VerifyWork } from './verify-work.ts';

/** Objects that a listing has not shown and that are asked for at once. */
const STATS_IN_FLIGHT = 8;

/** One object that the manifests name, and where. */
interface Named {
  readonly region: LiveRegion;
  /** The layer in it; undefined: a checkpoint. */
  readonly layer: OwnedLayer | undefined;
  readonly counted: CountedLayer | undefined;
}

/**
 * A disk's inventory in pieces of a thousand regions: the digits that the regions of each begin with. A small disk's is in one piece, which goes
 * by one listing, and so is that of one whose regions' numbers are longer than names pad them.
 */
export function inventoryParts(
  { disk, sizeBytes }: LiveDisk,
  manifests: readonly Manifest[],
  { geometry, layout }: Pick<Settings, 'geometry' | 'layout'>,
): (string | undefined)[] {
  const last = spansOf(disk, manifests, layout).at(-1);
  const regions = Math.max(regionsIn(sizeBytes, geometry), last?.to ?? 0);
  const zeros = Math.floor(Math.log10(layout.spanRegions));
  if (regions <= 10 ** zeros || regions > 10 ** REGION_DIGITS) return [undefined];
  return Array.from({ length: Math.ceil(regions / 10 ** zeros) }, (_, index) =>
    `${index}`.padStart(REGION_DIGITS - zeros, '0'),
  );
}

/**
 * Compares a listing of a disk's folder, or of what belongs to the regions that begin with `digits`, with what the manifests name: every
 * layer, slab and checkpoint is there, as large as it must be, and says of itself what the manifest says of it. Nothing is read,
 * except maps of layers above one that is gone. Packs are known only to layers: reading in depth looks at them. Answers what was found
 * and how many objects nobody names. Memory: the layers of the regions and of their spans.
 */
export async function takeInventory(
  work: VerifyWork,
  disk: VerifyPlan['disks'][number],
  digits = '',
): Promise<{ found: Found[]; leftovers: number }> {
  const { layout } = work.ports.settings;
  const regions = digits === '' ? ALL : regionsUnder(digits);
  for (;;) {
    // Slabs are called by their first region: those that begin among the regions may end in what is left of the span.
    const { record, live } = await liveWithin(work.chain, disk.disk, (manifests) => ({
      from: regions.from,
      to: digits === '' ? Infinity : Math.max(regions.to, spanAround(regions.to - 1, disk.disk, manifests, layout).to),
    }));
    const named = live === undefined ? new Map<string, Named[]>() : namesIn(work, live, regions);
    const listed = await compare(work, disk.disk, digits, named);
    if (listed.missing.size > 0 && (await work.chain.newest()).seq !== record.seq) continue; // it may have been merged away
    const found = [...listed.wrong];
    for (const [name, uses] of listed.missing)
      for (const use of uses)
        found.push(...(await damage(work, disk, live!, name, use, 'VaultObjectMissing', `${name} is gone`)));
    for (const { name, use, message } of listed.cut)
      found.push(...(await damage(work, disk, live!, name, use, 'LayerCorrupt', message)));
    return { found, leftovers: listed.leftovers };
  }
}

/** All regions of a disk. */
const ALL: Span = { from: 0, to: Infinity };

/** Everything of some regions that manifests name, by name, and slabs called by one of them. A slab is named by each of its regions. */
function namesIn({ item }: VerifyWork, live: LiveDisk, { from, to }: Span): Map<string, Named[]> {
  const named = new Map<string, Named[]>();
  const add = (name: string, use: Named): void => {
    const uses = named.get(name);
    if (uses === undefined) named.set(name, [use]);
    else uses.push(use);
  };
  for (const region of live.regions.values()) {
    const at = { item, disk: live.disk, region: region.region };
    const isWanted = (home: number): boolean => home >= from && home < to;
    for (const own of region.layers) {
      if (isWanted(region.region) || isWanted(own.layer.slab?.number ?? region.region))
        add(blobOf(at, own.layer), { region, layer: owned(own), counted: own.layer });
    }
    if (!isWanted(region.region)) continue;
    for (const { attempt } of region.checkpoints)
      add(checkpointName(item, live.disk, region.region, attempt), {
        region,
        layer: undefined,
        counted: undefined,
      });
  }
  return named;
}

interface Listed {
  readonly missing: Map<string, Named[]>;
  /** Counts that do not fit. */
  readonly wrong: Found[];
  /** Layer files and slabs too short for what they must hold. */
  readonly cut: { name: string; use: Named; message: string }[];
  leftovers: number;
}

async function compare(
  { container, item }: VerifyWork,
  disk: DiskId,
  digits: string,
  named: ReadonlyMap<string, Named[]>,
): Promise<Listed> {
  const listed: Listed = { missing: new Map(named), wrong: [], cut: [], leftovers: 0 };
  for await (const info of listRegions(container, item, disk, digits)) {
    if (named.has(info.name)) compareOne(disk, info, named, listed);
    else if (!info.name.endsWith('.pack')) listed.leftovers++;
  }
  // A slab that begins before these regions, or in an old vault one that is not called by its first region, is not in the listing.
  const unseen = [...listed.missing.keys()];
  for await (const { result } of inOrder(unseen, STATS_IN_FLIGHT, (name) => container.stat(name)))
    if (result !== undefined) compareOne(disk, result, named, listed);
  return listed;
}

function compareOne(disk: DiskId, info: BlobInfo, named: ReadonlyMap<string, Named[]>, listed: Listed): void {
  listed.missing.delete(info.name);
  for (const use of named.get(info.name)!) {
    const short = tooShort(info, use);
    if (short !== undefined) listed.cut.push({ name: info.name, use, message: short });
    else listed.wrong.push(...otherCounts(info, use, disk));
  }
}

/** A layer file has at least its header and a hash for each block; a slab has its layers. */
function tooShort({ name, sizeBytes }: BlobInfo, { layer, counted }: Named): string | undefined {
  if (layer === undefined || counted === undefined) return undefined;
  const least =
    layer.slab === undefined
      ? LAYER_HEADER_BYTES + counted.dataBlocks * HASH_BYTES
      : layer.slab.offset + layer.slab.bytes;
  return sizeBytes >= least ? undefined : `${name} has ${sizeBytes} bytes; what it holds takes at least ${least}`;
}

function otherCounts({ name, summary }: BlobInfo, { region, layer, counted }: Named, disk: DiskId): Found[] {
  if (layer === undefined || counted === undefined || layer.slab !== undefined) return [];
  const said = countsOf(summary);
  const { dataBlocks, clearedBlocks, storedBytes } = counted;
  if (said.dataBlocks === dataBlocks && said.clearedBlocks === clearedBlocks && said.storedBytes === storedBytes)
    return [];
  const manifest = `${dataBlocks} blocks, ${clearedBlocks} cleared, ${storedBytes} bytes`;
  const own = `${said.dataBlocks}, ${said.clearedBlocks}, ${said.storedBytes}`;
  const message = `${name} says of itself ${own}; its manifest says ${manifest}. No block is lost`;
  return [
    {
      kind: 'index',
      object: name,
      code: 'LayerCorrupt',
      message,
      disk: { disk },
      region: region.region,
      runs: [],
      points: [],
    },
  ];
}

/** What it means that an object is gone or cut: a checkpoint is only a cache, a layer is somebody's data. */
async function damage(
  work: VerifyWork,
  disk: VerifyPlan['disks'][number],
  live: LiveDisk,
  object: string,
  { region, layer }: Named,
  code: string,
  message: string,
): Promise<Found[]> {
  const place = { object, code, message, disk, region: region.region, runs: [], newest: live.points.at(-1)?.point };
  if (layer === undefined) return [{ ...place, kind: 'index', points: [] }];
  const at = { item: work.item, disk: live.disk, region: region.region };
  const layers = region.layers.map(owned);
  const index = layers.findIndex((each) => blobOf(at, each) === object);
  const whole = [wholeRegion(work.ports)];
  const { covers } = await readCovers(work, at, layers.slice(index + 1), whole);
  const points = pointsShowing(whole, layer.owner, covers, live.points);
  if (points.length > 0) return [{ ...place, kind: 'layer', points }];
  return [{ ...place, message: `${message}; no live point shows it`, kind: 'index', points }];
}
