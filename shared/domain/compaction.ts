import type { DiskId, PointId } from './ids.ts';
import type { Frame, Layer } from './layer.ts';
import type { DiskLayers, LayerName, LayeredPoint } from './point-stack.ts';
import { GIB, MONTH_MS, PRICES, type TierPrices } from './prices.ts';
import { BLOCK_BYTES, FRAME_BLOCKS, PACK_BYTES } from './units.ts';

/*
 * Merges leave packs behind in which only some frames are still in use. Compaction copies those frames into new packs and lets the old
 * ones go. Live are whole frames: one live block of sixteen keeps its frame. A frame is never unpacked or compressed anew, so no
 * byte of it is looked at.
 */

/** A layer and what it takes up, as manifests say. */
export interface MeasuredLayer extends LayerName {
  readonly dataBlocks: number;
  /** The layer file and its packs. */
  readonly storedBytes: number;
  /** The layer file and those frames that are still in use. */
  readonly liveBytes: number;
}

/** When compaction pays. */
export interface CompactionRules {
  /** Only what is live to less than this share, from 0 to 1, is compacted. */
  readonly liveBelow: number;
  /** Only layers that would lose at least so many bytes. */
  readonly leastWasteBytes: number;
  /** The months of storage that a saving counts for where the owner is kept without end. */
  readonly mostMonths: number;
  readonly prices: TierPrices;
}

/**
 * Prices of the cool tier, where requests cost most against what is stored: what pays there pays in the hot tier too. What a tier
 * charges for blobs that are deleted early is left out of account: manifests do not tell the age of packs.
 */
export const COMPACTION_RULES: CompactionRules = {
  liveBelow: 0.7,
  leastWasteBytes: 1_048_576,
  mostMonths: 12,
  prices: PRICES.cool,
};

/** The months that a saving lasts: until the point that owns it expires (undefined: never). */
export function monthsLeft(expiresAtMs: number | undefined, nowMs: number, rules: CompactionRules): number {
  if (expiresAtMs === undefined) return rules.mostMonths;
  return Math.min(rules.mostMonths, Math.max(0, (expiresAtMs - nowMs) / MONTH_MS));
}

/** What a rewrite would move, save and ask for. */
export interface CompactionCost {
  /** Bytes of frames that are copied. */
  readonly movedBytes: number;
  readonly savedBytes: number;
  /** Blocks, lists of blocks and the layer file. */
  readonly writes: number;
  readonly reads: number;
}

/** Dollars that a rewrite earns over `months`, requests paid; not more than 0 where it does not pay. */
export function gainOf(cost: CompactionCost, months: number, { prices }: CompactionRules): number {
  const saved = (cost.savedBytes / GIB) * prices.gibMonth * months;
  const asked = cost.writes * prices.write + cost.reads * prices.read + (cost.movedBytes / GIB) * prices.gibRead;
  return saved - asked;
}

/** One layer of one region, and what compaction would do with it. */
export interface CompactionVerdict<Ref extends MeasuredLayer = MeasuredLayer> {
  readonly disk: DiskId;
  readonly region: number;
  /** The point whose manifest lists the layer. */
  readonly owner: PointId;
  readonly layer: Ref;
  readonly months: number;
  readonly cost: CompactionCost;
  /** `postpone`: it pays, but something else goes first in this run. */
  readonly verdict: 'compact' | 'postpone' | 'leave';
  readonly reason: string;
}

/**
 * Weighs every layer of `points`, from the counts in their manifests alone. What pays is taken in the order of saving per
 * request, until the bytes that would be moved reach `budgetBytes`: of the last layer perhaps only some packs. All verdicts are answered, the chosen ones first and in that order.
 *
 * How many runs of frames a layer's live bytes make is not known here, and estimated as if one frame in two were dead; whoever reads
 * the layer weighs again, pack by pack (`sparsePacks`).
 */
export function decideCompaction<Ref extends MeasuredLayer>(
  points: readonly LayeredPoint<DiskLayers<Ref>>[],
  expiresAtMs: (point: PointId) => number | undefined,
  nowMs: number,
  budgetBytes: number,
  rules: CompactionRules = COMPACTION_RULES,
): CompactionVerdict<Ref>[] {
  const weighed = weighLayers(points, expiresAtMs, nowMs, rules);
  const left = weighed.flatMap(({ reason, ...own }): CompactionVerdict<Ref>[] =>
    reason === undefined ? [] : [{ ...own, verdict: 'leave', reason }],
  );
  return [...chooseLayers(weighed, budgetBytes), ...left];
}

/** A layer by its counts; `reason` says why it stays as it is, if it does. */
export type WeighedLayer<Ref extends MeasuredLayer> = Omit<CompactionVerdict<Ref>, 'verdict' | 'reason'> & {
  readonly reason: string | undefined;
};

/** Weighs the layers of `points`, from the counts in their manifests alone. */
export function weighLayers<Ref extends MeasuredLayer>(
  points: readonly LayeredPoint<DiskLayers<Ref>>[],
  expiresAtMs: (point: PointId) => number | undefined,
  nowMs: number,
  rules: CompactionRules,
): WeighedLayer<Ref>[] {
  return points.flatMap(({ point: owner, disks }) => {
    const months = monthsLeft(expiresAtMs(owner), nowMs, rules);
    return disks.flatMap(({ disk, regions }) =>
      regions.flatMap(({ region, layers }) =>
        layers.map((layer) => ({ disk, region, owner, layer, months, ...weigh(layer, months, rules) })),
      ),
    );
  });
}

/** The verdicts on those of `weighed` that pay. */
export function chooseLayers<Ref extends MeasuredLayer>(
  weighed: readonly WeighedLayer<Ref>[],
  budgetBytes: number,
): CompactionVerdict<Ref>[] {
  const paying = weighed.filter(({ reason }) => reason === undefined).sort(byWorth);
  const chosen: CompactionVerdict<Ref>[] = [];
  const postponed: CompactionVerdict<Ref>[] = [];
  const taken = new Set<string>();
  let moved = 0;
  for (const own of paying) {
    // A compacted layer is named by the point that wrote it, its region, and the plan: two of one name would be one.
    const name = `${own.disk}/${own.region}/${own.layer.point}`;
    if (moved >= budgetBytes) {
      postponed.push({ ...own, verdict: 'postpone', reason: 'the budget of this run is used up' });
    } else if (taken.has(name)) {
      postponed.push({ ...own, verdict: 'postpone', reason: 'another layer of the same point and region goes first' });
    } else {
      taken.add(name);
      moved += own.cost.movedBytes;
      const { savedBytes } = own.cost;
      chosen.push({ ...own, verdict: 'compact', reason: `saves ${savedBytes} bytes for ${round(own.months)} months` });
    }
  }
  return [...chosen, ...postponed];
}

/** Cuts `paying` down to the `most` layers that save the most for each request; answers how many bytes the others would move. */
export function keepBest(paying: { readonly cost: CompactionCost }[], most: number): number {
  if (paying.length <= most) return 0;
  return paying
    .sort(byWorth)
    .splice(most)
    .reduce((sum, { cost }) => sum + cost.movedBytes, 0);
}

/** Orders by what is saved for each request, the most first. */
const byWorth = (a: { readonly cost: CompactionCost }, b: { readonly cost: CompactionCost }): number =>
  perRequest(b.cost) - perRequest(a.cost);

const round = (months: number): number => Math.round(months * 10) / 10;
const perRequest = ({ savedBytes, writes, reads }: CompactionCost): number => savedBytes / (writes + reads);

/** The cost by a layer's counts, and why it stays as it is, if it does. */
function weigh(
  layer: MeasuredLayer,
  months: number,
  rules: CompactionRules,
): { cost: CompactionCost; reason: string | undefined } {
  const savedBytes = Math.max(0, layer.storedBytes - layer.liveBytes);
  const packs = Math.ceil(layer.liveBytes / PACK_BYTES);
  // Frames hold 16 blocks, of which one at least is live: so many runs at most, and as likely as not half as many.
  const frames = Math.max(layer.dataBlocks / FRAME_BLOCKS, layer.liveBytes / (FRAME_BLOCKS * BLOCK_BYTES));
  const runs = Math.ceil(frames / 2);
  const cost = costOf(layer.liveBytes, savedBytes, runs, packs, Math.ceil(layer.storedBytes / PACK_BYTES));
  const reason = (): string | undefined => {
    if (layer.slab !== undefined) return 'it lies in a slab';
    if (savedBytes === 0) return 'nothing of it is dead';
    const share = layer.liveBytes / layer.storedBytes;
    if (share >= rules.liveBelow) return `${Math.floor(share * 100)} % of it is live`;
    if (savedBytes < rules.leastWasteBytes) return `only ${savedBytes} bytes of it are dead`;
    if (gainOf(cost, months, rules) <= 0)
      return `${savedBytes} bytes for ${round(months)} months do not pay for the requests`;
    return undefined;
  };
  return { cost, reason: reason() };
}

/** `runs` of frames that are copied out of `sources` packs into `packs` new ones. */
function costOf(movedBytes: number, savedBytes: number, runs: number, packs: number, sources: number): CompactionCost {
  return {
    movedBytes,
    savedBytes,
    // Each new pack besides its runs: a header, a table, the list of its blocks. And the layer.
    writes: runs + 3 * packs + 1,
    // The runs, the tables of the old packs, a look at each new one's blocks. And the layer.
    reads: runs + sources + packs + 2,
  };
}

/** Adjacent frames of one pack. */
export interface FrameRun {
  readonly pack: number;
  readonly offset: number;
  readonly bytes: number;
}

/** The frames given, in the order given, as runs without a gap. */
export function runsOf(frames: readonly Frame[]): FrameRun[] {
  const runs: { pack: number; offset: number; bytes: number }[] = [];
  for (const { pack, offset, storedBytes } of frames) {
    const last = runs.at(-1);
    if (last !== undefined && last.pack === pack && last.offset + last.bytes === offset) last.bytes += storedBytes;
    else runs.push({ pack, offset, bytes: storedBytes });
  }
  return runs;
}

/**
 * The packs of a layer (by their index) that are worth rewriting, with what that costs in all: those that are live to less than the
 * share of the rules and earn their requests, most saving per request first, as many as `budgetBytes` allow to be moved. Exact: the
 * layer's map tells each frame in use. Packs that are no blobs of their own are left alone, and with `among` all others than those.
 */
export function sparsePacks(
  layer: Pick<Layer, 'packs' | 'frames'>,
  months: number,
  rules: CompactionRules,
  budgetBytes: number = Infinity,
  among?: ReadonlySet<number>,
): { packs: number[]; cost: CompactionCost } {
  const framesOf = Map.groupBy(layer.frames, ({ pack }) => pack);
  const sparse = layer.packs.flatMap(({ name, totalBytes }, pack) => {
    const frames = (framesOf.get(pack) ?? []).toSorted((a, b) => a.offset - b.offset);
    const live = frames.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
    if (among?.has(pack) === false || !name.endsWith('.pack') || live >= totalBytes * rules.liveBelow) return [];
    const table = frames.reduce((sum, { blocks }) => sum + 12 + 4 * blocks, 64);
    const cost = costOf(live, Math.max(0, totalBytes - live - table), runsOf(frames).length, 1, 1);
    return gainOf(cost, months, rules) > 0 ? [{ pack, cost }] : [];
  });
  const waste = sparse.reduce((sum, { cost }) => sum + cost.savedBytes, 0);
  const total = { movedBytes: 0, savedBytes: 0, writes: 0, reads: 0 };
  if (waste < rules.leastWasteBytes) return { packs: [], cost: total };
  const packs: number[] = [];
  for (const { pack, cost } of sparse.toSorted((a, b) => perRequest(b.cost) - perRequest(a.cost))) {
    if (total.movedBytes + cost.movedBytes > budgetBytes) continue;
    packs.push(pack);
    total.movedBytes += cost.movedBytes;
    total.savedBytes += cost.savedBytes;
    total.writes += cost.writes;
    total.reads += cost.reads;
  }
  return { packs: packs.sort((a, b) => a - b), cost: total };
}
