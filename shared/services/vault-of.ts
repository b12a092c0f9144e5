import type { ItemRow, VaultRow } from '../catalog/catalog.ts';
import { BackupError, isBackupError } from '../domain/errors.ts';
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

/** How long units go by what a process has seen of a vault. */
const RECENT_MS = 60_000;
const seen = new WeakMap<Ports['catalog']['vaults'], Map<string, { row: VaultRow; atMs: number }>>();

/**
 * What `find` finds in the vault's container, for units of work: all vaults of a subscription share a partition of their table, and
 * thousands of units a minute would ask it for rows that never change. So a row of up to a minute ago will do, since `find` reads what
 * only the right container has: where it is missing, the row is read again. @throws BackupError as openVault and `find`
 */
export async function findInVault<Found>(
  ports: Ports,
  key: string,
  find: (container: VaultContainer) => Promise<Found>,
): Promise<{ row: VaultRow; container: VaultContainer; found: Found }> {
  const now = ports.clock.now();
  const rows = seen.get(ports.catalog.vaults) ?? new Map<string, { row: VaultRow; atMs: number }>();
  seen.set(ports.catalog.vaults, rows);
  const recent = rows.get(key);
  if (recent !== undefined && Math.abs(now - recent.atMs) < RECENT_MS) {
    const { row } = recent;
    const container = await ports.vaults.open(row.containerName);
    try {
      return { row, container, found: await find(container) };
    } catch (error) {
      if (!isBackupError(error, 'VaultObjectMissing')) throw error;
    }
  }
  const { row, container } = await openVault(ports, key);
  rows.set(key, { row, atMs: now });
  return { row, container, found: await find(container) };
}

/** The item's row. @throws BackupError ResourceNotFound */
export async function readItem(ports: Ports, vault: string, key: string): Promise<Versioned<ItemRow>> {
  const found = await ports.catalog.items.get(vault, key);
  if (found === undefined) throw new BackupError('ResourceNotFound', `there is no protected item ${key} in this vault`);
  return found;
}
