import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChangedRange, type DiskImage, joinRanges, writeAt } from './image.ts';
import { copyName, type RealFile, type RealFiles } from './real-files.ts';

const ALIGN_BYTES = 4096;
const MAGIC = 'DEMOPACK';
/** Of the packed bytes: what a day adds, and what it removes. */
const DAILY_WRITTEN = 0.022;
const DAILY_REMOVED = 0.018;

/** A file in the image. */
interface Packed {
  readonly name: string;
  readonly offset: number;
  readonly sizeBytes: number;
}

/**
 * Real files packed into an image of the demo's own making, for machines without e2fsprogs: a line of JSON after `DEMOPACK`, which
 * names each file with its place, then the files, each on a boundary of 4 KiB. A day of work adds files at the end and clears the
 * oldest ones.
 */
export async function createPackedImage(folder: string, files: RealFiles, bytes: number): Promise<DiskImage> {
  const file = await open(join(folder, 'packed.img'), 'w+');
  // A line for a file has about 100 bytes, and files have 8 KiB or more.
  const indexBytes = align(64 * 1024 + bytes / 32);
  const sizeBytes = align(indexBytes + bytes * 1.6 + 64 * 2 ** 20);
  await file.truncate(sizeBytes);

  let packed: Packed[] = [];
  let index = 0;
  let end = indexBytes;
  let indexUsed = 0;

  const add = async (real: RealFile): Promise<ChangedRange> => {
    const content = await readFile(real.path);
    // Cut to its last sector where the image is full; it never is, as long as files are not larger than when they were chosen.
    const start = end;
    end = Math.min(sizeBytes, align(start + content.length));
    await writeAt(file, content.subarray(0, end - start), start);
    packed.push({ name: copyName(index++, real), offset: start, sizeBytes: content.length });
    return { start, end, cleared: false };
  };
  const writeIndex = async (): Promise<ChangedRange[]> => {
    const text = Buffer.from(`${MAGIC}${JSON.stringify(packed)}\n`);
    const used = align(text.length);
    await writeAt(file, Buffer.concat([text], Math.max(used, indexUsed)), 0);
    const shrunk = used < indexUsed ? [{ start: used, end: indexUsed, cleared: true }] : [];
    indexUsed = used;
    return [{ start: 0, end: used, cleared: false }, ...shrunk];
  };
  const fill = async (chosen: readonly RealFile[]): Promise<ChangedRange[]> => {
    const added: ChangedRange[] = [];
    for (const real of chosen) added.push(await add(real));
    return added;
  };

  const first = await fill(files.take(bytes));
  const initial = joinRanges([...(await writeIndex()), ...first]);
  const usedBytes = end - indexBytes;

  const removeOldest = async (): Promise<ChangedRange[]> => {
    const cleared: ChangedRange[] = [];
    for (let sum = 0; sum < usedBytes * DAILY_REMOVED && packed.length > 1;) {
      const [{ offset, sizeBytes: length }] = packed as [Packed];
      packed = packed.slice(1);
      const range = { start: offset, end: align(offset + length), cleared: true };
      await writeAt(file, Buffer.alloc(range.end - range.start), range.start);
      cleared.push(range);
      sum += length;
    }
    return cleared;
  };

  return {
    name: 'files',
    about: `${index} real files packed into an image`,
    sizeBytes,
    file,
    initial,
    async change() {
      const cleared = await removeOldest();
      const added = await fill(files.take(usedBytes * DAILY_WRITTEN));
      return joinRanges([...(await writeIndex()), ...cleared, ...added]);
    },
    close: () => file.close(),
  };
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGN_BYTES) * ALIGN_BYTES;
}
