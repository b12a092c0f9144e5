import { isBackupError } from '../../shared/domain/errors.ts';
import { CLEARED } from '../../shared/domain/extent.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { chainOf, stacksOf } from '../../shared/domain/point-stack.ts';
import type { RegionView } from '../../shared/domain/region-view.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import type { VaultContainer } from '../../shared/vault/vault-container.ts';
import { readView } from '../../shared/services/layers.ts';
import { readBlocks } from '../../shared/services/region-bytes.ts';
import type { SmallVault } from './verify-stage.ts';

/** What restores of all live points meet. */
export interface Loss {
  /** Points of which not even the manifests can be read. */
  readonly unknown: PointId[];
  /** Regions whose view cannot be put together: at which points. */
  readonly views: Map<string, Set<PointId>>;
  /** Blocks that cannot be read, by region: at which points. */
  readonly blocks: Map<string, { lost: Set<number>; points: Set<PointId> }>;
}

/** Tries to restore every block of every live point by itself, from the vault alone. */
export async function tryEverything({ world, partition }: SmallVault): Promise<Loss> {
  const loss: Loss = { unknown: [], views: new Map(), blocks: new Map() };
  const container = await world.ports.vaults.open(partition.split('|')[0]!);
  const chain = await world.chain('vm');
  const record = await chain.newest();
  for (const { point } of record.points) {
    let manifests;
    try {
      manifests = await chain.manifests(record, point);
    } catch (error) {
      if (!isBackupError(error)) throw error;
      loss.unknown.push(point);
      continue;
    }
    for (const { disk } of manifests.at(-1)!.disks) {
      if (chainOf(disk, manifests).length === 0) continue;
      for (const [region, { layers, checkpoint }] of stacksOf(disk, manifests)) {
        const blocks = world.ports.settings.geometry.regionBytes / BLOCK_BYTES;
        const at = { item: chain.item, disk, region, blocks };
        const key = `${disk}|${region}`;
        let view: RegionView;
        try {
          view = await readView(container, at, layers, checkpoint);
        } catch (error) {
          if (!isBackupError(error)) throw error;
          loss.views.set(key, (loss.views.get(key) ?? new Set()).add(point));
          continue;
        }
        for (const block of await lostBlocks(container, view)) {
          const known = loss.blocks.get(key) ?? { lost: new Set(), points: new Set() };
          loss.blocks.set(key, known);
          known.lost.add(block);
          known.points.add(point);
        }
      }
    }
  }
  return loss;
}

async function lostBlocks(container: VaultContainer, view: RegionView): Promise<number[]> {
  const lost: number[] = [];
  const canRead = async (extents: RegionView['extents']): Promise<boolean> => {
    try {
      for await (const _ of readBlocks(container, { ...view, extents })) void _;
      return true;
    } catch (error) {
      if (isBackupError(error)) return false;
      throw error;
    }
  };
  for (const extent of view.extents) {
    if (extent.frame === CLEARED || (await canRead([extent]))) continue;
    for (let i = 0; i < extent.count; i++) {
      const one = { ...extent, start: extent.start + i, slot: extent.slot + i, count: 1 };
      if (!(await canRead([one]))) lost.push(one.start);
    }
  }
  return lost;
}
