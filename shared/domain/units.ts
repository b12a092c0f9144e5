/** Bytes in a block: the unit of change. The documented service tracks changes in 16 KiB blocks too. */
export const BLOCK_BYTES = 16_384;

/** Bytes in a SHA-256 block hash. */
export const HASH_BYTES = 32;

/** A disk's size is a multiple of this: the sector of a page blob and of a VHD. */
export const SECTOR_BYTES = 512;

/** Bytes of disk address space in a region in production: with 16 KiB blocks, 65,536 blocks. */
export const REGION_BYTES = 1_073_741_824;

/** Most raw blocks compressed together into one frame (256 KiB): see bench/frames.ts for the trade against random reads. */
export const FRAME_BLOCKS = 16;

/** A pack is closed when its stored bytes reach this. With 8 MiB a TiB of changes costs under a dollar of write requests. */
export const PACK_BYTES = 8_388_608;

/** How a disk's address space is cut: fixed for the life of a vault and recorded in its vault.json. */
export interface Geometry {
  /** A multiple of BLOCK_BYTES. */
  readonly regionBytes: number;
}

/** The geometry of every new vault. */
export const PRODUCTION_GEOMETRY: Geometry = { regionBytes: REGION_BYTES };

/** A half-open range of byte addresses on a disk: `start` is in it, `end` is not. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Number of blocks that hold `bytes`, the last of them possibly in part. */
export function blocksIn(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES);
}

/** Number of regions of a disk of `sizeBytes`. */
export function regionsIn(sizeBytes: number, geometry: Geometry): number {
  return Math.ceil(sizeBytes / geometry.regionBytes);
}

/** The bytes of region `region` on a disk of `sizeBytes`; empty (start = end) when the region lies past its end. */
export function regionRange(region: number, sizeBytes: number, geometry: Geometry): ByteRange {
  const start = Math.min(region * geometry.regionBytes, sizeBytes);
  return { start, end: Math.min(start + geometry.regionBytes, sizeBytes) };
}
