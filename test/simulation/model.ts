import { BLOCK_BYTES } from '../../shared/domain/units.ts';

const ZERO = Buffer.alloc(BLOCK_BYTES);

/** Block `index` of a disk, its last one padded with zeros; past the end it is zero. */
function blockOf(image: Uint8Array | undefined, index: number): Buffer {
  const bytes = image?.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES) ?? ZERO.subarray(0, 0);
  if (bytes.length === BLOCK_BYTES) return Buffer.from(bytes);
  const whole = Buffer.alloc(BLOCK_BYTES);
  whole.set(bytes);
  return whole;
}

/** A disk as it was at a point that was committed. */
export interface DiskImage {
  readonly bytes: Uint8Array;
  /** Where in the list the last point stands that had the disk and was live when this one was committed; undefined: there was none. */
  readonly base: number | undefined;
  readonly live: boolean;
}

/**
 * How many blocks of one disk must be stored. A block gets a new version at a point where its bytes differ from those at the
 * point's base; a version is stored once while any living point shows it, and costs nothing where it is zero.
 */
export function storedBlocks(images: readonly DiskImage[]): number {
  const blocks = Math.max(0, ...images.map(({ bytes }) => Math.ceil(bytes.length / BLOCK_BYTES)));
  let stored = 0;
  for (let block = 0; block < blocks; block++) {
    const versions: number[] = [];
    const shown = new Set<number>();
    for (const [i, { bytes, base, live }] of images.entries()) {
      const now = blockOf(bytes, block);
      const before = base === undefined ? ZERO : blockOf(images[base]!.bytes, block);
      versions.push(now.equals(before) ? (base === undefined ? -1 : versions[base]!) : i);
      if (live && !now.equals(ZERO)) shown.add(versions[i]!);
    }
    stored += shown.size;
  }
  return stored;
}
