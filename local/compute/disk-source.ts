import { RestError, type PageBlobClient } from '@azure/storage-blob';
import * as z from 'zod';
import { ArmError, invalidParameter, notAllowed, parseBody } from '../arm/errors.ts';
import type { BlobLocation } from './blob-accounts.ts';
import type { ComputeContext } from './context.ts';
import { copyDiskBytes, createDiskBlob, growDiskBlob, hasFooter } from './disk-bytes.ts';
import type { DiskRecord, SnapshotRecord } from './store.ts';
import { FOOTER_BYTES } from '../../shared/domain/vhd-footer.ts';

const GIB = 1024 ** 3;
/** 32 TiB, the largest managed disk. */
const MAX_DISK_BYTES = 32 * 1024 * GIB;

/** What a new disk is made of. `sizeBytes` is the disk's, without footer; `copyBytes` of it come from `from`. */
export interface DiskSource {
  kind: 'empty' | 'upload' | 'copy';
  sizeBytes: number;
  creationData: Record<string, unknown>;
  osType?: string | undefined;
  hyperVGeneration?: string | undefined;
  from?: { location: BlobLocation; copyBytes: number } | undefined;
}

const creationSchema = z.discriminatedUnion(
  'createOption',
  [
    z.object({ createOption: z.literal('Empty') }),
    z.object({
      createOption: z.literal('Import'),
      sourceUri: z.string(),
      storageAccountId: z.string().nullish(),
    }),
    z.object({ createOption: z.literal('Upload'), uploadSizeBytes: z.int() }),
    z.object({ createOption: z.literal('Copy'), sourceResourceId: z.string() }),
  ],
  "must be 'Empty', 'Import', 'Upload' or 'Copy': the local platform has no other way to make a disk",
);

/** Finds and measures what `creationData` names. @throws ArmError when it is not there or does not fit. */
export async function resolveSource(
  context: ComputeContext,
  creationData: unknown,
  wishedGB: number | undefined,
): Promise<DiskSource> {
  const creation = parseBody(creationSchema, creationData);
  const wishedBytes = wishedGB === undefined ? undefined : wishedGB * GIB;
  switch (creation.createOption) {
    case 'Empty':
      if (wishedBytes === undefined) {
        throw invalidParameter("Required parameter 'disk.diskSizeGB' is missing (null): Empty needs a size.");
      }
      return { kind: 'empty', sizeBytes: wishedBytes, creationData: { createOption: 'Empty' } };
    case 'Upload':
      return { kind: 'upload', sizeBytes: uploadedBytes(creation.uploadSizeBytes, wishedGB), creationData: creation };
    case 'Import':
      return importSource(context, creation.sourceUri, wishedBytes);
    case 'Copy':
    default:
      return copySource(context, creation.sourceResourceId, wishedBytes);
  }
}

/** Makes the blob of a new disk: zeros, or the bytes of what the source names, and a footer unless an upload brings it. */
export async function createBytes(context: ComputeContext, source: DiskSource, target: PageBlobClient): Promise<void> {
  const nowMs = context.now();
  if (source.from === undefined) {
    await createDiskBlob(target, source.sizeBytes, { footer: source.kind !== 'upload', nowMs });
    return;
  }
  const { location, copyBytes } = source.from;
  if (context.serverCopies) {
    const copying = await target.beginCopyFromURL(context.accounts.readableUrl(location));
    await copying.pollUntilDone();
    await growDiskBlob(target, { fromBytes: copyBytes, toBytes: source.sizeBytes }, nowMs);
    return;
  }
  await createDiskBlob(target, source.sizeBytes, { footer: true, nowMs });
  if (location.snapshot !== undefined) {
    await copyDiskBytes(context.accounts.blob(location), target, copyBytes);
    return;
  }
  // The source may be written on meanwhile: a snapshot gives all bytes of one moment.
  const base = context.accounts.blob(location);
  const { snapshot } = await base.createSnapshot();
  if (snapshot === undefined) throw new Error(`storage named no snapshot of ${base.url}`);
  const still = base.withSnapshot(snapshot);
  try {
    await copyDiskBytes(still, target, copyBytes);
  } finally {
    await still.deleteIfExists();
  }
}

/** The size of the disk in an upload of so many bytes, footer included. */
function uploadedBytes(uploadSizeBytes: number, wishedGB: number | undefined): number {
  const sizeBytes = uploadSizeBytes - FOOTER_BYTES;
  if (sizeBytes <= 0 || sizeBytes > MAX_DISK_BYTES || sizeBytes % 512 !== 0) {
    throw invalidParameter(
      `The value '${uploadSizeBytes}' of parameter 'creationData.uploadSizeBytes' is invalid: it must be the disk, a ` +
        `multiple of 512 up to ${MAX_DISK_BYTES}, plus the VHD footer of ${FOOTER_BYTES} bytes.`,
    );
  }
  if (wishedGB !== undefined) {
    throw invalidParameter("'disk.diskSizeGB' must not be given with Upload: 'uploadSizeBytes' says the size.");
  }
  return sizeBytes;
}

/**
 * A blob of a storage account. A fixed VHD's footer is taken off and written anew; a page blob without one, which the
 * service would refuse, is taken as the bare disk.
 */
async function importSource(
  context: ComputeContext,
  sourceUri: string,
  wishedBytes: number | undefined,
): Promise<DiskSource> {
  const location = context.accounts.locate("'creationData.sourceUri'", sourceUri);
  const blob = context.accounts.blob(location);
  const blobBytes = await pageBlobBytes(blob, sourceUri);
  const copyBytes = (await hasFooter(blob, blobBytes)) ? blobBytes - FOOTER_BYTES : blobBytes;
  return {
    kind: 'copy',
    sizeBytes: sizeOfCopy(copyBytes, wishedBytes),
    creationData: { createOption: 'Import', sourceUri },
    from: { location, copyBytes },
  };
}

/** Length of a page blob in bytes. @throws ArmError when there is none at the URL. */
export async function pageBlobBytes(blob: PageBlobClient, url: string): Promise<number> {
  try {
    const properties = await blob.getProperties();
    if (properties.blobType !== 'PageBlob') {
      throw invalidParameter(`The blob '${url}' is a ${properties.blobType}; a disk must be a page blob.`);
    }
    return properties.contentLength ?? 0;
  } catch (error) {
    if (error instanceof RestError && error.statusCode === 404) {
      throw new ArmError(404, 'DiskBlobNotFound', `Unable to find VHD blob with URI '${url}'.`);
    }
    throw error;
  }
}

function copySource(context: ComputeContext, sourceId: string, wishedBytes: number | undefined): DiskSource {
  const source = findDiskOrSnapshot(context, sourceId);
  return {
    kind: 'copy',
    sizeBytes: sizeOfCopy(source.sizeBytes, wishedBytes),
    creationData: { createOption: 'Copy', sourceResourceId: source.id, sourceUniqueId: source.uniqueId },
    osType: source.osType,
    hyperVGeneration: source.hyperVGeneration,
    from: { location: { snapshot: undefined, ...source.backing }, copyBytes: source.sizeBytes },
  };
}

function findDiskOrSnapshot(context: ComputeContext, id: string): DiskRecord | SnapshotRecord {
  const { disks, snapshots } = context.state.value;
  const disk = disks[id.toLowerCase()];
  if (disk !== undefined) checkCopyable(disk);
  const found = disk ?? snapshots[id.toLowerCase()];
  if (found === undefined) {
    throw new ArmError(404, 'NotFound', `There is no disk or snapshot '${id}' ('creationData.sourceResourceId').`);
  }
  return found;
}

/** @throws ArmError while a disk has not all its bytes. */
export function checkCopyable(disk: DiskRecord): void {
  if (disk.provisioningState !== 'Succeeded' || disk.upload !== undefined) {
    throw notAllowed(
      `Disk '${disk.name}' is ${disk.upload ?? disk.provisioningState} and cannot be copied before that has ended.`,
    );
  }
}

function sizeOfCopy(sourceBytes: number, wishedBytes: number | undefined): number {
  if (wishedBytes === undefined || wishedBytes === Math.ceil(sourceBytes / GIB) * GIB) return sourceBytes;
  if (wishedBytes < sourceBytes) {
    throw invalidParameter(
      `'disk.diskSizeGB' is ${wishedBytes / GIB}, less than the source's ${sourceBytes} bytes: a copy cannot be smaller.`,
    );
  }
  return wishedBytes;
}
