import type { Versioned } from '../catalog/catalog-table.ts';
import type { ItemRow } from '../catalog/catalog.ts';
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
 * the row that now stands, or undefined when `change` left it or there is none. `seen` is the row as the caller has read or written it
 * last: while nobody else has changed it, it need not be read again.
 */
export async function changeItem(
  ports: Ports,
  vault: string,
  key: string,
  change: (row: ItemRow) => ItemRow | undefined,
  seen?: Versioned<ItemRow>,
): Promise<Versioned<ItemRow> | undefined> {
  for (let known = seen; ; known = undefined) {
    const found = known ?? (await ports.catalog.items.get(vault, key));
    const row = found && change(found.row);
    if (found === undefined || row === undefined) {
      if (known === undefined) return undefined;
      continue; // what is to be left is looked at as it is now
    }
    try {
      return { row, etag: await ports.catalog.items.replace(vault, key, row, found.etag) };
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
