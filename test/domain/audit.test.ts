import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AUDIT_GAP_BLOCKS, AUDIT_REQUESTS, AuditWalk, auditGap } from '../../shared/domain/audit.ts';
import { BLOCK_BYTES, REGION_BYTES } from '../../shared/domain/units.ts';

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
    const audit = walk({ regionBlocks: 100, budgetBlocks: 5 });
    expect(audit.add(0, 1)).toBe(true);
    expect(audit.add(4, 5)).toBe(true);
    expect(audit.add(6, 7)).toBe(false);
    expect(audit.finish()).toMatchObject({ next: 6, allocated: 2 });
  });
  it('does not read across a gap that would leave nothing to read behind it', () => {
    const audit = walk({ regionBlocks: 100, budgetBlocks: 6 });
    expect(audit.add(0, 1)).toBe(true);
    expect(audit.add(6, 7)).toBe(true);
    expect(audit.finish()).toEqual({
      windows: new Map([[0, { start: 0, count: 100, blocks: 2 }]]),
      next: 0,
      allocated: 2,
    });
  });
  it('makes no more requests than it may', () => {
    const audit = walk({ blocks: 100_000, regionBlocks: 100_000, budgetBlocks: 1_000 });
    let runs = 0;
    while (audit.add(runs * 100, runs * 100 + 1)) runs++;
    expect(runs).toBe(AUDIT_REQUESTS - 1); // and the listing
    expect(audit.finish()).toMatchObject({ next: runs * 100, allocated: runs });
  });
  it('reads the run of a region by one request, however long', () => {
    const audit = walk({ blocks: 1_000_000, regionBlocks: 10_000, budgetBlocks: 1_000_000 });
    expect(audit.add(0, 1_000_000)).toBe(false);
    expect(audit.finish()).toMatchObject({ next: (AUDIT_REQUESTS / 2) * 10_000 });
  });
  it('reads across longer gaps the more it may read, and leaves half of that to what is allocated', () => {
    expect(auditGap(10)).toBe(AUDIT_GAP_BLOCKS);
    const budgetBlocks = 128_000;
    expect(auditGap(budgetBlocks)).toBe(1_000);
    const audit = walk({ blocks: 1e7, regionBlocks: 1e7, budgetBlocks });
    // Nothing but gaps that are as long as they may be: asked around, 63 of these runs would be read.
    let runs = 0;
    while (audit.add(runs * 1_001, runs * 1_001 + 1)) runs++;
    expect(runs).toBeGreaterThan(AUDIT_REQUESTS);
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
          expect(window.blocks).toBeLessThanOrEqual(window.count);
          for (let i = 0; i < window.count; i++) {
            const block = region * regionBlocks + window.start + i;
            expect(seen.has(block)).toBe(false);
            seen.add(block);
          }
        }
        expect(found.allocated).toBeLessThanOrEqual(read);
        expect(read).toBeLessThanOrEqual(budgetBlocks);
        expect(found.next === 0 || found.next > from).toBe(true);
        from = found.next;
        total += found.allocated;
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

describe('how many nights one audit after another takes to come round, as docs/architecture.md states it', () => {
  const GIB = 2 ** 30 / BLOCK_BYTES;
  const regionBlocks = REGION_BYTES / BLOCK_BYTES;
  /** Most blocks that a disk is asked for: those of 180 s. */
  const STANDARD = (180 * 60 * 2 ** 20) / BLOCK_BYTES;
  const PREMIUM = (180 * 200 * 2 ** 20) / BLOCK_BYTES;

  /** The nights of one lap over a disk whose allocated blocks `runs` yields from any block on. */
  function lap(
    blocks: number,
    allocated: number,
    most: number,
    runs: (from: number) => Iterable<[number, number]>,
  ): number {
    const budgetBlocks = Math.min(Math.ceil(allocated / 100), most);
    let from = 0;
    let nights = 0;
    do {
      const audit = new AuditWalk({ from, blocks, regionBlocks, known: [], budgetBlocks });
      for (const [start, end] of runs(from)) if (!audit.add(start, end)) break;
      from = audit.finish().next;
      nights++;
    } while (from !== 0);
    return nights;
  }
  const inOnePiece = (gib: number, most: number): number =>
    lap(gib * GIB, gib * GIB, most, (from) => [[from, gib * GIB]]);

  it.each([
    [32, 100, 100],
    [1024, 100, 100],
    [4096, 389, 128],
    [8192, 777, 256],
    [32_767, 3107, 1024],
  ])('%d GiB in long runs: %d on a standard disk, %d on a premium one', (gib, standard, premium) => {
    expect(inOnePiece(gib, STANDARD)).toBe(standard);
    expect(inOnePiece(gib, PREMIUM)).toBe(premium);
  });

  it('scattered data takes no more than four times as many, as long as gaps are no longer than a 128th of what a night reads', () => {
    const shape = fc.record({
      gib: fc.integer({ min: 4, max: 256 }),
      run: fc.integer({ min: 1, max: 4_000 }),
      gapShare: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(shape, ({ gib, run, gapShare }) => {
        const budget = Math.ceil((gib * GIB) / 100);
        // Not more gap than data: half of the disk's addresses hold it.
        const gap = Math.max(1, Math.min(run, Math.floor(auditGap(budget) * gapShare)));
        const period = run + gap;
        const blocks = Math.ceil((gib * GIB) / run) * period;
        const nights = lap(blocks, gib * GIB, Infinity, function* (from) {
          for (let at = Math.floor(from / period) * period; at < blocks; at += period) {
            if (at + run > from) yield [Math.max(at, from), at + run];
          }
        });
        expect(nights).toBeLessThanOrEqual(400);
      }),
      { numRuns: 25 },
    );
  });
});
