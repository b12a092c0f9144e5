import {
  BlobServiceClient,
  type ContainerClient,
  type PageBlobClient,
  StorageSharedKeyCredential,
} from '@azure/storage-blob';
import type { Endpoints } from '../../local/platform/start.ts';
import { BLOCK_BYTES, type ByteRange } from '../../shared/domain/units.ts';
import { DemoError } from './errors.ts';
import { type ChangedRange, type DiskImage, READ_BYTES, readRange } from './image.ts';
import { hashBlock, wholeBlocks } from './reference.ts';

/** The most that one Put Page takes (Azure's limit), and what is read in one go. */
const PIECE_BYTES = READ_BYTES;
/** The storage is bound by one core; more in flight only wait. */
const IN_FLIGHT = 4;

/** A storage account of the platform, opened with its key as its owner would. */
export function openAccount(endpoints: Endpoints, account: string): BlobServiceClient {
  const found = endpoints.storage.find((each) => each.account === account);
  if (found === undefined) throw new DemoError(`the local platform has no storage account ${account}`);
  return new BlobServiceClient(found.blob, new StorageSharedKeyCredential(found.account, found.key));
}

/** Creates the page blob of a disk, empty, and its container. */
export async function createDiskBlob(container: ContainerClient, image: DiskImage): Promise<PageBlobClient> {
  await container.createIfNotExists();
  const blob = container.getPageBlobClient(`${image.name}.vhd`);
  await blob.create(image.sizeBytes);
  return blob;
}

/** Brings a page blob up to its image: writes the pages that have changed and clears those that became zero. */
export async function upload(
  blob: PageBlobClient,
  image: DiskImage,
  changed: readonly ChangedRange[],
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  await inFlight(pieces(changed), async ({ start, end, cleared }, room) => {
    if (cleared) await blob.clearPages(start, end - start, { abortSignal: signal });
    else
      await blob.uploadPages(await readRange(image.file, { start, end }, room), start, end - start, {
        abortSignal: signal,
      });
    onBytes(end - start);
  });
}

/** A clear takes any length, so only data is cut into pieces. */
function* pieces(ranges: readonly ChangedRange[]): Generator<ChangedRange> {
  for (const range of ranges) {
    if (range.cleared) yield range;
    else
      for (let at = range.start; at < range.end; at += PIECE_BYTES)
        yield { start: at, end: Math.min(range.end, at + PIECE_BYTES), cleared: false };
  }
}

/** How a restored disk compares with what it should hold. */
export interface Comparison {
  readonly equal: boolean;
  /** Bytes that were read and hashed; the rest of the disk is known to be zero. */
  readonly readBytes: number;
  /** What is wrong first, for people. */
  readonly difference: string | undefined;
}

/**
 * Compares every byte of a page blob: whatever is allocated is read and hashed block by block, a block that `expected` does not
 * have must be zero, and a block that it has must be there.
 */
export async function compareDisk(
  blob: PageBlobClient,
  sizeBytes: number,
  expected: ReadonlyMap<number, string>,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Comparison> {
  const { contentLength } = await blob.getProperties({ abortSignal: signal });
  if (contentLength !== sizeBytes) {
    const difference = `the disk has ${contentLength} bytes, not ${sizeBytes}`;
    return { equal: false, readBytes: 0, difference };
  }
  const wrong: number[] = [];
  let found = 0;
  let readBytes = 0;
  const allocated = wholeBlocks(await allocatedRanges(blob, signal), sizeBytes);
  const toRead = allocated.map((range) => ({ ...range, cleared: false }));
  await inFlight(pieces(toRead), async ({ start, end }, room) => {
    const bytes = room.subarray(0, end - start);
    await blob.downloadToBuffer(bytes, start, end - start, { blockSize: PIECE_BYTES, abortSignal: signal });
    for (let inside = 0; inside < bytes.length; inside += BLOCK_BYTES) {
      const block = (start + inside) / BLOCK_BYTES;
      const hash = expected.get(block);
      if (hash !== undefined) found++;
      if (hashBlock(bytes.subarray(inside, inside + BLOCK_BYTES)) !== hash) wrong.push(block);
    }
    readBytes += bytes.length;
    onBytes(bytes.length);
  });
  if (wrong.length > 0) {
    const first = wrong.toSorted((a, b) => a - b)[0] as number;
    const difference = `${wrong.length} blocks differ, the first at byte ${first * BLOCK_BYTES}`;
    return { equal: false, readBytes, difference };
  }
  const missing = expected.size - found;
  const difference = missing > 0 ? `${missing} blocks are missing` : undefined;
  return { equal: missing === 0, readBytes, difference };
}

async function allocatedRanges(blob: PageBlobClient, signal: AbortSignal): Promise<ByteRange[]> {
  const ranges: ByteRange[] = [];
  for await (const { start, end, isClear } of blob.listPageRanges(0, undefined, { abortSignal: signal })) {
    // The listing's `end` is the last byte.
    if (!isClear) ranges.push({ start, end: end + 1 });
  }
  return ranges.toSorted((a, b) => a.start - b.start);
}

/** Names and sizes of the blobs in a container. */
export async function blobSizes(container: ContainerClient, signal: AbortSignal): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  for await (const { name, properties } of container.listBlobsFlat({ abortSignal: signal }))
    sizes.set(name, properties.contentLength ?? 0);
  return sizes;
}

/** Handles all items, a few at a time, each in a room of its own for one piece. */
async function inFlight<T>(items: Iterable<T>, act: (item: T, room: Buffer) => Promise<void>): Promise<void> {
  const queue = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    const room = Buffer.allocUnsafe(PIECE_BYTES);
    for (let next = queue.next(); next.done !== true; next = queue.next()) await act(next.value, room);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}
