import type { DiskId, ItemId } from '../domain/ids.ts';
import { diskPrefix } from '../format/names.ts';
import type { BlobInfo, VaultContainer } from '../vault/vault-container.ts';

/**
 * Lists what a disk's folder has of the regions whose numbers, in names, begin with `digits`, whatever point wrote it; with '' all of
 * it, in one listing. Else it takes one for each point that has written something, and one for checkpoints. Slabs go by their numbers.
 */
export async function* listRegions(
  container: VaultContainer,
  item: ItemId,
  disk: DiskId,
  digits: string,
): AsyncGenerator<BlobInfo> {
  const folder = diskPrefix(item, disk);
  if (digits === '') {
    yield* container.list(folder);
    return;
  }
  // Points' folders lie beside the checkpoints.
  for await (const blob of container.list(`${folder}${digits}`))
    if (!blob.name.includes('/', folder.length)) yield blob;
  for await (const point of container.folders(folder)) yield* container.list(`${point}${digits}`);
}
