import type { ItemRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import type { Ports } from './ports.ts';

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
      if (!isBackupError(error, 'EtagMismatch')) throw error;
    }
  }
}
