import type { DiskId, PointId } from './ids.ts';
import { GIB, PRICES } from './prices.ts';

/*
 * What recovery points cost to keep. Within a disk each stored block belongs to exactly one layer, and each layer to exactly one live
 * point; so what the points' layers take adds up to what is stored, and a point's figure is what is paid for keeping it:
 * not what would be saved without it, since blocks that later points still show would go to its successor.
 */

/** A layer as a manifest counts it. */
export interface BilledLayer {
  readonly dataBlocks: number;
  readonly clearedBlocks: number;
  /** Its file and its packs; in a slab its share. */
  readonly storedBytes: number;
  /** Its file and those frames of which a recovery point shows something. */
  readonly liveBytes: number;
}

/** A live point as far as its cost goes. */
export interface BilledPoint {
  readonly point: PointId;
  readonly time: string;
  readonly disks: readonly {
    readonly disk: DiskId;
    readonly lun: number;
    readonly name: string;
    readonly sizeBytes: number;
    readonly regions: readonly { readonly region: number; readonly layers: readonly BilledLayer[] }[];
  }[];
}

/** What belongs to a point, a disk of it, or a region of that. All of it is stored once, for it alone. */
export interface Amount {
  readonly layers: number;
  /** Blocks of 16 KiB with bytes of their own; those that compress well take less. */
  readonly dataBlocks: number;
  /** Blocks noted as cleared: they store nothing. */
  readonly clearedBlocks: number;
  /** Layer files, packs and shares of slabs. */
  readonly layerBytes: number;
  /** What of them is not of blocks that a point shows: dead frames, which compaction takes away once that pays, and packs' own tables. */
  readonly wastedBytes: number;
  readonly checkpointBytes: number;
}

const NOTHING: Amount = {
  layers: 0,
  dataBlocks: 0,
  clearedBlocks: 0,
  layerBytes: 0,
  wastedBytes: 0,
  checkpointBytes: 0,
};

export interface RegionCost extends Amount {
  readonly region: number;
}

export interface DiskCost extends Amount {
  readonly disk: DiskId;
  readonly lun: number;
  readonly name: string;
  readonly sizeBytes: number;
  readonly regionCount: number;
  /** None where they were not asked for. */
  readonly regions: readonly RegionCost[];
}

export interface PointCost extends Amount {
  readonly point: PointId;
  readonly time: string;
  readonly manifestBytes: number;
  /** Layers, checkpoints and the manifest with its parts. */
  readonly bytes: number;
  readonly disks: readonly DiskCost[];
}

export function addAmounts(amounts: readonly Amount[]): Amount {
  return amounts.reduce(
    (sum, each) => ({
      layers: sum.layers + each.layers,
      dataBlocks: sum.dataBlocks + each.dataBlocks,
      clearedBlocks: sum.clearedBlocks + each.clearedBlocks,
      layerBytes: sum.layerBytes + each.layerBytes,
      wastedBytes: sum.wastedBytes + each.wastedBytes,
      checkpointBytes: sum.checkpointBytes + each.checkpointBytes,
    }),
    NOTHING,
  );
}

/** A point's cost, region by region; `checkpointBytes` says what the checkpoint of a region's entry takes, 0 where it has none. */
export function costOfPoint(
  point: BilledPoint,
  manifestBytes: number,
  checkpointBytes: (disk: DiskId, region: number) => number,
): PointCost {
  const disks = point.disks.map(({ disk, lun, name, sizeBytes, regions }): DiskCost => {
    const costs = regions.map(({ region, layers }): RegionCost => {
      const amounts = layers.map((layer): Amount => ({
        layers: 1,
        dataBlocks: layer.dataBlocks,
        clearedBlocks: layer.clearedBlocks,
        layerBytes: layer.storedBytes,
        wastedBytes: layer.storedBytes - layer.liveBytes,
        checkpointBytes: 0,
      }));
      return { region, ...addAmounts(amounts), checkpointBytes: checkpointBytes(disk, region) };
    });
    return { disk, lun, name, sizeBytes, ...addAmounts(costs), regionCount: costs.length, regions: costs };
  });
  return withSum(point, manifestBytes, disks);
}

function withSum(
  { point, time }: Pick<PointCost, 'point' | 'time'>,
  manifestBytes: number,
  disks: DiskCost[],
): PointCost {
  const amount = addAmounts(disks);
  const bytes = amount.layerBytes + amount.checkpointBytes + manifestBytes;
  return { point, time, ...amount, manifestBytes, bytes, disks };
}

/** The same with what the documents take that name its layers. */
export const withManifest = (cost: PointCost, manifestBytes: number): PointCost =>
  withSum(cost, manifestBytes, [...cost.disks]);

/** What two costs of different regions of one point come to; with the regions one by one where `inDetail`. */
export function joinCosts(one: PointCost, other: PointCost, inDetail: boolean): PointCost {
  const disks = one.disks.map((own): DiskCost => {
    const more = other.disks.find(({ disk }) => disk === own.disk);
    if (more === undefined) return own;
    return {
      ...own,
      ...addAmounts([own, more]),
      regionCount: own.regionCount + more.regionCount,
      regions: inDetail ? [...own.regions, ...more.regions] : [],
    };
  });
  return withSum(one, one.manifestBytes + other.manifestBytes, disks);
}

/** Dollars in a month for `bytes` that stay, by access tier: sample prices (domain/prices), no quote. */
export function monthlyPrice(bytes: number): Readonly<Record<keyof typeof PRICES, number>> {
  return { hot: (bytes / GIB) * PRICES.hot.gibMonth, cool: (bytes / GIB) * PRICES.cool.gibMonth };
}

/** Dollars for `requests` writes, by access tier: what it takes to write so many objects once. */
export function writePrice(requests: number): Readonly<Record<keyof typeof PRICES, number>> {
  return { hot: requests * PRICES.hot.write, cool: requests * PRICES.cool.write };
}
