import type { ItemId } from '../domain/ids.ts';
import { type LayerRef, restorePlan, transferPlan, mergePlan } from '../format/documents.ts';
import type { ChainRecord } from '../format/documents.ts';
import { layerName, planName } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { JobRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import type { Chain } from './chain.ts';
import { readLayers } from './layers.ts';
import { forEachAtOnce } from './pipeline.ts';
import { readPlan } from './plans.ts';

/** Regions whose layers are read at once. */
const REGIONS_IN_FLIGHT = 8;

/** Everything that a record leads to: its manifests, their layers, and the layers' packs. */
export async function namedBy(container: VaultContainer, chain: Chain, record: ChainRecord): Promise<Set<string>> {
  const named = new Set(record.points.map(({ manifest }) => manifest));
  for (const { item, disks } of await chain.manifests(record)) {
    for (const { disk, regions } of disks) {
      await forEachAtOnce(regions, REGIONS_IN_FLIGHT, async ({ region, layers }) => {
        for (const name of namesOf(item, disk, region, layers)) named.add(name);
        for (const { packs } of await readLayers(container, { item, disk, region }, layers))
          for (const { name } of packs) named.add(name);
      });
    }
  }
  return named;
}

/** The plan of a job that has not ended, and the layers that it reads from. */
export async function namedByPlan(container: VaultContainer, job: JobRow): Promise<string[]> {
  if (job.attempt === undefined) return [];
  const names = [planName(job.itemId, job.attempt)];
  try {
    if (job.operation === 'Backup') {
      const plan = await readPlan(container, job.itemId, job.attempt, transferPlan);
      for (const { disk, region, stack } of plan.units)
        names.push(...namesOf(job.itemId, plan.disks[disk]!.disk, region, stack));
    } else if (job.operation === 'Restore') {
      const plan = await readPlan(container, job.itemId, job.attempt, restorePlan);
      for (const { target, region, stack } of plan.units)
        names.push(...namesOf(job.itemId, plan.targets[target]!.disk, region, stack));
    } else if (job.operation === 'Merge') {
      const plan = await readPlan(container, job.itemId, job.attempt, mergePlan);
      for (const { disk, region, layers } of plan.units) names.push(...namesOf(job.itemId, disk, region, layers));
    }
  } catch (error) {
    if (!isBackupError(error, 'VaultObjectMissing')) throw error; // noted, but not stored yet
  }
  return names;
}

type Disk = Parameters<typeof layerName>[0]['disk'];

function namesOf(item: ItemId, disk: Disk, region: number, layers: readonly LayerRef[]): string[] {
  return layers.map(({ point, attempt }) => layerName({ item, disk, region, point, attempt }));
}
