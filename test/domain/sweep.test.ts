import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type SweepFindings, decideSweep } from '../../shared/domain/sweep.ts';

const HOUR = 3_600_000;
const found = (changed: Partial<SweepFindings>): SweepFindings => ({
  names: [],
  named: new Set(),
  isInFlight: () => false,
  marks: new Map(),
  nowMs: 10 * HOUR,
  graceMs: HOUR,
  ...changed,
});
const NOTHING = { mark: [], unmark: [], remove: [] };

describe('a sweep', () => {
  it('marks what it sees unnamed for the first time, and no more', () => {
    expect(decideSweep(found({ names: ['a', 'b'], named: new Set(['b']) }))).toEqual({ ...NOTHING, mark: ['a'] });
  });
  it('deletes it when the grace has passed, not at its end', () => {
    const marked = (ago: number): SweepFindings => found({ names: ['a'], marks: new Map([['a', 10 * HOUR - ago]]) });
    expect(decideSweep(marked(HOUR))).toEqual(NOTHING);
    expect(decideSweep(marked(HOUR + 1))).toEqual({ ...NOTHING, remove: ['a'] });
  });
  it('lets be, and unmarks, what is named again', () => {
    expect(decideSweep(found({ names: ['a'], named: new Set(['a']), marks: new Map([['a', 0]]) }))).toEqual({
      ...NOTHING,
      unmark: ['a'],
    });
  });
  it('lets be, and unmarks, what a job that has not ended has made', () => {
    expect(decideSweep(found({ names: ['a'], isInFlight: () => true, marks: new Map([['a', 0]]) }))).toEqual({
      ...NOTHING,
      unmark: ['a'],
    });
  });
  it('forgets marks of what is gone', () => {
    expect(decideSweep(found({ marks: new Map([['a', 9 * HOUR]]) }))).toEqual({ ...NOTHING, unmark: ['a'] });
  });
  it('with a clock that stepped back deletes nothing', () => {
    expect(decideSweep(found({ names: ['a'], marks: new Map([['a', 99 * HOUR]]) }))).toEqual(NOTHING);
  });
});

it('sweep after sweep, a name goes only when it was unnamed and not in flight for longer than the grace', () => {
  const NAMES = ['a', 'b', 'c'];
  const look = fc.record({ afterMs: fc.nat(2 * HOUR), safe: fc.subarray(NAMES), inFlight: fc.subarray(NAMES) });
  fc.assert(
    fc.property(fc.array(look, { maxLength: 10 }), (looks) => {
      const names = new Set(NAMES);
      const marks = new Map<string, number>();
      const freeSince = new Map<string, number>();
      let nowMs = 0;
      for (const { afterMs, safe, inFlight } of looks) {
        nowMs += afterMs;
        for (const name of NAMES) {
          if (safe.includes(name) || inFlight.includes(name)) freeSince.delete(name);
          else if (!freeSince.has(name)) freeSince.set(name, nowMs);
        }
        const { mark, unmark, remove } = decideSweep({
          names: [...names],
          named: new Set(safe),
          isInFlight: (name) => inFlight.includes(name),
          marks: new Map(marks),
          nowMs,
          graceMs: HOUR,
        });
        for (const name of remove) {
          expect(nowMs - freeSince.get(name)!).toBeGreaterThan(HOUR);
          names.delete(name);
        }
        for (const name of names)
          if (nowMs - (freeSince.get(name) ?? nowMs) > HOUR) expect(marks.has(name)).toBe(false);
        for (const name of mark) marks.set(name, nowMs);
        for (const name of [...unmark, ...remove]) marks.delete(name);
      }
    }),
  );
});
