import type { z } from 'zod';
import type { DiskId } from '../domain/ids.ts';
import type { Layer } from '../domain/layer.ts';
import type { Layout } from '../domain/layout.ts';
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
import { type PartedPlan, namesOfPlan, partsOf, readPlan } from './plans.ts';
import { eachSpan } from './spans.ts';

/** Regions whose layers are read at once. */
const REGIONS_IN_FLIGHT = 8;

/** What a record leads to. */
export interface Named {
  readonly names: Set<string>;
  /** Regions with a layer that cannot be read, as `<disk>/<region>`: which packs it names nobody knows. */
  readonly unread: Set<string>;
}

/** Everything that a record leads to: its manifests and their parts, their layers, slabs and checkpoints, and the layers' packs. */
export async function namedBy(
  container: VaultContainer,
  chain: Chain,
  record: ChainRecord,
  layout: Pick<Layout, 'spanRegions'>,
): Promise<Named> {
  const named = new Set(record.points.map(({ manifest }) => manifest));
  const unread = new Set<string>();
  const manifests = await chain.manifests(record);
  for (const { disks } of manifests) for (const { parts = [] } of disks) for (const { name } of parts) named.add(name);
  for await (const { disk, manifests: reduced } of eachSpan(chain, manifests, layout)) {
    const regions = reduced.flatMap(({ disks }) => disks.flatMap((own) => own.regions));
    await forEachAtOnce(regions, REGIONS_IN_FLIGHT, async ({ region, layers, checkpoint }) => {
      const at = { item: chain.item, disk, region };
      if (checkpoint !== undefined) named.add(checkpointName(chain.item, disk, region, checkpoint.attempt));
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
  const { itemId: item, attempt } = job;
  if (attempt === undefined) return [];
  const names = [planName(item, attempt)];
  const add = (disk: DiskId, region: number, layers: readonly LayerName[]): void => {
    names.push(...layers.map((layer) => blobOf({ item, disk, region }, layer)));
  };
  async function* parts<Plan extends PartedPlan>(schema: z.ZodType<Plan>): AsyncGenerator<Plan> {
    const plan = await readPlan(container, item, attempt!, schema);
    names.push(...namesOfPlan(plan));
    for await (const { part } of partsOf(container, plan, schema)) yield part;
  }
  try {
    if (job.operation === 'Backup') {
      for await (const plan of parts(transferPlan))
        for (const { disk, regions } of plan.units)
          for (const { region, stack } of regions) add(plan.disks[disk]!.disk, region, stack);
    } else if (job.operation === 'Restore') {
      for await (const plan of parts(restorePlan))
        for (const { target, regions } of plan.units)
          for (const { region, stack } of regions) add(plan.targets[target]!.disk, region, stack);
    } else if (job.operation === 'Merge') {
      for await (const { units } of parts(mergePlan))
        for (const { disk, folds } of units) for (const { region, layers } of folds) add(disk, region, layers);
    }
  } catch (error) {
    if (!isBackupError(error, 'VaultObjectMissing')) throw error; // noted, but not stored yet
  }
  return names;
}
