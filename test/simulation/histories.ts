import { expect, it } from 'vitest';
import { ACTIONS } from './actions.ts';
import { FAULTS } from './faults.ts';
import { runHistory } from './history.ts';

/** Histories in a whole run, and the seed of the first: STRATA_HISTORIES and STRATA_SEED ask for others. */
const HISTORIES = fromEnvironment('STRATA_HISTORIES', 2000);
const FIRST_SEED = fromEnvironment('STRATA_SEED', 1);

/** After so many histories everything that can happen must have happened. */
const ENOUGH = 100;

/** The histories of a run are shared by so many files, so that workers can share them. */
export const PARTS = 4;

/** Makes the test of one part, 0 to PARTS - 1: of all seeds every fourth. */
export function histories(part: number): void {
  const mine = Math.ceil((HISTORIES - part) / PARTS);
  it(`${mine} random histories keep every rule`, async () => {
    const totals = new Map<string, number>();
    for (let seed = FIRST_SEED + part; seed < FIRST_SEED + HISTORIES; seed += PARTS) {
      for (const [what, count] of await runHistory(seed)) totals.set(what, (totals.get(what) ?? 0) + count);
    }
    const never = [...ACTIONS, ...FAULTS].map(({ name }) => name).filter((name) => !totals.has(name));
    if (mine >= ENOUGH) expect(never).toEqual([]);
  }, 3_600_000);
}

function fromEnvironment(name: string, otherwise: number): number {
  const text = process.env[name];
  if (text === undefined) return otherwise;
  if (!/^\d+$/.test(text)) throw new Error(`${name} is '${text}': expected a whole number`);
  return Number(text);
}
