import { expect, it } from 'vitest';
import { History } from './history.ts';

/** Histories in this run, and the seed of the first: STRATA_HISTORIES and STRATA_SEED ask for others. */
const HISTORIES = Number(process.env['STRATA_HISTORIES'] ?? 200);
const FIRST_SEED = Number(process.env['STRATA_SEED'] ?? 1);

it(`${HISTORIES} random histories keep every rule`, async () => {
  const totals = { backups: 0, merges: 0, restores: 0, cancels: 0, stops: 0, kills: 0, lost: 0, twins: 0 };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES; seed++) {
    const report = await History.run(seed);
    for (const [what, count] of Object.entries(report)) totals[what as keyof typeof totals] += count;
  }
  console.log(totals);
  if (HISTORIES >= 100) for (const count of Object.values(totals)) expect(count).toBeGreaterThan(0);
}, 3_600_000);
