import type { Catalog } from '../../shared/catalog/catalog.ts';
import type { JobId } from '../../shared/domain/ids.ts';
import { startRebuild } from '../../shared/services/rebuild.ts';
import { VAULT } from '../support/world.ts';
import type { Scene } from './scene.ts';
import type { Workers } from './workers.ts';

const [subscriptionId = '', resourceGroup = '', vault = ''] = VAULT.split('|');

/** All tables but that of policies, which a rebuild does not bring back. */
const ALL: readonly (keyof Catalog)[] = [
  'vaults',
  'items',
  'points',
  'jobs',
  'openJobs',
  'jobIndex',
  'units',
  'marks',
  'findings',
  'checks',
  'reports',
  'cleanUps',
  'cleanUpReports',
  'operations',
];

/** What is lost together: mostly this, else some tables or other. */
const LOSSES: readonly (readonly (keyof Catalog)[])[] = [[], ['points'], ['items'], ['jobs', 'openJobs'], ALL];

/** Some tables are lost, whatever is under way, and built anew; now and then just built anew. */
export async function rebuild(scene: Scene, workers: Workers): Promise<void> {
  const { catalog } = scene.world.ports;
  const { random } = scene;
  const lost = random.chance(0.7) ? random.pick(LOSSES) : ALL.filter(() => random.chance(0.3));
  for (const name of lost) {
    const rows: { partition: string; key: string }[] = [];
    for await (const row of catalog[name].listAll()) rows.push(row);
    for (const { partition, key } of rows) await catalog[name].remove(partition, key);
  }
  if (lost.length > 0) scene.count('tables lost');
  await workers.request('rebuild', () => begin(scene));
}

/** The request that a person repeats until it has been heard; resolves the job that does it. */
export async function begin({ ports }: Scene): Promise<JobId> {
  return startRebuild(ports, { subscriptionId, resourceGroup, vault }, { properties: {} });
}
