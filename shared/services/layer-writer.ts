import { isBackupError } from '../domain/errors.ts';
import { type Extent, CLEARED, append } from '../domain/extent.ts';
import type { RunId } from '../domain/ids.ts';
import type { Frame, Layer, PackUse } from '../domain/layer.ts';
import { BLOCK_BYTES, FRAME_BLOCKS, PACK_BYTES } from '../domain/units.ts';
import { CODEC, encodeFrame } from '../format/frame.ts';
import { encodeLayer } from '../format/layer-file.ts';
import { type LayerKey, layerName, packName } from '../format/names.ts';
import { PackBuilder } from '../format/pack.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { measureLayer } from './layers.ts';

/** What `storeLayer` keeps beside a layer, so that a coordinator learns it from a listing. */
export interface LayerCounts {
  readonly dataBlocks: number;
  readonly clearedBlocks: number;
  readonly storedBytes: number;
}

export function summaryOf(counts: LayerCounts): Record<string, string> {
  return { data: `${counts.dataBlocks}`, cleared: `${counts.clearedBlocks}`, stored: `${counts.storedBytes}` };
}

export function countsOf(summary: Readonly<Record<string, string>>): LayerCounts {
  return {
    dataBlocks: Number(summary['data']),
    clearedBlocks: Number(summary['cleared']),
    storedBytes: Number(summary['stored']),
  };
}

/** Stores a layer as the one object of its unit. A twin may have been first: then its layer stands, and this run's packs are leftovers. */
export async function storeLayer(container: VaultContainer, key: LayerKey, layer: Layer): Promise<void> {
  const name = layerName(key);
  const bytes = encodeLayer(name, layer);
  try {
    await container.put(name, bytes, summaryOf(measureLayer(layer, bytes.length)));
  } catch (error) {
    if (!isBackupError(error, 'BlobAlreadyExists')) throw error;
  }
}

/**
 * Turns the changed blocks of one region, given in ascending order, into frames, packs and one layer. Packs go out as they
 * fill, one upload running while the next pack is made, so memory is bounded by two packs and the layer's columns.
 */
export class LayerWriter {
  readonly #container: VaultContainer;
  readonly #key: LayerKey;
  readonly #run: RunId;
  readonly #packs: PackUse[] = [];
  readonly #frames: Frame[] = [];
  readonly #extents: Extent[] = [];
  readonly #hashes: Uint8Array[] = [];
  #pack = new PackBuilder();
  /** The blocks of the open frame and their bytes. */
  #pending: number[] = [];
  #raw = Buffer.allocUnsafe(FRAME_BLOCKS * BLOCK_BYTES);
  #upload: Promise<void> = Promise.resolve();

  constructor(container: VaultContainer, key: LayerKey, run: RunId) {
    this.#container = container;
    this.#key = key;
    this.#run = run;
  }

  /** Blocks `start` to `start + count - 1` read as zeros from this layer on. */
  cleared(start: number, count: number): void {
    append(this.#extents, { start, count, frame: CLEARED, slot: 0 });
  }

  /** Block `block` has these 16 KiB, which hash to `hash`. The bytes are copied. */
  async data(block: number, bytes: Uint8Array, hash: Uint8Array): Promise<void> {
    append(this.#extents, { start: block, count: 1, frame: this.#frames.length, slot: this.#pending.length });
    this.#hashes.push(hash);
    this.#raw.set(bytes, this.#pending.length * BLOCK_BYTES);
    this.#pending.push(block);
    if (this.#pending.length === FRAME_BLOCKS) await this.#closeFrame();
  }

  /** Stores what is left and then the layer. */
  async finish(): Promise<void> {
    await this.#closeFrame();
    await this.#closePack();
    await this.#upload;
    await storeLayer(this.#container, this.#key, {
      packs: this.#packs,
      frames: this.#frames,
      extents: this.#extents,
      hashes: Buffer.concat(this.#hashes),
    });
  }

  async #closeFrame(): Promise<void> {
    if (this.#pending.length === 0) return;
    const blocks = this.#pending;
    const frame = encodeFrame(this.#raw.subarray(0, blocks.length * BLOCK_BYTES));
    // A frame that is stored raw is this buffer, and belongs to the pack from here on.
    if (frame.codec === CODEC.raw) this.#raw = Buffer.allocUnsafe(FRAME_BLOCKS * BLOCK_BYTES);
    this.#frames.push({
      pack: this.#packs.length,
      offset: this.#pack.storedBytes,
      storedBytes: frame.bytes.length,
      blocks: blocks.length,
      codec: frame.codec,
    });
    this.#pack.add(frame, blocks);
    this.#pending = [];
    if (this.#pack.storedBytes >= PACK_BYTES) await this.#closePack();
  }

  async #closePack(): Promise<void> {
    if (this.#pack.frames.length === 0) return;
    const name = packName(this.#key, this.#run, this.#packs.length);
    const body = this.#pack.finish(name);
    this.#packs.push({ name, totalBytes: body.length });
    this.#pack = new PackBuilder();
    await this.#upload;
    this.#upload = putOwn(this.#container, name, body);
    this.#upload.catch(() => undefined); // awaited by the next pack or by finish
  }
}

/** Stores a blob whose name holds this run's nonce: where it exists already, a retry inside the client has stored it. */
async function putOwn(container: VaultContainer, name: string, body: Uint8Array): Promise<void> {
  try {
    await container.put(name, body);
  } catch (error) {
    if (!isBackupError(error, 'BlobAlreadyExists')) throw error;
  }
}
