import type { DiskId } from '../domain/ids.ts';
import type { Layer } from '../domain/layer.ts';
import type { LayerName } from '../domain/point-stack.ts';
import { restorePlan, transferPlan, mergePlan } from '../format/documents.ts';
import type { ChainRecord } from '../format/documents.ts';
import { checkpointName, planName, regionOfPack } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { JobRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import type { Chain } from './chain.ts';
import { DAMAGE_CODES } from './findings.ts';
import { type RegionOf, blobOf, readLayerMap } from './layers.ts';
import { forEachAtOnce } from './pipeline.ts';
import { readPlan } from './plans.ts';

/** Regions whose layers are read at once. */
const REGIONS_IN_FLIGHT = 8;

/** What a record leads to. */
export interface Named {
  readonly names: Set<string>;
  /** Regions with a layer that cannot be read, as `<disk>/<region>`: which packs it names nobody knows. */
  readonly unread: Set<string>;
}

/** Everything that a record leads to: its manifests, their layers, slabs and checkpoints, and the layers' packs. */
export async function namedBy(container: VaultContainer, chain: Chain, record: ChainRecord): Promise<Named> {
  const named = new Set(record.points.map(({ manifest }) => manifest));
  const unread = new Set<string>();
  for (const { item, disks } of await chain.manifests(record)) {
    for (const { disk, regions } of disks) {
      await forEachAtOnce(regions, REGIONS_IN_FLIGHT, async ({ region, layers, checkpoint }) => {
        const at = { item, disk, region };
        if (checkpoint !== undefined) named.add(checkpointName(item, disk, region, checkpoint.attempt));
        for (const layer of layers) {
          named.add(blobOf(at, layer));
          // A layer in a slab has its bytes there too.
          if (layer.slab !== undefined) continue;
          const packs = await packsOf(container, at, layer);
          if (packs === undefined) unread.add(`${disk}/${region}`);
          else for (const { name } of packs) named.add(name);
        }
      });
    }
  }
  return { names: named, unread };
}

/** Undefined where the layer is damaged: that must not keep the leftovers of all other regions. */
async function packsOf(container: VaultContainer, at: RegionOf, layer: LayerName): Promise<Layer['packs'] | undefined> {
  try {
    return (await readLayerMap(container, at, layer)).packs;
  } catch (error) {
    if (isBackupError(error, ...DAMAGE_CODES)) return undefined;
    throw error;
  }
}

/** Of `names` the packs that a layer which cannot be read may name: those of its region, since no layer names another region's. */
export function packsOfUnread(names: readonly string[], { unread }: Named): string[] {
  if (unread.size === 0) return [];
  return names.filter((name) => {
    const { disk, region } = regionOfPack(name) ?? {};
    return unread.has(`${disk}/${region}`);
  });
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
