import type { DiskId } from './ids.ts';

/** A disk as a VM has it at this moment. */
export interface PresentDisk {
  readonly lun: number;
  readonly name: string;
  /** The URL of a page blob, or the resource id of a managed disk. */
  readonly url: string;
  /** When the provider says that it was created, or a managed disk's unique id: with the place, the disk's lineage. */
  readonly createdAt: string;
}

/** A disk that an item has had. */
export interface KnownLineage extends PresentDisk {
  readonly disk: DiskId;
}

/** Lineages that an item remembers: more than a VM can have, and few enough for a property of a table row. */
export const MOST_KNOWN = 80;

/**
 * Whether both are the same disk. A page blob is told by its URL and when it was created; a managed disk by its unique id alone, which it keeps
 * when it is moved to another resource group.
 */
export function isSameLineage(
  a: Pick<PresentDisk, 'url' | 'createdAt'>,
  b: Pick<PresentDisk, 'url' | 'createdAt'>,
): boolean {
  return a.createdAt === b.createdAt && (a.url === b.url || (isResourceId(a.url) && isResourceId(b.url)));
}

const isResourceId = (place: string): boolean => place.startsWith('/');

/**
 * Gives each present disk its id. The same lineage keeps its id; else a disk in the LUN (or the OS role) of a known disk that
 * is gone continues that one, by hashes; else it is new and takes the next of `fresh`. `elsewhere` has the URLs of disks that the VM has
 * but that are not backed up: they are not gone.
 * `known` in the answer is what the item has had after this: continued disks with their newest lineage, others unchanged. Of those
 * that are gone the ones seen last are kept; one that was forgotten is new when it comes back.
 */
export function assignDisks(
  known: readonly KnownLineage[],
  present: readonly PresentDisk[],
  fresh: () => DiskId,
  elsewhere: ReadonlySet<string> = new Set(),
): { disks: DiskId[]; known: KnownLineage[] } {
  const byLineage = present.map((disk) => known.find((old) => isSameLineage(old, disk))?.disk);
  const taken = new Set(byLineage.filter((id) => id !== undefined));
  const disks = present.map((disk, i) => {
    const found = byLineage[i];
    if (found !== undefined) return found;
    const replaced = known.findLast((old) => old.lun === disk.lun && !taken.has(old.disk) && !elsewhere.has(old.url));
    const id = replaced?.disk ?? fresh();
    taken.add(id);
    return id;
  });
  const now = present.map(({ lun, name, url, createdAt }, i) => ({ disk: disks[i]!, lun, name, url, createdAt }));
  const gone = known.filter((old) => !taken.has(old.disk));
  return { disks, known: [...gone.slice(Math.max(0, gone.length + now.length - MOST_KNOWN)), ...now] };
}
