import type { ItemRow } from '../catalog/catalog.ts';
import type { Versioned } from '../catalog/catalog-table.ts';
import { isBackupError } from '../domain/errors.ts';
import { vaultKey } from './keys.ts';
import type { Ports } from './ports.ts';
import { always, type Precondition } from './precondition.ts';

/**
 * The item's row for one who is about to change it in several writes. Where he asks for a version the row gets a new one here, so that of
 * two who ask for the same one alone goes on.
 * @throws BackupError PreconditionFailed
 */
export async function claimItem(
  ports: Ports,
  vault: string,
  key: string,
  precondition: Precondition,
): Promise<Versioned<ItemRow> | undefined> {
  for (;;) {
    const found = await ports.catalog.items.get(vault, key);
    precondition(found?.etag);
    if (found === undefined || precondition === always) return found;
    try {
      return { row: found.row, etag: await ports.catalog.items.replace(vault, key, found.row, found.etag) };
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw error;
    }
  }
}

/**
 * Changes an item's row under its ETag: `change` gets the newest row and answers the new one, or undefined to leave it. Resolves
 * the row that now stands, or undefined when `change` left it or there is none.
 */
export async function changeItem(
  ports: Ports,
  vault: string,
  key: string,
  change: (row: ItemRow) => ItemRow | undefined,
): Promise<ItemRow | undefined> {
  for (;;) {
    const found = await ports.catalog.items.get(vault, key);
    const next = found && change(found.row);
    if (found === undefined || next === undefined) return undefined;
    try {
      await ports.catalog.items.replace(vault, key, next, found.etag);
      return next;
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw error;
    }
  }
}

/** Calls `work` for every item of every vault, one after another; answers how many there are. */
export async function forEachItem(ports: Ports, work: (vault: string, key: string) => Promise<void>): Promise<number> {
  let items = 0;
  for await (const { row } of ports.catalog.vaults.listAll()) {
    const vault = vaultKey({ ...row, vault: row.name });
    for await (const { key } of ports.catalog.items.list(vault)) {
      await work(vault, key);
      items++;
    }
  }
  return items;
}
