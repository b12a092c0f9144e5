import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { type BlockRun, blockCount, interleave, normalise, subtract } from '../../shared/domain/extent.ts';
import { BLOCKS, layerSaying, runs, said, sayingOf } from './arbitraries.ts';

const inRuns = (some: readonly BlockRun[], block: number): boolean =>
  some.some(({ start, count }) => start <= block && block < start + count);

function ascends(map: readonly BlockRun[]): boolean {
  return map.every(({ start, count }, i) => count > 0 && (i === 0 || start >= map[i - 1]!.start + map[i - 1]!.count));
}

it('subtract keeps what lies outside, and interleave puts back what lies inside', () => {
  fc.assert(
    fc.property(said, runs, (words, some) => {
      const { layer, versions } = layerSaying('a', words);
      const left = subtract(layer.extents, some);
      const common = subtract(layer.extents, left);
      expect(ascends(left) && ascends(common)).toBe(true);
      expect(sayingOf({ ...layer, extents: left }, versions)).toEqual(
        words.map((word, block) => (inRuns(some, block) ? undefined : word)),
      );
      expect(sayingOf({ ...layer, extents: common }, versions)).toEqual(
        words.map((word, block) => (inRuns(some, block) ? word : undefined)),
      );
      expect(sayingOf({ ...layer, extents: interleave(left, common) }, versions)).toEqual(words);
    }),
  );
});

it('neither changes its inputs', () => {
  fc.assert(
    fc.property(said, runs, (words, some) => {
      const { layer } = layerSaying('a', words);
      const before = structuredClone([layer.extents, some]);
      subtract(layer.extents, some);
      expect([layer.extents, some]).toEqual(before);
    }),
  );
});

it('normalise covers the same blocks with as few runs as there can be', () => {
  const any = fc.array(fc.record({ start: fc.nat(BLOCKS), count: fc.nat(4) }), { maxLength: 8 });
  fc.assert(
    fc.property(any, (some) => {
      const joined = normalise(some);
      for (let block = 0; block < 2 * BLOCKS; block++) expect(inRuns(joined, block)).toBe(inRuns(some, block));
      expect(joined.every(({ start }, i) => i === 0 || start > joined[i - 1]!.start + joined[i - 1]!.count)).toBe(true);
      expect(blockCount(joined)).toBeLessThanOrEqual(blockCount(some));
    }),
  );
});
