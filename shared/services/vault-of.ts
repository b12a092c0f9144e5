import type { ItemRow, VaultRow } from '../catalog/catalog.ts';
import { BackupError } from '../domain/errors.ts';
import type { Versioned } from '../catalog/catalog-table.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { vaultRowKey } from './keys.ts';
import type { Ports } from './ports.ts';

/** The vault's row and its container. @throws BackupError ResourceNotFound */
export async function openVault(ports: Ports, key: string): Promise<{ row: VaultRow; container: VaultContainer }> {
  const at = vaultRowKey(key);
  const found = await ports.catalog.vaults.get(at.partition, at.key);
  if (found === undefined) throw new BackupError('ResourceNotFound', `there is no vault ${at.key}`);
  return { row: found.row, container: await ports.vaults.open(found.row.containerName) };
}

/** The item's row. @throws BackupError ResourceNotFound */
export async function readItem(ports: Ports, vault: string, key: string): Promise<Versioned<ItemRow>> {
  const found = await ports.catalog.items.get(vault, key);
  if (found === undefined) throw new BackupError('ResourceNotFound', `there is no protected item ${key} in this vault`);
  return found;
}
