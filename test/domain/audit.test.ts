import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AUDIT_REQUESTS, AuditWalk } from '../../shared/domain/audit.ts';

const walk = (disk: Partial<ConstructorParameters<typeof AuditWalk>[0]>): AuditWalk =>
  new AuditWalk({ from: 0, blocks: 100, regionBlocks: 10, known: [], budgetBlocks: 5, ...disk });

describe('one audit', () => {
  it('takes what it may read, and goes on behind it', () => {
    const audit = walk({});
    expect(audit.add(3, 20)).toBe(false);
    expect(audit.finish()).toEqual({
      windows: new Map([[0, { start: 0, count: 8, blocks: 5 }]]),
      next: 8,
      allocated: 5,
    });
  });
  it('begins where the last one stopped', () => {
    const audit = walk({ from: 8 });
    expect(audit.from).toBe(8);
    expect(audit.add(8, 20)).toBe(false);
    const windows = new Map([
      [0, { start: 8, count: 2, blocks: 2 }],
      [1, { start: 0, count: 3, blocks: 3 }],
    ]);
    expect(audit.finish()).toEqual({ windows, next: 13, allocated: 5 });
  });
  it('comes round at the end of the disk, looking at the rest of the region', () => {
    const audit = walk({ from: 90 });
    expect(audit.add(92, 94)).toBe(true);
    expect(audit.finish()).toEqual({
      windows: new Map([[9, { start: 0, count: 10, blocks: 2 }]]),
      next: 0,
      allocated: 2,
    });
  });
  it('looks at regions of which nothing is allocated any more, and at none of which nothing ever was', () => {
    const audit = walk({ known: [7, 2, 12] });
    expect(audit.add(55, 56)).toBe(true);
    expect([...audit.finish().windows.keys()]).toEqual([2, 5, 7]);
  });
  it('reads across small gaps, and counts them', () => {
    const audit = walk({ regionBlocks: 100, budgetBlocks: 6 });
    expect(audit.add(0, 1)).toBe(true);
    expect(audit.add(4, 5)).toBe(true);
    expect(audit.add(6, 7)).toBe(false);
    expect(audit.finish()).toMatchObject({ next: 6, allocated: 2 });
  });
  it('makes no more requests than it may', () => {
    const audit = walk({ blocks: 100_000, regionBlocks: 100_000, budgetBlocks: 50_000 });
    let runs = 0;
    while (audit.add(runs * 100, runs * 100 + 1)) runs++;
    expect(runs).toBe(AUDIT_REQUESTS - 1); // and the listing
    expect(audit.finish()).toMatchObject({ next: runs * 100, allocated: runs });
  });
  it('cuts long runs into requests of 8 MiB', () => {
    const audit = walk({ blocks: 100_000, regionBlocks: 100_000, budgetBlocks: 100_000 });
    expect(audit.add(0, 100_000)).toBe(false);
    expect(audit.finish()).toMatchObject({ next: (AUDIT_REQUESTS - 1) * 512 });
  });
  it('begins anew on a disk that has become smaller than where it was', () => {
    expect(walk({ from: 100 }).from).toBe(0);
  });
});

it('audits one after another pass every allocated block and every known region, each by its turn', () => {
  const disk = fc.record({
    runs: fc.array(fc.record({ gap: fc.integer({ min: 1, max: 40 }), count: fc.integer({ min: 1, max: 60 }) }), {
      maxLength: 40,
    }),
    known: fc.uniqueArray(fc.nat({ max: 60 }), { maxLength: 60 }),
    regionBlocks: fc.integer({ min: 2, max: 64 }),
    budgetBlocks: fc.integer({ min: 1, max: 200 }),
  });
  fc.assert(
    fc.property(disk, ({ runs, known, regionBlocks, budgetBlocks }) => {
      const allocated: { start: number; end: number }[] = [];
      let at = 0;
      for (const { gap, count } of runs) {
        allocated.push({ start: at + gap, end: at + gap + count });
        at += gap + count;
      }
      const blocks = at + 10;
      const seen = new Set<number>();
      let from = 0;
      let total = 0;
      let nights = 0;
      do {
        const audit = new AuditWalk({ from, blocks, regionBlocks, known, budgetBlocks });
        for (const { start, end } of allocated)
          if (end > audit.from && !audit.add(Math.max(start, audit.from), end)) break;
        const found = audit.finish();
        let read = 0;
        for (const [region, window] of found.windows) {
          read += window.blocks;
          for (let i = 0; i < window.count; i++) {
            const block = region * regionBlocks + window.start + i;
            expect(seen.has(block)).toBe(false);
            seen.add(block);
          }
        }
        expect(read).toBe(found.allocated);
        expect(read).toBeLessThanOrEqual(budgetBlocks);
        expect(found.next === 0 || found.next > from).toBe(true);
        from = found.next;
        total += read;
        nights++;
      } while (from !== 0);
      const all = allocated.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i));
      expect(total).toBe(all.length);
      for (const block of all) expect(seen.has(block)).toBe(true);
      const inDisk = known.filter((region) => region * regionBlocks < blocks);
      for (const region of inDisk) expect(seen.has(Math.min(blocks, (region + 1) * regionBlocks) - 1)).toBe(true);
      expect(nights).toBeLessThanOrEqual(blocks);
    }),
    { numRuns: 500 },
  );
});
