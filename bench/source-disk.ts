import { createHash } from 'node:crypto';
import type { ContainerClient, PageBlobClient } from '@azure/storage-blob';
import { forEachAtOnce } from '../shared/services/pipeline.ts';
import { DISK_BYTES, type Write, content, initialWrites, nightlyWrites } from './disk-content.ts';

const WRITES_IN_FLIGHT = 8;
/** The share of its data that a night changes. */
export const NIGHTLY_SHARE = 0.05;

/** The disk that is backed up, and what must be read from every copy of it. */
export interface SourceDisk {
  /** Writes a night's changes. */
  change(): Promise<void>;
  /** The offset of the first bytes of `copy` that are not the disk's; undefined when all are the same. */
  firstDifference(copy: PageBlobClient): Promise<number | undefined>;
}

export async function createSourceDisk(container: ContainerClient, blob: string, sizeMib: number): Promise<SourceDisk> {
  await container.createIfNotExists();
  const client = container.getPageBlobClient(blob);
  await client.create(DISK_BYTES);
  const pieces = initialWrites(sizeMib);
  const digests = new Map<number, string>();
  const first = ({ offset, bytes }: Write): Buffer => content(`disk ${offset}`, bytes);
  await forEachAtOnce(pieces, WRITES_IN_FLIGHT, async (piece) => {
    const bytes = first(piece);
    digests.set(piece.offset, digestOf(bytes));
    await client.uploadPages(bytes, piece.offset, piece.bytes);
  });
  return {
    async change() {
      const writes = nightlyWrites(sizeMib, NIGHTLY_SHARE);
      const changed = ({ offset, bytes }: Write): Buffer => content(`night ${offset}`, bytes);
      await forEachAtOnce(writes, WRITES_IN_FLIGHT, (write) =>
        client.uploadPages(changed(write), write.offset, write.bytes),
      );
      for (const piece of pieces)
        digests.set(piece.offset, digestOf(overwritten(first(piece), piece, writes, changed)));
    },
    firstDifference: (copy) => firstDifference(copy, pieces, digests),
  };
}

/** `bytes`, which stand at `piece`, with the parts of `writes` that fall into them. */
function overwritten(bytes: Buffer, piece: Write, writes: readonly Write[], changed: (write: Write) => Buffer): Buffer {
  for (const write of writes) {
    const from = Math.max(write.offset, piece.offset);
    const to = Math.min(write.offset + write.bytes, piece.offset + piece.bytes);
    if (from < to) bytes.set(changed(write).subarray(from - write.offset, to - write.offset), from - piece.offset);
  }
  return bytes;
}

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function firstDifference(
  copy: PageBlobClient,
  pieces: readonly Write[],
  digests: ReadonlyMap<number, string>,
): Promise<number | undefined> {
  if ((await copy.getProperties()).contentLength !== DISK_BYTES) return DISK_BYTES;
  const wrong: number[] = [];
  for await (const { start, end, isClear } of copy.listPageRanges()) {
    // A hole that was filled, even if with zeros, is a difference: the copy would cost what the disk does not.
    const inside = pieces.some(({ offset, bytes }) => start >= offset && start < offset + bytes);
    if (!isClear && !(inside && covered(pieces, start, end + 1))) wrong.push(start);
  }
  await forEachAtOnce(pieces, 4, async ({ offset, bytes }) => {
    const read = await copy.downloadToBuffer(offset, bytes);
    if (digestOf(read) !== digests.get(offset)) wrong.push(offset);
  });
  return wrong.length === 0 ? undefined : Math.min(...wrong);
}

/** Whether `pieces`, which ascend, hold everything from `start` to `end`. */
function covered(pieces: readonly Write[], start: number, end: number): boolean {
  let at = start;
  for (const { offset, bytes } of pieces) if (offset <= at && at < offset + bytes) at = offset + bytes;
  return at >= end;
}
