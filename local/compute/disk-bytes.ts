import { randomUUID } from 'node:crypto';
import type { PageBlobClient } from '@azure/storage-blob';
import { FOOTER_BYTES, fixedFooter, isFooter } from '../../shared/domain/vhd-footer.ts';

/**
 * The page blobs behind managed disks. A blob is the disk plus a VHD footer, as in Azure.
 *
 * Bytes are copied by reading and writing them where storage's own copy cannot be trusted: a copy in stock Azurite shares
 * its page list with the source, so that writing to either would change both.
 */

/** The most that one Put Page may carry (https://learn.microsoft.com/rest/api/storageservices/put-page). */
const PUT_PAGE_BYTES = 4 * 1024 * 1024;
const COPIES_IN_FLIGHT = 4;
const ZEROS = Buffer.alloc(PUT_PAGE_BYTES);

/** Creates the blob of a disk of zeros; with `footer` false the last sector is left for an upload to fill. */
export async function createDiskBlob(
  blob: PageBlobClient,
  sizeBytes: number,
  options: { footer: boolean; nowMs: number },
): Promise<void> {
  await blob.create(sizeBytes + FOOTER_BYTES);
  if (options.footer) await writeFooter(blob, sizeBytes, options.nowMs);
}

/** Makes the disk larger: the old footer becomes zeros of the disk, a new one ends the blob. Safe to repeat. */
export async function growDiskBlob(
  blob: PageBlobClient,
  size: { fromBytes: number; toBytes: number },
  nowMs: number,
): Promise<void> {
  await blob.resize(size.toBytes + FOOTER_BYTES);
  await blob.clearPages(size.fromBytes, FOOTER_BYTES);
  await writeFooter(blob, size.toBytes, nowMs);
}

async function writeFooter(blob: PageBlobClient, sizeBytes: number, nowMs: number): Promise<void> {
  await blob.uploadPages(fixedFooter(sizeBytes, nowMs, randomUUID()), sizeBytes, FOOTER_BYTES);
}

/** Whether the last sector of a blob of `blobBytes` is a VHD footer. */
export async function hasFooter(blob: PageBlobClient, blobBytes: number): Promise<boolean> {
  if (blobBytes < FOOTER_BYTES) return false;
  return isFooter(await blob.downloadToBuffer(blobBytes - FOOTER_BYTES, FOOTER_BYTES));
}

/** Copies the first `sizeBytes` of `source` over a `target` of zeros: only what is allocated, and of that only what is not zero. */
export async function copyDiskBytes(source: PageBlobClient, target: PageBlobClient, sizeBytes: number): Promise<void> {
  const inFlight = new Set<Promise<void>>();
  const copyPiece = async (offset: number, count: number) => {
    const bytes = await source.downloadToBuffer(offset, count);
    if (!bytes.equals(ZEROS.subarray(0, count))) await target.uploadPages(bytes, offset, count);
  };
  for await (const range of source.listPageRanges(0, sizeBytes)) {
    const end = Math.min(range.end + 1, sizeBytes);
    for (let offset = range.start; offset < end; offset += PUT_PAGE_BYTES) {
      const piece = copyPiece(offset, Math.min(PUT_PAGE_BYTES, end - offset));
      inFlight.add(piece);
      // The rejection is met by the race below or by the last Promise.all; this only keeps the set small.
      piece.then(
        () => inFlight.delete(piece),
        () => undefined,
      );
      if (inFlight.size >= COPIES_IN_FLIGHT) await Promise.race(inFlight);
    }
  }
  await Promise.all(inFlight);
}
