import type { DiskId } from '../domain/ids.ts';
import type { LayerName } from '../domain/point-stack.ts';
import { restorePlan, transferPlan, mergePlan } from '../format/documents.ts';
import type { ChainRecord } from '../format/documents.ts';
import { checkpointName, planName } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { JobRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import type { Chain } from './chain.ts';
import { blobOf, readLayerMap } from './layers.ts';
import { forEachAtOnce } from './pipeline.ts';
import { readPlan } from './plans.ts';

/** Regions whose layers are read at once. */
const REGIONS_IN_FLIGHT = 8;

/** Everything that a record leads to: its manifests, their layers, slabs and checkpoints, and the layers' packs. */
export async function namedBy(container: VaultContainer, chain: Chain, record: ChainRecord): Promise<Set<string>> {
  const named = new Set(record.points.map(({ manifest }) => manifest));
  for (const { item, disks } of await chain.manifests(record)) {
    for (const { disk, regions } of disks) {
      await forEachAtOnce(regions, REGIONS_IN_FLIGHT, async ({ region, layers, checkpoint }) => {
        const at = { item, disk, region };
        if (checkpoint !== undefined) named.add(checkpointName(item, disk, region, checkpoint.attempt));
        for (const layer of layers) {
          named.add(blobOf(at, layer));
          // A layer in a slab has its bytes there too.
          if (layer.slab === undefined)
            for (const { name } of (await readLayerMap(container, at, layer)).packs) named.add(name);
        }
      });
    }
  }
  return named;
}

/** The plan of a job that has not ended, and the layers that it reads from. */
export async function namedByPlan(container: VaultContainer, job: JobRow): Promise<string[]> {
  if (job.attempt === undefined) return [];
  const item = job.itemId;
  const names = [planName(item, job.attempt)];
  const add = (disk: DiskId, region: number, layers: readonly LayerName[]): void => {
    names.push(...layers.map((layer) => blobOf({ item, disk, region }, layer)));
  };
  try {
    if (job.operation === 'Backup') {
      const plan = await readPlan(container, item, job.attempt, transferPlan);
      for (const { disk, regions } of plan.units)
        for (const { region, stack } of regions) add(plan.disks[disk]!.disk, region, stack);
    } else if (job.operation === 'Restore') {
      const plan = await readPlan(container, item, job.attempt, restorePlan);
      for (const { target, region, stack } of plan.units) add(plan.targets[target]!.disk, region, stack);
    } else if (job.operation === 'Merge') {
      const plan = await readPlan(container, item, job.attempt, mergePlan);
      for (const { disk, folds } of plan.units) for (const { region, layers } of folds) add(disk, region, layers);
    }
  } catch (error) {
    if (!isBackupError(error, 'VaultObjectMissing')) throw error; // noted, but not stored yet
  }
  return names;
}
