import type { JobRow } from '../../shared/catalog/catalog.ts';
import { startVerify } from '../../shared/services/verify.ts';
import { VAULT } from '../support/world.ts';
import type { Machine, Scene } from './scene.ts';
import type { Workers } from './workers.ts';

/** Verifies a VM: a little of it, some or all, now and then with a drill. */
export async function verify({ random, ports, count }: Scene, workers: Workers, { key }: Machine): Promise<void> {
  const drill = random.chance(0.4) ? ('latest' as const) : undefined;
  const deepPercent = random.chance(0.3) ? undefined : random.chance(0.5) ? 30 : 100;
  await workers.request('verify', async () => {
    await startVerify(ports, VAULT, key, { drill, deepPercent }, true);
    count('verifications begun');
    if (drill !== undefined) count('drills begun');
  });
}

/** Nothing in a history damages a vault: so nothing may have been found, whatever went on meanwhile. And nothing is left of the looking. */
export async function checkVerified({ ports }: Scene, jobs: readonly JobRow[]): Promise<void> {
  for await (const { row } of ports.catalog.findings.listAll())
    if (row.healedAt === undefined) throw new Error(`a sound vault has a finding: ${JSON.stringify(row)}`);
  const own = new Set(jobs.filter(({ operation }) => operation === 'Verify').flatMap(({ attempts }) => attempts));
  for await (const { partition, key } of ports.catalog.units.listAll())
    if (own.has(partition as JobRow['attempts'][number])) throw new Error(`mark ${partition} ${key} is left over`);
}
