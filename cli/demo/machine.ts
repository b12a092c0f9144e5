import type { ContainerClient, PageBlobClient } from '@azure/storage-blob';
import type { Endpoints } from '../../local/platform/start.ts';
import type { Arm, Paths } from './arm.ts';
import { createExt4Image, hasE2fsprogs } from './ext4-image.ts';
import { bytesOf, type ChangedRange, type DiskImage } from './image.ts';
import type { DemoOptions, GivenDisk } from './options.ts';
import { createPackedImage } from './packed-image.ts';
import { createDiskBlob, openAccount, upload } from './page-blobs.ts';
import { findRealFiles, RealFiles } from './real-files.ts';
import { Reference } from './reference.ts';
import { copyGivenImage, createSparseVhd } from './scattered-image.ts';

/** Where the VM and the vault are. */
export const LOCATION = 'westeurope';
/** The accounts of the first and the second disk. */
const ACCOUNTS = ['stratadisks1', 'stratadisks2'];
const CONTAINER = 'vhds';
/** The second disk holds this share of what the first one holds. */
const SPARSE_SHARE = 1 / 16;
/** Files to choose from: what the disks hold at first, and what fifteen days of work add. */
const FILES_FACTOR = 1.5;

/** A disk of the demo's VM: its image on this machine, its page blob, and what it held at each of its versions. */
export interface DemoDisk {
  readonly image: DiskImage;
  readonly reference: Reference;
  readonly blob: PageBlobClient;
}

/** Makes the two images, deterministic as far as this machine's files are the same. */
export async function makeImages(
  folder: string,
  options: DemoOptions,
  given: GivenDisk | undefined,
  onProgress: (fraction: number, note: string) => void,
): Promise<DiskImage[]> {
  const bytes = options.sizeMib * 2 ** 20;
  onProgress(0, 'choosing files');
  const files = new RealFiles(findRealFiles(bytes * FILES_FACTOR));
  onProgress(0.3, 'filling disks');
  const first =
    given === undefined
      ? await ((await hasE2fsprogs()) ? createExt4Image : createPackedImage)(folder, files, bytes)
      : await copyGivenImage(folder, files, given, (done) =>
          onProgress(0.3 + (0.6 * done) / given.sizeBytes, given.path),
        );
  onProgress(0.9, 'filling disks');
  return [first, await createSparseVhd(folder, files, bytes * SPARSE_SHARE)];
}

/** Puts the images into page blobs of two accounts. */
export async function createDisks(
  images: readonly DiskImage[],
  endpoints: Endpoints,
  onProgress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<DemoDisk[]> {
  const total = images.reduce((sum, { initial }) => sum + bytesOf(initial), 0);
  let done = 0;
  const disks: DemoDisk[] = [];
  for (const [index, image] of images.entries()) {
    const container: ContainerClient = openAccount(endpoints, ACCOUNTS[index] as string).getContainerClient(CONTAINER);
    const blob = await createDiskBlob(container, image);
    const reference = new Reference(image.sizeBytes);
    await Promise.all([
      reference.record(image.file, image.initial),
      upload(blob, image, image.initial, (bytes) => onProgress((done += bytes) / total), signal),
    ]);
    disks.push({ image, reference, blob });
  }
  return disks;
}

/** Makes a VM of the disks: the first one is its OS disk. */
export async function createMachine(arm: Arm, at: Paths, disks: readonly DemoDisk[]): Promise<void> {
  const attached = disks.map(({ image, blob }) => ({
    name: image.name,
    createOption: 'Attach',
    vhd: { uri: blob.url },
  }));
  await arm.put(at.vm, {
    location: LOCATION,
    properties: {
      hardwareProfile: { vmSize: 'Standard_D2s_v3' },
      storageProfile: {
        osDisk: { ...attached[0], osType: 'Linux' },
        dataDisks: attached.slice(1).map((disk, lun) => ({ ...disk, lun })),
      },
    },
  });
}

/** A day of work, done on the images: the page blobs follow when it is applied. */
export interface DayOfWork {
  readonly changedBytes: number;
  /** Of the bytes in use. */
  readonly share: number;
  readonly changes: readonly { readonly disk: DemoDisk; readonly changed: readonly ChangedRange[] }[];
}

/** Changes the images and records what they hold now. */
export async function workOneDay(disks: readonly DemoDisk[], day: number): Promise<DayOfWork> {
  const usedBytes = disks.reduce((sum, { reference }) => sum + reference.usedBytes, 0);
  const changes: { disk: DemoDisk; changed: ChangedRange[] }[] = [];
  for (const disk of disks) {
    const changed = await disk.image.change(day);
    await disk.reference.record(disk.image.file, changed);
    changes.push({ disk, changed });
  }
  const changedBytes = changes.reduce((sum, { changed }) => sum + bytesOf(changed), 0);
  return { changedBytes, share: changedBytes / Math.max(1, usedBytes), changes };
}

/** Writes a day of work to the page blobs, as the VM would. */
export async function applyWork({ changes }: DayOfWork, signal: AbortSignal): Promise<void> {
  for (const { disk, changed } of changes) await upload(disk.blob, disk.image, changed, () => undefined, signal);
}
