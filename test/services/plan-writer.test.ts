import { describe, expect, it } from 'vitest';
import { type AttemptId, type JobId, itemId } from '../../shared/domain/ids.ts';
import { type ReclaimPlan, reclaimPlan } from '../../shared/format/documents.ts';
import { planName } from '../../shared/format/names.ts';
import { type PlanKind, PlanWriter } from '../../shared/services/plan-writer.ts';
import {
  deletePlan,
  namesOfPlan,
  notedPlan,
  partCount,
  partsOf,
  readPlan,
  unitCount,
  unitOf,
} from '../../shared/services/plans.ts';
import { memoryVault } from '../support/memory-vault.ts';

/* Plans as they are written and read: their units, numbered through, over one document or several. */

const ITEM = itemId('vm');
const ATTEMPT = '1111111111111111' as AttemptId;
const EMPTY: ReclaimPlan = { format: 1, kind: 'reclaim', item: ITEM, attempt: ATTEMPT, job: 'j' as JobId, units: [] };

/** Plans of which each unit weighs one, and has as many bytes as its name has letters. */
const KIND: PlanKind<ReclaimPlan> = {
  join: (one, next) => ({ ...one, units: [...one.units, ...next.units] }),
  weight: ({ units }) => units.length,
  bytes: ({ units }) => units.join('').length,
};

async function open(mostWeight = 3, note: () => Promise<boolean> = async () => true) {
  const vault = memoryVault();
  const real = await vault.open('vault');
  const done: string[] = [];
  const container = {
    ...real,
    put: (...write: Parameters<typeof real.put>) => {
      done.push(write[0]);
      return real.put(...write);
    },
    delete: (name: string) => {
      done.push(`-${name}`);
      return real.delete(name);
    },
  };
  const noting = (): Promise<boolean> => {
    done.push('noted');
    return note();
  };
  return { container, done, blobs: vault.blobs('vault'), writer: new PlanWriter(container, KIND, mostWeight, noting) };
}

const piece = (...units: string[]): ReclaimPlan => ({ ...EMPTY, units });
const documents = (count: number): string[] =>
  Array.from({ length: count }, (_, part) => planName(ITEM, ATTEMPT, part));

describe('a plan', () => {
  it('that is small is one document of format 1, noted before it is stored', async () => {
    const { writer, done, container } = await open();
    expect(await writer.add(piece('a'))).toBe(true);
    expect(await writer.add(piece('b'))).toBe(true);
    const plan = await writer.finish(EMPTY);
    expect(plan).toEqual(piece('a', 'b'));
    expect(done).toEqual(['noted', ...documents(1)]);
    expect(await readPlan(container, ITEM, ATTEMPT, reclaimPlan)).toEqual(plan);
    expect([unitCount(plan!), partCount(plan!)]).toEqual([2, 1]);
  });

  it('without units is one document too', async () => {
    const { writer, container } = await open();
    expect(await writer.finish(EMPTY)).toEqual(EMPTY);
    expect(await readPlan(container, ITEM, ATTEMPT, reclaimPlan)).toEqual(EMPTY);
  });

  it('that weighs more has parts: they are stored once it is noted, and the first, which lists them, last', async () => {
    const { writer, done, container } = await open();
    for (const units of [['a', 'bb'], ['c'], ['d', 'e', 'f', 'gg'], ['h']])
      expect(await writer.add(piece(...units))).toBe(true);
    const plan = await writer.finish(EMPTY);
    const [first, second, third] = documents(3);
    expect(done).toEqual(['noted', second, third, first]);
    expect(plan).toMatchObject({ format: 3, units: ['a', 'bb', 'c'] });
    expect(plan!.parts).toEqual([
      { units: 3, bytes: 4 },
      { units: 4, bytes: 5 },
      { units: 1, bytes: 1 },
    ]);
    expect([unitCount(plan!), partCount(plan!)]).toEqual([8, 3]);
    expect(await readPlan(container, ITEM, ATTEMPT, reclaimPlan)).toEqual(plan);
  });

  it('that ends with a full part has none that is empty', async () => {
    const { writer } = await open();
    for (const units of [
      ['a', 'b', 'c'],
      ['d', 'e', 'f'],
    ])
      await writer.add(piece(...units));
    expect((await writer.finish(EMPTY))!.parts!.map(({ units }) => units)).toEqual([3, 3]);
  });

  it('that is noted by another run in the meantime writes nothing', async () => {
    const { writer, done } = await open(2, async () => false);
    expect(await writer.add(piece('a', 'b'))).toBe(true); // kept until the end: nobody has to know yet
    expect(await writer.add(piece('c', 'd'))).toBe(false);
    expect(done).toEqual(['noted']);
    const small = await open(9, async () => false);
    await small.writer.add(piece('a'));
    expect(await small.writer.finish(EMPTY)).toBeUndefined();
    expect(small.done).toEqual(['noted']);
  });

  it('of which only later parts have been stored counts as none', async () => {
    const { writer, container, blobs } = await open();
    for (const units of [
      ['a', 'b', 'c'],
      ['d', 'e', 'f'],
    ])
      await writer.add(piece(...units));
    expect([...blobs.keys()]).toEqual(documents(2).slice(1));
    expect(await notedPlan(container, { itemId: ITEM, attempt: ATTEMPT }, reclaimPlan)).toBeUndefined();
  });
});

describe('of a plan in parts', () => {
  async function stored() {
    const set = await open();
    for (const units of [['a', 'b', 'c'], ['d', 'e', 'f', 'g'], ['h']]) await set.writer.add(piece(...units));
    return { ...set, plan: (await set.writer.finish(EMPTY))! };
  }

  it('units are found by their numbers, which go on from part to part', async () => {
    const { container, plan } = await stored();
    const found = [];
    for (let unit = 0; unit < 8; unit++) found.push((await unitOf(container, plan, reclaimPlan, unit))?.unit);
    expect(found.join('')).toBe('abcdefgh');
    expect((await unitOf(container, plan, reclaimPlan, 5))!.plan.units).toEqual(['d', 'e', 'f', 'g']);
    expect(await unitOf(container, plan, reclaimPlan, 8)).toBeUndefined();
    expect(await unitOf(container, piece('x'), reclaimPlan, 1)).toBeUndefined();
  });

  it('parts are read one after another, with the number of their first units', async () => {
    const { container, plan } = await stored();
    for (const from of [0, 1, 2, 3]) {
      const seen = [];
      for await (const { part, first } of partsOf(container, plan, reclaimPlan, from))
        seen.push([first, part.units.join('')]);
      expect(seen).toEqual(
        [
          [0, 'abc'],
          [3, 'defg'],
          [7, 'h'],
        ].slice(from),
      );
    }
    const only = [];
    for await (const part of partsOf(container, piece('x'), reclaimPlan)) only.push(part);
    expect(only).toEqual([{ part: piece('x'), first: 0 }]);
  });

  it('a part that is gone is named', async () => {
    const { container, plan, blobs } = await stored();
    const [, name] = documents(2);
    blobs.delete(name!);
    const gone = { code: 'VaultObjectMissing', target: name };
    await expect(unitOf(container, plan, reclaimPlan, 4)).rejects.toMatchObject(gone);
    expect((await unitOf(container, plan, reclaimPlan, 7))!.unit).toBe('h');
  });

  it('all documents are deleted, the first last', async () => {
    const { container, plan, done, blobs } = await stored();
    expect(namesOfPlan(plan)).toEqual(documents(3));
    done.length = 0;
    await deletePlan({ log: () => undefined }, container, plan);
    const [first, ...others] = documents(3);
    expect(done).toEqual([...others, first].map((name) => `-${name}`));
    expect(blobs.size).toBe(0);
  });
});
