import { createHash } from 'node:crypto';
import type { ContainerClient, PageBlobClient } from '@azure/storage-blob';
import { BLOCK_BYTES } from '../shared/domain/units.ts';
import { forEachAtOnce } from '../shared/services/pipeline.ts';
import { type Write, content } from './disk-content.ts';

const WRITES_IN_FLIGHT = 8;
/** The disk that is backed up, and what must be read from every copy of it. */
export interface SourceDisk {
  /** Writes a night's changes: what they write depends on the night's name and where it is. */
  change(night: string, writes: readonly Write[]): Promise<void>;
  /** The blocks that `writes` touch, as they are now. */
  touched(writes: readonly Write[]): Iterable<Uint8Array>;
  /** The offset of the first bytes of `copy` that are not the disk's; undefined when all are the same. */
  firstDifference(copy: PageBlobClient): Promise<number | undefined>;
}

/** A new disk with data at `pieces`, which ascend, and nothing elsewhere. */
export async function createSourceDisk(
  container: ContainerClient,
  blob: string,
  { sizeBytes, pieces }: { sizeBytes: number; pieces: readonly Write[] },
): Promise<SourceDisk> {
  await container.createIfNotExists();
  const client = container.getPageBlobClient(blob);
  await client.create(sizeBytes);
  const nights: Night[] = [];
  const digests = new Map<number, string>();
  await forEachAtOnce(pieces, WRITES_IN_FLIGHT, async (piece) => {
    const bytes = contentOf(piece, nights);
    digests.set(piece.offset, digestOf(bytes));
    await client.uploadPages(bytes, piece.offset, piece.bytes);
  });
  return {
    async change(name, writes) {
      await forEachAtOnce(writes, WRITES_IN_FLIGHT, (write) =>
        client.uploadPages(changed(name, write), write.offset, write.bytes),
      );
      nights.push({ name, writes });
      for (const piece of pieces)
        if (writes.some((write) => overlap(write, piece)))
          digests.set(piece.offset, digestOf(contentOf(piece, nights)));
    },
    touched: (writes) => touched(pieces, nights, writes),
    firstDifference: (copy) => firstDifference(copy, sizeBytes, pieces, digests),
  };
}

interface Night {
  readonly name: string;
  readonly writes: readonly Write[];
}

const changed = (night: string, { offset, bytes }: Write): Buffer => content(`${night} ${offset}`, bytes);

const overlap = (a: Write, b: Write): boolean => a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;

/** What is at `piece` after `nights`. */
function contentOf(piece: Write, nights: readonly Night[]): Buffer {
  const bytes = content(`disk ${piece.offset}`, piece.bytes);
  for (const { name, writes } of nights) overwrite(bytes, piece, name, writes);
  return bytes;
}

function* touched(pieces: readonly Write[], nights: readonly Night[], writes: readonly Write[]): Generator<Uint8Array> {
  for (const piece of pieces) {
    const within = writes.filter((write) => overlap(write, piece));
    if (within.length === 0) continue;
    const bytes = contentOf(piece, nights);
    const block = (offset: number): number => Math.floor((offset - piece.offset) / BLOCK_BYTES);
    const blocks = within.flatMap(({ offset, bytes: length }) => {
      const first = Math.max(0, block(offset));
      const last = Math.min(block(offset + length - 1), block(piece.offset + piece.bytes - 1));
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
    for (const own of new Set(blocks)) yield bytes.subarray(own * BLOCK_BYTES, (own + 1) * BLOCK_BYTES);
  }
}

/** Puts into `bytes`, which stand at `piece`, the parts of a night's writes that fall into them. */
function overwrite(bytes: Buffer, piece: Write, night: string, writes: readonly Write[]): void {
  for (const write of writes) {
    const from = Math.max(write.offset, piece.offset);
    const to = Math.min(write.offset + write.bytes, piece.offset + piece.bytes);
    if (from < to)
      bytes.set(changed(night, write).subarray(from - write.offset, to - write.offset), from - piece.offset);
  }
}

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function firstDifference(
  copy: PageBlobClient,
  sizeBytes: number,
  pieces: readonly Write[],
  digests: ReadonlyMap<number, string>,
): Promise<number | undefined> {
  if ((await copy.getProperties()).contentLength !== sizeBytes) return sizeBytes;
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
