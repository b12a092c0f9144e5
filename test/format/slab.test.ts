import { describe, expect, it } from 'vitest';
import type { BackupError } from '../../shared/domain/errors.ts';
import { SlabBuilder, readSlabDirectory, slabTailBytes } from '../../shared/format/slab.ts';
import { codeOf, flips } from './failures.ts';

const NAME = 'v1/items/vm/disks/d/00000000000000001/000000.0000000000000001.slab';
const bytesOf = (text: string): Uint8Array => Buffer.from(text);

function example(): { bytes: Uint8Array; offsets: number[] } {
  const builder = new SlabBuilder();
  const offsets = ['first frame', 'second'].map((text) => builder.add({ codec: 0, bytes: bytesOf(text) }));
  const part = { dataBlocks: 1, clearedBlocks: 2 };
  const bytes = builder.finish(NAME, [
    { ...part, region: 3, frameBytes: 11, file: bytesOf('layer of region three') },
    { ...part, region: 70_000, frameBytes: 6, file: bytesOf('and another') },
  ]);
  return { bytes, offsets };
}

describe('a slab', () => {
  it('holds frames and layers where its builder and its directory say', () => {
    const { bytes, offsets } = example();
    const text = (offset: number, length: number): string =>
      Buffer.from(bytes).toString('utf8', offset, offset + length);
    expect(offsets.map((offset, i) => text(offset, [11, 6][i]!))).toEqual(['first frame', 'second']);
    const entries = readSlabDirectory(NAME, bytes.subarray(bytes.length - slabTailBytes(2)));
    expect(entries.map(({ region, place }) => [region, text(place.offset, place.bytes)])).toEqual([
      [3, 'layer of region three'],
      [70_000, 'and another'],
    ]);
    expect(entries.map(({ dataBlocks, clearedBlocks }) => [dataBlocks, clearedBlocks])).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });

  it('is the sum of its layers’ shares', () => {
    const { bytes } = example();
    const shares = readSlabDirectory(NAME, bytes).map(({ storedBytes }) => storedBytes);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBe(bytes.length);
  });

  it('may be empty', () => {
    const bytes = new SlabBuilder().finish(NAME, []);
    expect(readSlabDirectory(NAME, bytes.subarray(bytes.length - slabTailBytes(0)))).toEqual([]);
  });

  it('whose directory is damaged, cut, or of another slab is refused by name', () => {
    const { bytes } = example();
    const tail = bytes.subarray(bytes.length - slabTailBytes(2));
    for (const { damaged } of flips(tail)) {
      // Flips in the reserved part of the footer, and in frames and layers, are not the directory's.
      const same = codeOf(() => readSlabDirectory(NAME, damaged));
      if (same === 'none') expect(readSlabDirectory(NAME, damaged)).toEqual(readSlabDirectory(NAME, tail));
      else expect(same).toBe('SlabCorrupt');
    }
    for (let cut = 1; cut <= tail.length; cut++)
      expect(codeOf(() => readSlabDirectory(NAME, tail.subarray(0, tail.length - cut)))).toBe('SlabCorrupt');
    expect(codeOf(() => readSlabDirectory(NAME, tail.subarray(1)))).toBe('SlabCorrupt');
    const other = NAME.replace('000000.', '000001.');
    try {
      readSlabDirectory(other, tail);
      expect.unreachable();
    } catch (error) {
      expect((error as BackupError).target).toBe(other);
    }
  });
});
