import type { ExtentMap } from './extent.ts';

/** A pack as a layer knows it. */
export interface PackUse {
  readonly name: string;
  /** Size of the blob. */
  readonly totalBytes: number;
}

/** A frame of a pack: a run of raw blocks that were compressed together. */
export interface Frame {
  /** Index into the layer's `packs`. */
  readonly pack: number;
  readonly offset: number;
  readonly storedBytes: number;
  /** Raw blocks in it, dead ones included. */
  readonly blocks: number;
  readonly codec: number;
}

/**
 * What one recovery point changed in one region: which blocks, where their bytes are, and what they hash to.
 * Immutable once written. Every frame and pack in the tables is used by at least one extent.
 */
export interface Layer {
  readonly packs: readonly PackUse[];
  readonly frames: readonly Frame[];
  readonly extents: ExtentMap;
  /** SHA-256 of each stored block, 32 bytes each, in the order of the extents' stored blocks; undefined when it was not read. */
  readonly hashes: Uint8Array | undefined;
}
