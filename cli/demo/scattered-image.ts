import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { fixedFooter, FOOTER_BYTES } from '../../shared/domain/vhd-footer.ts';
import { BLOCK_BYTES, type ByteRange, REGION_BYTES, SECTOR_BYTES } from '../../shared/domain/units.ts';
import {
  bytesOf,
  type ChangedRange,
  dataRanges,
  type DiskImage,
  joinRanges,
  READ_BYTES,
  readRange,
  splitZeros,
  windows,
  writeAt,
} from './image.ts';
import { type RealFiles, seededRandom } from './real-files.ts';
import type { GivenDisk } from './options.ts';

/** Of the bytes on the disk: what a day overwrites, writes where nothing was, and clears. */
const DAILY_OVERWRITTEN = 0.02;
const DAILY_ADDED = 0.005;
const DAILY_CLEARED = 0.005;
/** The longest single write, and the longest single clear. */
const LONGEST_BYTES = 256 * 1024;

const VHD_REGIONS = 6;
/** Regions of the sparse VHD that hold data. */
const FILLED_REGIONS = [0, 1, 3, 5];

/** A fixed VHD of 6 GiB with `bytes` of real data in four of its regions, near their beginning, middle and end. */
export async function createSparseVhd(folder: string, files: RealFiles, bytes: number): Promise<DiskImage> {
  const contentBytes = VHD_REGIONS * REGION_BYTES;
  const sizeBytes = contentBytes + FOOTER_BYTES;
  const file = await open(join(folder, 'sparse.vhd'), 'w+');
  await file.truncate(sizeBytes);
  const initial: ChangedRange[] = [];
  const share = Math.max(BLOCK_BYTES, Math.floor(bytes / (3 * FILLED_REGIONS.length * SECTOR_BYTES)) * SECTOR_BYTES);
  for (const region of FILLED_REGIONS) {
    for (const start of [0, REGION_BYTES / 2, REGION_BYTES - share]) {
      const at = region * REGION_BYTES + start;
      await writeAt(file, await files.bytes(share), at);
      initial.push({ start: at, end: at + share, cleared: false });
    }
  }
  await writeAt(file, fixedFooter(contentBytes, Date.UTC(2026, 0, 1)), contentBytes);
  initial.push({ start: contentBytes, end: sizeBytes, cleared: false });
  return {
    name: 'sparse',
    about: `fixed VHD of ${VHD_REGIONS} GiB with data in ${FILLED_REGIONS.length} regions`,
    sizeBytes,
    file,
    initial: joinRanges(initial),
    change: scatteredChanges(file, files, contentBytes, initial, 'sparse'),
    close: () => file.close(),
  };
}

/** A copy of a given image, sparse where it is zero: the given file itself is never written. */
export async function copyGivenImage(
  folder: string,
  files: RealFiles,
  given: GivenDisk,
  onProgress: (doneBytes: number) => void,
): Promise<DiskImage> {
  const source = await open(given.path, 'r');
  const file = await open(join(folder, 'given.img'), 'w+');
  await file.truncate(given.sizeBytes);
  const initial: ChangedRange[] = [];
  try {
    const room = Buffer.allocUnsafe(READ_BYTES);
    for (const window of windows({ start: 0, end: given.sizeBytes })) {
      const bytes = await readRange(source, window, room);
      for (const range of splitZeros(bytes, window.start)) {
        if (range.cleared) continue;
        await writeAt(file, bytes.subarray(range.start - window.start, range.end - window.start), range.start);
        initial.push(range);
      }
      onProgress(window.end);
    }
  } finally {
    await source.close();
  }
  const contentBytes = given.sizeBytes - (given.isVhd ? FOOTER_BYTES : 0);
  return {
    name: 'given',
    about: `${given.isVhd ? 'fixed VHD' : 'raw image'} ${given.path}`,
    sizeBytes: given.sizeBytes,
    file,
    initial: joinRanges(initial),
    change: scatteredChanges(file, files, contentBytes, initial, 'given'),
    close: () => file.close(),
  };
}

/**
 * Changes as many programs make them: short writes and clears all over the parts in use, in whole sectors but not in whole blocks,
 * and some where nothing was before. Nothing at or past `contentBytes` changes, which is where a VHD has its footer.
 */
function scatteredChanges(
  file: FileHandle,
  files: RealFiles,
  contentBytes: number,
  initial: readonly ByteRange[],
  seed: string,
): DiskImage['change'] {
  const inUse = initial.filter(({ start }) => start < contentBytes);
  const usedBytes = Math.min(contentBytes, Math.max(bytesOf(inUse), BLOCK_BYTES));
  return async (day) => {
    const random = seededRandom(`${seed} ${day}`);
    const touched: ByteRange[] = [];
    const spread = async (share: number, place: () => number, content: (bytes: number) => Promise<Buffer>) => {
      for (let missing = sectors(usedBytes * share); missing > 0;) {
        const longest = Math.min(missing, sectors(Math.max(SECTOR_BYTES, random() * LONGEST_BYTES)));
        const start = Math.min(place(), contentBytes - SECTOR_BYTES);
        const end = Math.min(contentBytes, start + longest);
        await writeAt(file, await content(end - start), start);
        touched.push({ start, end });
        missing -= end - start;
      }
    };
    const anywhere = (): number => sectorAt(random() * contentBytes);
    const whereInUse = (): number => {
      const range = pick(inUse, random());
      return range === undefined ? anywhere() : range.start + sectorAt(random() * (range.end - range.start));
    };
    const zeros = (bytes: number) => Promise.resolve(Buffer.alloc(bytes));
    const real = (bytes: number) => files.bytes(bytes);
    // Cleared first: what is written afterwards in the same place counts.
    await spread(DAILY_CLEARED, whereInUse, zeros);
    await spread(DAILY_OVERWRITTEN, whereInUse, real);
    await spread(DAILY_ADDED, anywhere, real);
    return asChanges(file, touched);
  };
}

/** The range in which the byte `at` (0 to 1 of all bytes) of the ranges lies. */
function pick(ranges: readonly ByteRange[], at: number): ByteRange | undefined {
  let rest = at * bytesOf(ranges);
  for (const range of ranges) {
    rest -= range.end - range.start;
    if (rest < 0) return range;
  }
  return ranges.at(-1);
}

/** Touched ranges, in any order and overlapping, as what they hold now. */
async function asChanges(file: FileHandle, touched: readonly ByteRange[]): Promise<ChangedRange[]> {
  const united: ChangedRange[] = [];
  for (const { start, end } of touched.toSorted((a, b) => a.start - b.start)) {
    const last = united.at(-1);
    if (last !== undefined && start <= last.end) united[united.length - 1] = { ...last, end: Math.max(last.end, end) };
    else united.push({ start, end, cleared: false });
  }
  const changes: ChangedRange[] = [];
  for (const range of united) {
    let at = range.start;
    for (const data of await dataRanges(file, range)) {
      if (data.start > at) changes.push({ start: at, end: data.start, cleared: true });
      changes.push(data);
      at = data.end;
    }
    if (at < range.end) changes.push({ start: at, end: range.end, cleared: true });
  }
  return changes;
}

/** Bytes rounded up to whole sectors. */
function sectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}

/** The sector in which a byte lies. */
function sectorAt(offset: number): number {
  return Math.floor(offset / SECTOR_BYTES) * SECTOR_BYTES;
}
