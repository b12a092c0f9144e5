import type { AttemptId, DiskId, ItemId, PointId, RunId } from '../shared/domain/ids.ts';
import { BLOCK_BYTES, HASH_BYTES, PACK_BYTES } from '../shared/domain/units.ts';
import type { Layer } from '../shared/domain/layer.ts';
import type { CountedLayer } from '../shared/format/documents.ts';
import { encodeLayer } from '../shared/format/layer-file.ts';
import {
  type LayerKey,
  diskPrefix,
  layerName,
  layersPrefix,
  packName,
  parseLayerName,
} from '../shared/format/names.ts';
import type { BlobInfo, VaultContainer } from '../shared/vault/vault-container.ts';

const RUN = '00000001' as RunId;

/** What one point has written of every region: a layer with so many packs. */
export interface DensePoint {
  readonly point: PointId;
  readonly attempt: AttemptId;
  readonly packs: number;
}

/** Layers and packs of a disk that are nowhere: what they are called, and what is in the layers, follows from their place. */
export class DenseDisk {
  readonly item: ItemId;
  readonly disk: DiskId;
  readonly regions: number;
  readonly points: readonly DensePoint[];

  constructor(item: ItemId, disk: DiskId, regions: number, points: readonly DensePoint[]) {
    this.item = item;
    this.disk = disk;
    this.regions = regions;
    this.points = points;
  }

  /** How many names there are. */
  get names(): number {
    return this.points.reduce((sum, { packs }) => sum + this.regions * (packs + 1), 0);
  }

  counted({ point, attempt, packs }: DensePoint): CountedLayer {
    const storedBytes = packs * PACK_BYTES;
    return { point, attempt, dataBlocks: packs, clearedBlocks: 0, storedBytes, liveBytes: storedBytes };
  }

  /** The layer of that name; undefined where there is none. */
  layer(name: string): Uint8Array | undefined {
    const key = parseLayerName(name);
    const own = key && this.#point(key);
    if (key === undefined || own === undefined) return undefined;
    const layer: Layer = {
      packs: this.#packs(key, own).map((pack) => ({ name: pack, totalBytes: PACK_BYTES })),
      frames: Array.from({ length: own.packs }, (_, pack) => ({
        pack,
        offset: 0,
        storedBytes: BLOCK_BYTES,
        blocks: 1,
        codec: 0,
      })),
      extents: Array.from({ length: own.packs }, (_, frame) => ({ start: 2 * frame, count: 1, frame, slot: 0 })),
      hashes: new Uint8Array(own.packs * HASH_BYTES),
    };
    return encodeLayer(name, layer);
  }

  /** The names that begin with `prefix`, ascending. */
  *list(prefix: string): Generator<BlobInfo> {
    for (const own of this.points) {
      const folder = layersPrefix(this.item, this.disk, own.point);
      if (!folder.startsWith(prefix) && !prefix.startsWith(folder)) continue;
      const begins = prefix.slice(folder.length, folder.length + 6);
      for (let region = 0; region < this.regions; region++) {
        if (!`${region}`.padStart(6, '0').startsWith(begins)) continue;
        for (const info of this.#listRegion({ item: this.item, disk: this.disk, region, ...own }, own))
          if (info.name.startsWith(prefix)) yield info;
      }
    }
  }

  /** The folders right below `prefix`. */
  folders(prefix: string): string[] {
    const deepest = [
      diskPrefix(this.item, this.disk),
      ...this.points.map(({ point }) => layersPrefix(this.item, this.disk, point)),
    ];
    return deepest
      .filter((folder) => folder.startsWith(prefix) && folder.length > prefix.length)
      .map((folder) => folder.slice(0, folder.indexOf('/', prefix.length) + 1));
  }

  #point({ item, disk, point, attempt, region }: LayerKey): DensePoint | undefined {
    if (item !== this.item || disk !== this.disk || region >= this.regions) return undefined;
    return this.points.find((own) => own.point === point && own.attempt === attempt);
  }

  #packs(key: LayerKey, { packs }: DensePoint): string[] {
    return Array.from({ length: packs }, (_, n) => packName(key, RUN, n));
  }

  *#listRegion(key: LayerKey, own: DensePoint): Generator<BlobInfo> {
    for (const name of this.#packs(key, own).sort()) yield { name, sizeBytes: PACK_BYTES, summary: {} };
    const { dataBlocks, clearedBlocks, storedBytes, liveBytes } = this.counted(own);
    yield {
      name: layerName(key),
      sizeBytes: 1024 + dataBlocks * HASH_BYTES,
      summary: {
        data: `${dataBlocks}`,
        cleared: `${clearedBlocks}`,
        stored: `${storedBytes}`,
        live: `${liveBytes}`,
      },
    };
  }
}

/** A container that has besides its own blobs those of the disk that `find` answers. Counts what it was asked for. */
export function denseContainer(
  real: VaultContainer,
  find: () => DenseDisk | undefined,
  count: (what: 'listed' | 'layers', howMany: number) => void,
): VaultContainer {
  return {
    ...real,
    async *list(prefix) {
      const own: BlobInfo[] = [];
      for await (const info of real.list(prefix)) own.push(info);
      let next = 0;
      let listed = own.length;
      for (const info of find()?.list(prefix) ?? []) {
        while (next < own.length && own[next]!.name < info.name) yield own[next++]!;
        listed++;
        yield info;
      }
      yield* own.slice(next);
      count('listed', listed);
    },
    async *folders(prefix) {
      const all = new Set(find()?.folders(prefix));
      for await (const folder of real.folders(prefix)) all.add(folder);
      yield* [...all].sort();
    },
    async read(name, offset, length, into) {
      const layer = find()?.layer(name);
      if (layer === undefined) return real.read(name, offset, length, into);
      count('layers', 1);
      return layer.subarray(offset, offset + length);
    },
    async readWhole(name) {
      return find()?.layer(name) ?? real.readWhole(name);
    },
  };
}
