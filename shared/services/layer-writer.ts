import { isBackupError } from '../domain/errors.ts';
import { type Extent, CLEARED, append, dataBlocks, blockCount } from '../domain/extent.ts';
import type { RunId } from '../domain/ids.ts';
import type { Frame, Layer, PackUse } from '../domain/layer.ts';
import { BLOCK_BYTES, FRAME_BLOCKS, PACK_BYTES } from '../domain/units.ts';
import { type FrameEncoder, type StoredFrame, encodeFrame } from '../format/frame.ts';
import { encodeLayer } from '../format/layer-file.ts';
import { type LayerKey, layerName, packName } from '../format/names.ts';
import { PackBuilder } from '../format/pack.ts';
import { SlabBuilder } from '../format/slab.ts';
import type { VaultContainer } from '../vault/vault-container.ts';

/** What is kept beside a layer, so that a coordinator learns it from a listing. */
export interface LayerCounts {
  readonly dataBlocks: number;
  readonly clearedBlocks: number;
  /** The layer file and its packs. */
  readonly storedBytes: number;
  /** The layer file and the frames that it uses. */
  readonly liveBytes: number;
}

function summaryOf(counts: LayerCounts): Record<string, string> {
  const { dataBlocks: data, clearedBlocks, storedBytes, liveBytes } = counts;
  return { data: `${data}`, cleared: `${clearedBlocks}`, stored: `${storedBytes}`, live: `${liveBytes}` };
}

export function countsOf(summary: Readonly<Record<string, string>>): LayerCounts {
  return {
    dataBlocks: Number(summary['data']),
    clearedBlocks: Number(summary['cleared']),
    storedBytes: Number(summary['stored']),
    liveBytes: Number(summary['live']),
  };
}

function measure(layer: Layer, fileBytes: number): LayerCounts {
  const data = dataBlocks(layer.extents);
  return {
    dataBlocks: data,
    clearedBlocks: blockCount(layer.extents) - data,
    storedBytes: layer.packs.reduce((sum, pack) => sum + pack.totalBytes, fileBytes),
    liveBytes: layer.frames.reduce((sum, frame) => sum + frame.storedBytes, fileBytes),
  };
}

/**
 * Stores a layer as the one object of its unit, `told` beside it. A twin may have been first: then its layer stands, and this run's
 * packs are leftovers.
 */
export async function storeLayer(
  container: VaultContainer,
  key: LayerKey,
  layer: Layer,
  told: Readonly<Record<string, string>> = {},
): Promise<void> {
  const name = layerName(key);
  const bytes = encodeLayer(name, layer);
  await putOnce(container, name, bytes, { ...told, ...summaryOf(measure(layer, bytes.length)) });
}

/** Where the frames of a region go. */
interface FrameSink {
  /** Copies the frame's bytes; answers where they have been put: the number of its pack, and the offset there. */
  add(frame: StoredFrame, blocks: readonly number[]): Promise<{ pack: number; offset: number }>;
}

/**
 * Cuts the blocks of one region, given in ascending order, into frames, and keeps the region's columns. One frame is compressed
 * while the next one is gathered. Memory: two frames, and what the columns take.
 */
export class RegionWriter {
  readonly #sink: FrameSink;
  readonly #encode: FrameEncoder;
  readonly #frames: Frame[] = [];
  readonly #extents: Extent[] = [];
  readonly #hashes: Uint8Array[] = [];
  /** The number of the open frame, its blocks and their bytes. */
  #frame = 0;
  #pending: number[] = [];
  #raw: Buffer = Buffer.allocUnsafeSlow(FRAME_BLOCKS * BLOCK_BYTES);
  /** The bytes of the frame before it, and what is being done with them. */
  #closedRaw: Buffer | undefined;
  #closing: Promise<void> = Promise.resolve();

  constructor(sink: FrameSink, encode: FrameEncoder = encodeFrame) {
    this.#sink = sink;
    this.#encode = encode;
  }

  /** Whether nothing has been written so far. */
  get isEmpty(): boolean {
    return this.#extents.length === 0;
  }

  /** Blocks `start` to `start + count - 1` read as zeros from this layer on. */
  cleared(start: number, count: number): void {
    append(this.#extents, { start, count, frame: CLEARED, slot: 0 });
  }

  /** Block `block` has these 16 KiB, which hash to `hash`. The bytes are copied. */
  async data(block: number, bytes: Uint8Array, hash: Uint8Array): Promise<void> {
    append(this.#extents, { start: block, count: 1, frame: this.#frame, slot: this.#pending.length });
    this.#hashes.push(hash);
    this.#raw.set(bytes, this.#pending.length * BLOCK_BYTES);
    this.#pending.push(block);
    if (this.#pending.length === FRAME_BLOCKS) await this.#closeFrame();
  }

  /** The columns of the layer; its packs are the sink's. */
  async finish(): Promise<Omit<Layer, 'packs'> & { hashes: Uint8Array }> {
    await this.#closeFrame();
    await this.#closing;
    return { frames: this.#frames, extents: this.#extents, hashes: Buffer.concat(this.#hashes) };
  }

  /** Sets about storing the open frame, once the one before it is stored. */
  async #closeFrame(): Promise<void> {
    if (this.#pending.length === 0) return;
    await this.#closing;
    const raw = this.#raw;
    this.#closing = this.#store(raw.subarray(0, this.#pending.length * BLOCK_BYTES), this.#pending);
    this.#closing.catch(() => undefined); // awaited by the next frame or by finish
    this.#raw = this.#closedRaw ?? Buffer.allocUnsafeSlow(raw.length);
    this.#closedRaw = raw;
    this.#pending = [];
    this.#frame += 1;
  }

  async #store(raw: Uint8Array, blocks: readonly number[]): Promise<void> {
    const frame = await this.#encode(raw);
    const place = await this.#sink.add(frame, blocks);
    this.#frames.push({ ...place, storedBytes: frame.bytes.length, blocks: blocks.length, codec: frame.codec });
  }
}

/** Puts the frames of one region into packs, which go out as they fill: one upload runs while the next pack is made. */
export class PackSink implements FrameSink {
  readonly #container: VaultContainer;
  readonly #key: LayerKey;
  readonly #run: RunId;
  readonly #packs: PackUse[] = [];
  readonly #waiting: <T>(upload: Promise<T>) => Promise<T>;
  #pack = new PackBuilder();
  /** The builder of the pack before it, and that pack's way to the container. */
  #uploaded: PackBuilder | undefined;
  #upload: Promise<void> = Promise.resolve();

  /** @param waiting stands around each wait for an upload, so that it can be timed */
  constructor(
    container: VaultContainer,
    key: LayerKey,
    run: RunId,
    waiting: <T>(upload: Promise<T>) => Promise<T> = (upload) => upload,
  ) {
    this.#container = container;
    this.#key = key;
    this.#run = run;
    this.#waiting = waiting;
  }

  async add(frame: StoredFrame, blocks: readonly number[]): Promise<{ pack: number; offset: number }> {
    const place = { pack: this.#packs.length, offset: this.#pack.storedBytes };
    this.#pack.add(frame, blocks);
    if (this.#pack.storedBytes >= PACK_BYTES) await this.#closePack();
    return place;
  }

  /** Stores what is left; answers all packs once they are there. */
  async close(): Promise<readonly PackUse[]> {
    await this.#closePack();
    await this.#waiting(this.#upload);
    return this.#packs;
  }

  async #closePack(): Promise<void> {
    if (this.#pack.frames.length === 0) return;
    const name = packName(this.#key, this.#run, this.#packs.length);
    const pack = this.#pack;
    const body = pack.finish(name);
    this.#packs.push({ name, totalBytes: body.length });
    await this.#waiting(this.#upload);
    this.#uploaded?.clear();
    this.#pack = this.#uploaded ?? new PackBuilder();
    this.#uploaded = pack;
    // Its name holds this run's nonce: where it exists already, a retry inside the client has stored it.
    this.#upload = putOnce(this.#container, name, body);
    this.#upload.catch(() => undefined); // awaited by the next pack or by close
  }
}

/** Gathers thin regions, one after another, into one slab. Memory: the slab. */
export class SlabWriter {
  readonly #name: string;
  readonly #encode: FrameEncoder;
  readonly #builder = new SlabBuilder();
  readonly #regions: { key: LayerKey; columns: Omit<Layer, 'packs'> }[] = [];

  constructor(name: string, encode: FrameEncoder = encodeFrame) {
    this.#name = name;
    this.#encode = encode;
  }

  /** Adds a region: `fill` writes its blocks. A region of which nothing is left does not come into the slab. */
  async region(key: LayerKey, fill: (writer: RegionWriter) => Promise<void>): Promise<void> {
    const sink = { add: (frame: StoredFrame) => Promise.resolve({ pack: 0, offset: this.#builder.add(frame) }) };
    const writer = new RegionWriter(sink, this.#encode);
    await fill(writer);
    const columns = await writer.finish();
    if (columns.extents.length > 0) this.#regions.push({ key, columns });
  }

  /** Whether no region has come into it so far. */
  get isEmpty(): boolean {
    return this.#regions.length === 0;
  }

  /** Stores the slab as the one object of its unit, `told` beside it: the first one stands. */
  async store(container: VaultContainer, told: Readonly<Record<string, string>> = {}): Promise<void> {
    const pack: PackUse = { name: this.#name, totalBytes: this.#builder.framesEnd };
    const layers = this.#regions.map(({ key, columns }) => {
      const layer: Layer = { ...columns, packs: columns.frames.length === 0 ? [] : [pack] };
      const { dataBlocks: data, clearedBlocks } = measure(layer, 0);
      return {
        region: key.region,
        frameBytes: columns.frames.reduce((sum, frame) => sum + frame.storedBytes, 0),
        dataBlocks: data,
        clearedBlocks,
        file: encodeLayer(layerName(key), layer),
      };
    });
    const summary = { ...told, regions: `${layers.length}` };
    await putOnce(container, this.#name, this.#builder.finish(this.#name, layers), summary);
  }
}

/** Stores a blob; one that is there already stands. */
export async function putOnce(
  container: VaultContainer,
  name: string,
  body: Uint8Array,
  summary?: Readonly<Record<string, string>>,
): Promise<void> {
  try {
    await container.put(name, body, summary);
  } catch (error) {
    if (!isBackupError(error, 'BlobAlreadyExists')) throw error;
  }
}
