import { isBackupError } from '../domain/errors.ts';
import { type ItemId } from '../domain/ids.ts';
import { ITEMS_PREFIX, itemOfFolder } from '../format/names.ts';
import type { VaultRow } from '../catalog/catalog.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { Chain } from './chain.ts';
import { DAMAGE_CODES } from './findings.ts';
import { type VaultAddress, pointsPartition, vaultKey } from './keys.ts';
import type { Ports } from './ports.ts';

/*
 * Rows can be lost, so that there are none says nothing about what a container holds: before one is let go, its chains are asked.
 */

/** The items that have a folder in the container. */
export async function itemsIn(container: VaultContainer): Promise<ItemId[]> {
  const items: ItemId[] = [];
  for await (const folder of container.folders(ITEMS_PREFIX)) {
    const item = itemOfFolder(folder);
    if (item !== undefined) items.push(item);
  }
  return items;
}

/**
 * Says what of the container must not be lost, one entry for each item: recovery points that its newest record names, points whose rows
 * stand though no record names them (their snapshots are all there is of them), or a chain that cannot be read, of which nobody
 * knows. Empty: the container can go. Takes a few requests for each item.
 */
export async function heldIn(ports: Ports, containerName: string): Promise<string[]> {
  const container = await ports.vaults.open(containerName);
  const held: string[] = [];
  for (const item of await itemsIn(container)) {
    const why = (await heldByChain(container, item)) ?? (await heldByRows(ports, containerName, item));
    if (why !== undefined) held.push(why);
  }
  return held;
}

async function heldByChain(container: VaultContainer, item: ItemId): Promise<string | undefined> {
  try {
    const { vm, points } = await new Chain(container, item).newest();
    return points.length === 0 ? undefined : `${vm.name} (item ${item}) has ${points.length} recovery points in it`;
  } catch (error) {
    if (!isBackupError(error, ...DAMAGE_CODES)) throw error;
    return `the chain of item ${item} cannot be read (${error.code}: ${error.message})`;
  }
}

async function heldByRows(ports: Ports, containerName: string, item: ItemId): Promise<string | undefined> {
  for await (const { row } of ports.catalog.points.list(pointsPartition(containerName, item)))
    return `${row.set.vm.name} (item ${item}) has recovery points in the snapshot tier`;
  return undefined;
}

/** Whether an item was ever protected in a vault: its rows may be gone, its folder in the container stays. One or two requests. */
export async function holdsData(ports: Ports, row: VaultRow): Promise<boolean> {
  const address: VaultAddress = { ...row, vault: row.name };
  for await (const _item of ports.catalog.items.list(vaultKey(address), { top: 1 })) return true;
  const container = await ports.vaults.open(row.containerName);
  for await (const folder of container.folders(ITEMS_PREFIX)) if (itemOfFolder(folder) !== undefined) return true;
  return false;
}
