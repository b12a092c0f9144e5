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

/**
 * How many blocks must be stored: of all points ever committed, in order, each as its disks' bytes, those that still `live`. A block
 * gets a new version at a point where its bytes differ from those at the point before; a version is stored once while any
 * living point shows it, and costs nothing where it is zero.
 */
export function storedBlocks(points: readonly (readonly Uint8Array[])[], live: readonly boolean[]): number {
  let stored = 0;
  for (let disk = 0; disk < (points[0]?.length ?? 0); disk++) {
    const blocks = Math.max(...points.map((images) => Math.ceil(images[disk]!.length / BLOCK_BYTES)));
    for (let block = 0; block < blocks; block++) {
      let bytes: Buffer = ZERO;
      let version = -1;
      const shown = new Set<number>();
      for (const [i, images] of points.entries()) {
        const now = blockOf(images[disk], block);
        if (!now.equals(bytes)) {
          version = i;
          bytes = now;
        }
        if (live[i] === true && !bytes.equals(ZERO)) shown.add(version);
      }
      stored += shown.size;
    }
  }
  return stored;
}
