import type { ItemRow } from '../catalog/catalog.ts';
import {
  COMPACTION_RULES,
  type CompactionRules,
  type CompactionVerdict,
  type WeighedLayer,
  chooseLayers,
  keepBest,
  sparsePacks,
  weighLayers,
} from '../domain/compaction.ts';
import { isBackupError } from '../domain/errors.ts';
import type { PointId } from '../domain/ids.ts';
import type { Layer } from '../domain/layer.ts';
import { decideRetention } from '../domain/retention.ts';
import type { CompactUnit } from '../format/compact-plan.ts';
import type { ChainRecord, CountedLayer } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { Chain } from './chain.ts';
import { readLayerMap } from './layers.ts';
import { framesOfPack } from './pack-tables.ts';
import { inOrder } from './pipeline.ts';
import { policyOf } from './policies.ts';
import type { Ports } from './ports.ts';
import { readPoints } from './projection.ts';
import { eachSpan } from './spans.ts';

/** Layers that one plan looks at, whether or not they turn out to be worth it. */
const MOST_LAYERS = 512;
/** Layers that are kept while those of all spans are weighed: of some of them another of the same point and region goes first. */
const MOST_KEPT = 4 * MOST_LAYERS;
/** Packs that one plan rewrites. */
const MOST_PACKS = 1_024;
const READS_IN_FLIGHT = 8;

/** An item and where it lies. */
export interface CompactionSource {
  readonly vault: string;
  /** Of the item's point rows. */
  readonly partition: string;
  readonly item: ItemRow;
  readonly container: VaultContainer;
  readonly chain: Chain;
}

/** What a compaction on one record would do. */
export interface CompactionChoice {
  readonly units: readonly CompactUnit[];
  /** Bytes of frames that the units move. */
  readonly bytes: number;
  /** About how many bytes more it would pay to move, beyond the budget. */
  readonly left: number;
}

const rulesOf = (ports: Ports): CompactionRules => ({ ...COMPACTION_RULES, ...ports.settings.compaction });

/**
 * Chooses the packs that a compaction on `record` rewrites: weighs all layers by the counts in their manifests, then reads the maps of
 * those that pay and weighs them pack by pack, as far as the budget goes. While the record has protection stopped none is chosen.
 */
export async function chooseUnits(
  ports: Ports,
  source: CompactionSource,
  record: ChainRecord,
  budgetBytes: number,
): Promise<CompactionChoice> {
  if (record.state !== 'protected') return { units: [], bytes: 0, left: 0 };
  const rules = rulesOf(ports);
  // By the counts a layer moves whole; of most only some packs do, so that there is room for more layers than it seemed.
  const { paying, beyond } = await weigh(ports, source, record, budgetBytes);
  const looks = inOrder(paying.slice(0, MOST_LAYERS), READS_IN_FLIGHT, (own) => look(ports, source, own, rules));
  const units: CompactUnit[] = [];
  const names = new Set<string>();
  let bytes = 0;
  let looked = 0;
  let chosen = 0;
  for await (const { item: own, result } of looks) {
    const { disk, region, owner, layer, months } = own;
    if (result !== undefined && result.among.size > 0) {
      const { map, among } = result;
      const room = chosen >= MOST_PACKS ? 0 : budgetBytes - bytes;
      const { packs, cost } = sparsePacks(map, months, rules, room, among);
      if (packs.length === 0) {
        if (sparsePacks(map, months, rules, Infinity, among).packs.length > 0) break; // there is no room for the next
        looked++;
        continue; // what is left without the packs whose tables do not read pays no more
      }
      // A compacted layer is named by the point that wrote it, its region, and the plan: two of one name would be one.
      const name = `${disk}/${region}/${layer.point}`;
      if (!names.has(name)) {
        names.add(name);
        bytes += cost.movedBytes;
        chosen += packs.length;
        units.push({
          disk,
          region,
          owner,
          layer: { point: layer.point, attempt: layer.attempt },
          packs: packs.map((pack) => map.packs[pack]!.name),
          movedBytes: cost.movedBytes,
        });
      }
    }
    looked++;
  }
  return { units, bytes, left: paying.slice(looked).reduce((sum, { cost }) => sum + cost.movedBytes, beyond) };
}

/**
 * The layers that it pays to compact, by what the item's manifests say of them: so many as one plan may need, those that save the most,
 * and of the others the bytes that they would move.
 */
async function weigh(
  ports: Ports,
  { vault, partition, item, chain }: CompactionSource,
  record: ChainRecord,
  budgetBytes: number,
): Promise<{ paying: CompactionVerdict<CountedLayer>[]; beyond: number }> {
  const live = new Set(record.points.map(({ point }) => point));
  const rows = (await readPoints(ports, partition)).filter(({ point }) => live.has(point));
  const now = ports.clock.now();
  const verdicts = decideRetention(rows, await policyOf(ports, vault, item), now);
  const expiry = new Map(verdicts.map(({ point, expiry: end }) => [point, end?.at]));
  const expiresAt = (point: PointId): number | undefined => expiry.get(point);
  const paying: WeighedLayer<CountedLayer>[] = [];
  let beyond = 0;
  const manifests = await chain.manifests(record);
  for await (const { manifests: reduced } of eachSpan(chain, manifests, ports.settings.layout)) {
    const weighed = weighLayers(reduced, expiresAt, now, rulesOf(ports));
    for (const own of weighed) if (own.reason === undefined) paying.push(own);
    beyond += keepBest(paying, MOST_KEPT);
  }
  return { paying: chooseLayers(paying, budgetBytes), beyond };
}

/**
 * Where the layer's blocks are, and which of its sparse packs can be rewritten: those whose own tables agree with it. Undefined when the
 * layer does not read: that is verify's business, and no reason to leave all others as they are.
 */
async function look(
  ports: Ports,
  { container, item }: CompactionSource,
  { disk, region, layer, months }: CompactionVerdict<CountedLayer>,
  rules: CompactionRules,
): Promise<{ map: Layer; among: Set<number> } | undefined> {
  try {
    const map = await readLayerMap(container, { item: item.itemId, disk, region }, layer);
    const among = new Set<number>();
    for (const pack of sparsePacks(map, months, rules).packs)
      if ((await framesOfPack(ports, container, map, pack)) !== undefined) among.add(pack);
    return { map, among };
  } catch (error) {
    if (!isBackupError(error, 'LayerCorrupt', 'VaultObjectMissing', 'FormatUnsupported')) throw error;
    ports.log(`region ${region} of disk ${disk} is not compacted: ${error.message}`);
    return undefined;
  }
}
