import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockHashes } from '../../shared/domain/block-hashes.ts';
import { CLEARED } from '../../shared/domain/extent.ts';
import { HASH_BYTES } from '../../shared/domain/units.ts';

const hashOf = (block: number): Buffer => createHash('sha256').update(`${block}`).digest();
const hashesFrom = (start: number, count: number): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => hashOf(start + i)));

describe('BlockHashes', () => {
  it('gives back what was set, wherever runs begin and end', () =>
    fc.assert(
      fc.property(
        fc.array(fc.record({ start: fc.nat(65_000), count: fc.integer({ min: 1, max: 2_500 }) }), { maxLength: 4 }),
        (runs) => {
          const hashes = new BlockHashes();
          for (const { start, count } of runs) hashes.set(start, hashesFrom(start, count));
          for (const { start, count } of runs)
            for (let block = start; block < start + count; block++)
              if (!hashes.of(block).equals(hashOf(block))) throw new Error(`block ${block} has another hash`);
        },
      ),
      { numRuns: 20 },
    ));

  it('takes the parts that are wanted, counting stored blocks alone', () => {
    const all = [
      { start: 1_000, count: 100, frame: 0, slot: 0 },
      { start: 1_200, count: 50, frame: CLEARED, slot: 0 },
      { start: 2_040, count: 20, frame: 1, slot: 0 },
    ];
    const wanted = [
      { start: 1_020, count: 10, frame: 0, slot: 20 },
      { start: 1_210, count: 5, frame: CLEARED, slot: 0 },
      { start: 2_045, count: 6, frame: 1, slot: 5 },
    ];
    const stored = Buffer.concat([hashesFrom(1_000, 100), hashesFrom(2_040, 20)]);
    const hashes = new BlockHashes();
    hashes.take(all, stored, wanted);
    for (const block of [1_020, 1_023, 1_024, 1_029, 2_045, 2_047, 2_048, 2_050])
      expect(hashes.of(block), `block ${block}`).toEqual(hashOf(block));
    expect(hashes.of(1_019)).toEqual(Buffer.alloc(HASH_BYTES));
    expect(hashes.of(2_051)).toEqual(Buffer.alloc(HASH_BYTES));
  });
});
