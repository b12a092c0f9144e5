import type { Readable } from 'node:stream';
import type { BlobClient, ContainerClient, PageBlobClient } from '@azure/storage-blob';
import { forEachAtOnce } from '../shared/services/pipeline.ts';
import type { Lab } from './lab.ts';
import { type Cost, measured } from './meter.ts';
import { DISK_BYTES } from './disk-content.ts';

/*
 * What the storage and the SDK give when nothing is done to the bytes: the yardstick. A copy to the vault's account reads the page
 * ranges of the disk and puts block blobs of 8 MiB; a copy back reads those and writes pages, 4 MiB at a time, which is the most
 * that a write takes.
 */
const BLOB_BYTES = 8 * 1024 * 1024;
const PAGE_WRITE_BYTES = 4 * 1024 * 1024;
const CONCURRENCIES = [2, 4, 8];
/** How much is copied to find out which concurrency is best. */
const TRIAL_BYTES = 256 * 1024 * 1024;

export interface RawCopy {
  readonly bytes: number;
  readonly cost: Cost;
  readonly concurrency: number;
}

interface Piece {
  readonly offset: number;
  readonly bytes: number;
}

export interface RawCopies {
  readonly toBlobs: RawCopy;
  readonly toPages: RawCopy;
}

export async function rawCopies(lab: Lab, source: PageBlobClient): Promise<RawCopies> {
  const pieces: Piece[] = [];
  for await (const { start, end, isClear } of source.listPageRanges()) {
    if (isClear) continue;
    for (let at = start; at <= end; at += BLOB_BYTES)
      pieces.push({ offset: at, bytes: Math.min(BLOB_BYTES, end + 1 - at) });
  }
  const blobs = lab.vault('raw');
  await blobs.create();
  const nameOf = ({ offset }: Piece): string => offset.toString().padStart(12, '0');
  const toBlob = async (piece: Piece): Promise<void> => {
    const bytes = await bytesOf(source, piece.offset, piece.bytes);
    await blobs.getBlockBlobClient(nameOf(piece)).upload(bytes, bytes.length);
  };
  const toBlobs = await best(lab, pieces, toBlob);

  const target = await emptyTarget(lab.disks('raw'));
  const toPage = async (piece: Piece): Promise<void> => {
    const bytes = await bytesOf(blobs.getBlobClient(nameOf(piece)), 0, piece.bytes);
    for (let at = 0; at < bytes.length; at += PAGE_WRITE_BYTES) {
      const part = bytes.subarray(at, at + PAGE_WRITE_BYTES);
      await target.uploadPages(part, piece.offset + at, part.length);
    }
  };
  const toPages = await best(lab, pieces, toPage);
  await Promise.all([blobs.delete(), lab.disks('raw').delete()]);
  return { toBlobs, toPages };
}

async function emptyTarget(container: ContainerClient): Promise<PageBlobClient> {
  await container.create();
  const client = container.getPageBlobClient('disk.vhd');
  await client.create(DISK_BYTES);
  return client;
}

/** Copies a part with each concurrency, then everything with the best one: the figure is that of the whole. */
async function best(lab: Lab, pieces: readonly Piece[], copy: (piece: Piece) => Promise<void>): Promise<RawCopy> {
  const trial = pieces.slice(0, Math.max(1, TRIAL_BYTES / BLOB_BYTES));
  const run = async (some: readonly Piece[], concurrency: number): Promise<RawCopy> => {
    const { cost } = await measured(lab.server, () => forEachAtOnce(some, concurrency, copy));
    return { cost, concurrency, bytes: some.reduce((sum, { bytes }) => sum + bytes, 0) };
  };
  await run(trial, 4); // warms both processes up
  let fastest: RawCopy | undefined;
  for (const concurrency of CONCURRENCIES) {
    const tried = await run(trial, concurrency);
    if (fastest === undefined || tried.cost.seconds < fastest.cost.seconds) fastest = tried;
  }
  return run(pieces, fastest!.concurrency);
}

async function bytesOf(client: BlobClient, offset: number, length: number): Promise<Buffer> {
  const body = (await client.download(offset, length)).readableStreamBody as Readable;
  const bytes = Buffer.allocUnsafe(length);
  let filled = 0;
  return new Promise((resolve, reject) => {
    body.on('data', (part: Buffer) => {
      filled += part.copy(bytes, filled);
    });
    body.once('error', reject);
    body.once('end', () =>
      filled === length ? resolve(bytes) : reject(new Error(`${client.name} ended after ${filled} bytes`)),
    );
  });
}
