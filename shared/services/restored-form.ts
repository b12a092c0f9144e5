/**
 * What a restored disk becomes: a page blob or a managed disk, whatever it was.
 *
 * A page blob that serves as a disk is a fixed VHD: the disk and a footer of 512 bytes. A managed disk is the bare disk. So the
 * same kind is restored as it is; from a page blob to a managed disk the footer stays behind (the disk gets one of its own, see
 * managed-targets); the other way round one is written behind the disk.
 */
import type { JobRow, SetDisk } from '../catalog/catalog.ts';
import { isManagedDisk } from '../disk/managed-ids.ts';
import type { ManagedForm } from '../disk/restore-targets.ts';
import { within } from '../domain/extent.ts';
import { BLOCK_BYTES, type ByteRange, HASH_BYTES, SECTOR_BYTES } from '../domain/units.ts';
import { diskInside, fixedFooter, FOOTER_BYTES } from '../domain/vhd-footer.ts';
import type { Manifest, RestorePlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { readView, type RegionOf } from './layers.ts';
import type { CheckpointName, LayerName } from '../domain/point-stack.ts';
import type { Ports } from './ports.ts';
import { type BlockBytes, hashBlock, readBlocks } from './region-bytes.ts';

type Target = RestorePlan['targets'][number];
type Source = Pick<SetDisk, 'lun' | 'name' | 'url' | 'sizeBytes' | 'managed'> & { readonly disk: string };

/** Targets made or handed over at once: a VM has up to 65, and Compute takes seconds for each. */
export const TARGETS_AT_ONCE = 8;

/** What is common to the disks of one restore. */
export interface Whereto {
  readonly restore: NonNullable<JobRow['restore']>;
  readonly location: string;
  readonly vm: Manifest['vm'];
}

/** Whether a disk of the point comes back as a managed disk. */
export function becomesManaged({ url }: Pick<Source, 'url'>, { managed }: NonNullable<JobRow['restore']>): boolean {
  return managed !== undefined && (managed.all || isManagedDisk(url));
}

/**
 * The form of a restored disk: how many of its bytes are restored, and what the target is made with. `lastSector` reads the last 512 bytes
 * of the source; only a page blob that becomes a managed disk is asked.
 */
export async function formOf(
  source: Source,
  { restore, location, vm }: Whereto,
  lastSector: () => Promise<Uint8Array>,
): Promise<Pick<Target, 'sizeBytes' | 'footer' | 'managed'>> {
  const { url, sizeBytes, lun, managed } = source;
  if (!becomesManaged(source, restore)) {
    return isManagedDisk(url) ? { sizeBytes, footer: true } : { sizeBytes };
  }
  const form: NonNullable<Target['managed']> = {
    location,
    ...(lun === -1 && { osType: vm.osType === 'Windows' ? 'Windows' : 'Linux' }),
    ...managed,
  };
  return { sizeBytes: isManagedDisk(url) ? sizeBytes : diskInside(sizeBytes, await lastSector()), managed: form };
}

/** Where a restored managed disk lies: named after its source and the job, so that no two jobs and no two disks meet. */
export function managedPlace(groupId: string, jobId: string, name: string, lun: number): string {
  const plain = name
    .replace(/\.vhd$/i, '')
    .replaceAll(/[^A-Za-z0-9_.-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '');
  const unique = `${lun === -1 ? 'os' : `lun${lun}`}-${jobId.replaceAll('-', '').slice(0, 12)}`;
  const kept = plain.slice(0, 80 - 1 - unique.length).replace(/[^A-Za-z0-9]+$/, '') || 'disk';
  return `${groupId}/providers/Microsoft.Compute/disks/${kept}-${unique}`;
}

/** Makes an empty target, marked incomplete, and its footer where it has one. Repeats safely until it is handed over. */
export async function createTarget(ports: Ports, target: Target, jobId: string): Promise<void> {
  const { url, leaseId, sizeBytes, footer, managed } = target;
  if (footer !== true) {
    const form: ManagedForm | undefined = managed;
    return ports.targets.create({ url, leaseId }, sizeBytes, jobId, form);
  }
  await ports.targets.create({ url, leaseId }, sizeBytes + FOOTER_BYTES, jobId);
  // Nobody asks when the VHD was made; whoever makes it again writes the same bytes.
  await ports.targets.write({ url, leaseId }, sizeBytes, fixedFooter(sizeBytes, 0, leaseId));
}

/** The last sector of a disk at a point in the vault; zeros where the point has nothing there. */
export async function lastSectorInVault(
  container: VaultContainer,
  at: RegionOf,
  sizeBytes: number,
  regionStart: number,
  entry: { readonly stack: readonly LayerName[]; readonly checkpoint?: CheckpointName | undefined },
): Promise<Uint8Array> {
  const view = await readView(container, at, entry.stack, entry.checkpoint);
  const offset = sizeBytes - SECTOR_BYTES - regionStart;
  const block = Math.floor(offset / BLOCK_BYTES);
  const extents = within(view.extents, [{ start: block, count: 1 }]);
  for await (const { start, bytes } of readBlocks(container, { ...view, extents })) {
    const from = offset - start * BLOCK_BYTES;
    if (from >= 0 && from < bytes.length) return bytes.slice(from, from + SECTOR_BYTES);
  }
  return new Uint8Array(SECTOR_BYTES);
}

/**
 * The hashes of a run of blocks as they stand on the target: a block that the target's end cuts, where its source went on, ends in zeros
 * there.
 */
export function hashesAsCut(window: ByteRange, { start, bytes, hashes }: BlockBytes): Uint8Array {
  const end = window.end - window.start;
  const block = Math.floor(end / BLOCK_BYTES);
  const from = (block - start) * BLOCK_BYTES;
  if (end % BLOCK_BYTES === 0 || from < 0 || from >= bytes.length) return hashes;
  const cut = Buffer.alloc(BLOCK_BYTES);
  cut.set(bytes.subarray(from, from + (end % BLOCK_BYTES)));
  const own = Buffer.from(hashes);
  own.set(hashBlock(cut), (block - start) * HASH_BYTES);
  return own;
}
