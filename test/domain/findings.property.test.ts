import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { blockCount } from '../../shared/domain/extent.ts';
import {
  type Cover,
  LEAST_COST_BYTES,
  capRuns,
  chooseRegions,
  isSuspect,
  pointsShowing,
  uncapRuns,
} from '../../shared/domain/findings.ts';
import { pointId } from '../../shared/domain/ids.ts';
import { BLOCKS, layerSaying, runs, said } from './arbitraries.ts';

const point = (n: number) => pointId(`${n}`.padStart(17, '0'));

/** Layers of the points 0, 1, 2, ...: each point's list may have several, or none. */
const lists = fc.array(fc.array(said, { maxLength: 2 }), { minLength: 1, maxLength: 6 });

it('a point shows a block of a layer of its chain as long as no later layer up to it speaks of the block', () =>
  fc.assert(
    fc.property(lists, runs, fc.nat(), fc.nat(), fc.nat(), (stack, wanted, pickOwner, pickBelow, pickAnew) => {
      const owner = pickOwner % stack.length;
      const below = pickBelow % (stack[owner]!.length + 1);
      const above = stack
        .flatMap((words, p) => words.slice(p === owner ? below : 0).map((own) => ({ p, own })))
        .filter(({ p }) => p >= owner);
      const covers: Cover[] = above.map(({ p, own }) => ({
        owner: point(p),
        extents: layerSaying(`${p}`, own).layer.extents,
      }));
      // From this point on the disk's chain is another; past the last one there is but one chain.
      const anew = pickAnew % (2 * stack.length);
      const points = stack.map((_, p) => ({ point: point(p), ...(p >= anew ? { begins: point(anew) } : {}) }));
      const isWanted = (block: number): boolean =>
        wanted.some(({ start, count }) => block >= start && block < start + count);
      const expected = points.filter(
        (_, p) =>
          p >= owner &&
          p >= anew === owner >= anew &&
          Array.from({ length: BLOCKS + 4 }, (__, block) => block).some(
            (block) => isWanted(block) && !above.some((layer) => layer.p <= p && layer.own[block] !== undefined),
          ),
      );
      expect(pointsShowing(wanted, point(owner), covers, points)).toEqual(expected.map((own) => own.point));
    }),
  ));

it('a layer that cannot be read hides nothing', () => {
  const points = [point(1), point(2), point(3)];
  const at = points.map((own) => ({ point: own }));
  const lost = [{ start: 0, count: 2 }];
  const unread = { owner: point(2), extents: undefined };
  expect(pointsShowing(lost, point(1), [unread], at)).toEqual(points);
  const over = { owner: point(3), extents: [{ start: 0, count: 2, frame: -1, slot: 0 }] };
  expect(pointsShowing(lost, point(1), [unread, over], at)).toEqual(points.slice(0, 2));
});

it('capped runs say how many blocks they left out, and uncapped ones hold them all', () =>
  fc.assert(
    fc.property(runs, fc.integer({ min: 1, max: 4 }), (all, most) => {
      const capped = capRuns(all, most);
      expect(capped.runs.length).toBeLessThanOrEqual(most);
      expect(blockCount(capped.runs) + capped.blocksLeftOut).toBe(blockCount(all));
      const held = new Set(
        uncapRuns(capped).flatMap(({ start, count }) => Array.from({ length: count }, (_, i) => start + i)),
      );
      for (const { start, count } of all) for (let i = 0; i < count; i++) expect(held.has(start + i)).toBe(true);
    }),
  ));

interface Candidate {
  readonly key: string;
  readonly bytes: number;
  readonly checkedAt: number | undefined;
  readonly suspect: boolean;
}

/** As rows, with some between them that are no candidates. */
function choose(all: readonly Candidate[], budgetBytes: number): Candidate[] {
  const rows = all.flatMap((own, i): (Candidate | undefined)[] => (i % 2 === 0 ? [own] : [undefined, own]));
  return chooseRegions(
    {
      bytes: Float64Array.from(rows, (own) => own?.bytes ?? NaN),
      checkedAt: Float64Array.from(rows, (own) => own?.checkedAt ?? -Infinity),
      suspect: Uint8Array.from(rows, (own) => (own?.suspect === true ? 1 : 0)),
    },
    budgetBytes,
  ).map((index) => rows[index]!);
}

const candidates: fc.Arbitrary<Candidate[]> = fc
  .array(
    fc.record({
      bytes: fc.nat(8 * LEAST_COST_BYTES),
      checkedAt: fc.option(fc.nat(5), { nil: undefined }),
      suspect: fc.boolean(),
    }),
    { maxLength: 12 },
  )
  .map((all) => all.map((own, i) => ({ ...own, key: `${i}`.padStart(3, '0') })));

const cost = ({ bytes }: Candidate): number => Math.max(bytes, LEAST_COST_BYTES);
const sum = (all: readonly Candidate[]): number => all.reduce((total, own) => total + cost(own), 0);

it('a budget is used, exceeded by a suspect and another region at most, and spent on suspects first and then on those that waited longest', () =>
  fc.assert(
    fc.property(candidates, fc.nat(40 * LEAST_COST_BYTES), (all, budget) => {
      const chosen = choose(all, budget);
      expect(new Set(chosen).size).toBe(chosen.length);
      const largest = Math.max(0, ...all.map(cost));
      if (chosen.length > 0) expect(sum(chosen)).toBeLessThan(budget + 2 * largest);
      if (chosen.length < all.length) expect(sum(chosen)).toBeGreaterThanOrEqual(budget);
      const rest = all.filter((own) => !chosen.includes(own));
      const waited = ({ checkedAt }: Candidate): number => checkedAt ?? -1;
      const byAge = chosen.filter(({ suspect }) => !suspect);
      for (const own of byAge) for (const left of rest) expect(waited(own)).toBeLessThanOrEqual(waited(left));
      const suspects = all.filter(({ suspect }) => suspect);
      if (budget > 0 && suspects.length > 0) expect(chosen[0]!.suspect).toBe(true);
    }),
  ));

it('run after run, every region is read in the end, however many are suspect', () =>
  fc.assert(
    fc.property(candidates, fc.integer({ min: 1, max: 4 * LEAST_COST_BYTES }), (all, budget) => {
      let now = all;
      const read = new Set<string>();
      for (let run = 1; run <= 2 * all.length; run++) {
        const chosen = new Set(choose(now, budget).map(({ key }) => key));
        for (const key of chosen) read.add(key);
        now = now.map((own) => (chosen.has(own.key) ? { ...own, checkedAt: 100 + run } : own));
      }
      expect(read.size).toBe(all.length);
    }),
  ));

it('known damage is looked at again when somebody asks, when nobody has looked yet, and once a week', () => {
  const week = 7 * 86_400_000;
  expect(isSuspect({ seenAt: 0, seenBy: 'job' }, week - 1, false)).toBe(false);
  expect(isSuspect({ seenAt: 0, seenBy: 'job' }, week, false)).toBe(true);
  expect(isSuspect({ seenAt: 0, seenBy: 'job' }, 1, true)).toBe(true);
  expect(isSuspect({ seenAt: 0 }, 1, false)).toBe(true);
});

it('no budget buys nothing', () => {
  expect(choose([{ key: 'a', bytes: 5, checkedAt: undefined, suspect: true }], 0)).toEqual([]);
});
