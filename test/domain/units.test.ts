import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  BLOCK_BYTES,
  PRODUCTION_GEOMETRY,
  REGION_BYTES,
  SECTOR_BYTES,
  blocksIn,
  regionRange,
  regionsIn,
} from '../../shared/domain/units.ts';

it('a block is counted though the disk ends in it', () => {
  expect([0, 1, BLOCK_BYTES, BLOCK_BYTES + 512].map(blocksIn)).toEqual([0, 1, 1, 2]);
});

it('the last region is as long as the disk leaves it', () => {
  const size = 2 * REGION_BYTES + 512;
  expect(regionsIn(size, PRODUCTION_GEOMETRY)).toBe(3);
  expect(regionRange(2, size, PRODUCTION_GEOMETRY)).toEqual({ start: 2 * REGION_BYTES, end: size });
  expect(regionRange(3, size, PRODUCTION_GEOMETRY)).toEqual({ start: size, end: size });
});

it('the regions of a disk cover it once', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 64 * 1024 * 1024 }), fc.integer({ min: 1, max: 9 }), (sectors, blocks) => {
      const size = sectors * SECTOR_BYTES;
      const geometry = { regionBytes: blocks * REGION_BYTES };
      let end = 0;
      for (let region = 0; region < regionsIn(size, geometry); region++) {
        const range = regionRange(region, size, geometry);
        expect(range.start).toBe(end);
        expect(range.end).toBeGreaterThan(range.start);
        end = range.end;
      }
      expect(end).toBe(size);
    }),
  );
});
