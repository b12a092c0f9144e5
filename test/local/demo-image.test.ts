import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blocksIn, createExt4Image, hasE2fsprogs } from '../../cli/demo/ext4-image.ts';
import { bytesOf, differences, type DiskImage, readRange, splitZeros } from '../../cli/demo/image.ts';
import { createPackedImage } from '../../cli/demo/packed-image.ts';
import { findRealFiles, RealFiles, seededRandom } from '../../cli/demo/real-files.ts';
import { hashBlock, Reference, wholeBlocks } from '../../cli/demo/reference.ts';
import { copyGivenImage, createSparseVhd } from '../../cli/demo/scattered-image.ts';
import { isFooter } from '../../shared/domain/vhd-footer.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
let folder: string;
let files: RealFiles;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'strata-demo-image-'));
  // Files of its own, so that the test is the same on every machine.
  const random = seededRandom('files');
  await mkdir(join(folder, 'source'));
  for (let i = 0; i < 60; i++) {
    const content = Buffer.alloc(60_000 + i * 999);
    for (let at = 0; at + 4 < content.length; at += 64) content.writeFloatLE(random() + 1, at);
    await writeFile(join(folder, 'source', `file-${i}.bin`), content);
  }
  files = new RealFiles(findRealFiles(4 * MIB, [join(folder, 'source')]));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('ranges', () => {
  it('tells zero pages from others, to the last sector', () => {
    const bytes = Buffer.alloc(4096 * 3 + 512);
    bytes[5000] = 1;
    bytes[4096 * 3] = 1;
    expect(splitZeros(bytes, 8192)).toEqual([
      { start: 8192, end: 12288, cleared: true },
      { start: 12288, end: 16384, cleared: false },
      { start: 16384, end: 20480, cleared: true },
      { start: 20480, end: 20992, cleared: false },
    ]);
  });

  it('finds what differs, and what of it was cleared', () => {
    const before = Buffer.alloc(4096 * 4, 1);
    const after = Buffer.from(before);
    after[4096] = 2;
    after.fill(0, 8192, 12288);
    expect(differences(before, after, 0)).toEqual([
      { start: 4096, end: 8192, cleared: false },
      { start: 8192, end: 12288, cleared: true },
    ]);
  });

  it('widens to whole blocks, joins them, and stops at the end of the disk', () =>
    expect(
      wholeBlocks(
        [
          { start: 512, end: 1024 },
          { start: 16_000, end: 17_000 },
          { start: 65_536, end: 66_048 },
        ],
        66_048,
      ),
    ).toEqual([
      { start: 0, end: 32_768 },
      { start: 65_536, end: 66_048 },
    ]));

  it('reads the blocks that debugfs lists, and nothing else of what it says', () =>
    expect(blocksIn('debugfs: blocks /a/00001-x\n7 8 12 \ndebugfs: rm /a/1 2 3\n\n9\n')).toEqual(
      [7, 8, 9, 12].map((block) => ({ start: block * 4096, end: (block + 1) * 4096, cleared: true })),
    ));
});

describe('the reference', () => {
  it('remembers each version, a shrunken hash for the last block and none for zeros', async () => {
    const path = join(folder, 'reference.img');
    const size = 16_384 * 2 + 512;
    await writeFile(path, Buffer.concat([Buffer.alloc(16_384, 1), Buffer.alloc(16_384), Buffer.alloc(512, 3)]));
    const file = await open(path, 'r+');
    const reference = new Reference(size);
    const all = [{ start: 0, end: size, cleared: false }];
    expect(await reference.record(file, all)).toEqual({ dataBlocks: 2, clearedBlocks: 0 });
    await file.write(Buffer.alloc(16_384), 0, 16_384, 0);
    await file.write(Buffer.alloc(1, 9), 0, 1, 20_000);
    expect(await reference.record(file, all)).toEqual({ dataBlocks: 1, clearedBlocks: 1 });
    await file.close();
    expect([...reference.at(0).keys()]).toEqual([0, 2]);
    expect(reference.at(0).get(2)).toBe(hashBlock(Buffer.concat([Buffer.alloc(512, 3)], 16_384)));
    expect([...reference.at(1).keys()].toSorted((a, b) => a - b)).toEqual([1, 2]);
    expect(() => reference.at(2)).toThrow('version 2 of 2');
  });
});

/** Plays days of work on an image: what it says has changed is all that has changed, and is at least 2 %. */
async function playDays(image: DiskImage, days: number): Promise<void> {
  const span = Math.min(image.sizeBytes, 40 * MIB);
  const whole = await readRange(image.file, { start: 0, end: span });
  const shadow = Buffer.alloc(span);
  const apply = async (ranges: DiskImage['initial']): Promise<void> => {
    let last = 0;
    for (const { start, end, cleared } of ranges) {
      expect(start).toBeGreaterThanOrEqual(last);
      expect((end - start) % 512).toBe(0);
      expect(end).toBeGreaterThan(start);
      last = end;
      const bytes = await readRange(image.file, { start, end });
      if (cleared) expect(bytes.equals(Buffer.alloc(bytes.length))).toBe(true);
      if (start < span) bytes.copy(shadow, start, 0, Math.min(end, span) - start);
    }
  };
  await apply(image.initial);
  expect(shadow.equals(whole)).toBe(true);
  const used = bytesOf(image.initial);
  for (let day = 1; day <= days; day++) {
    const changed = await image.change(day);
    await apply(changed);
    expect(shadow.equals(await readRange(image.file, { start: 0, end: span }))).toBe(true);
    expect(bytesOf(changed) / used).toBeGreaterThan(0.02);
    expect(changed.some(({ cleared }) => cleared)).toBe(true);
    expect(changed.some(({ cleared }) => !cleared)).toBe(true);
  }
  await image.close();
}

describe('a disk image', () => {
  it('packs files, and says what changes', async () => {
    const image = await createPackedImage(folder, files, 3 * MIB);
    const head = (await readRange(image.file, { start: 0, end: 100 })).toString();
    expect(head).toMatch(/^DEMOPACK\[{"name":"00000-file-0\.bin","offset":\d+/);
    await playDays(image, 8);
  });

  it('is an ext4 file system that its own checker finds clean', async ({ skip }) => {
    if (!(await hasE2fsprogs())) skip('e2fsprogs are not installed');
    const image = await createExt4Image(folder, files, 3 * MIB);
    await playDays(image, 8);
    const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
    await promisify(execFile)('e2fsck', ['-f', '-n', join(folder, 'ext4.img')], { env });
  });

  it('is a sparse fixed VHD with data in four regions and a footer that never changes', async () => {
    const image = await createSparseVhd(folder, files, 4 * MIB);
    expect(image.sizeBytes).toBeGreaterThanOrEqual(5 * GIB);
    const footer = { start: image.sizeBytes - 512, end: image.sizeBytes };
    expect(isFooter(await readRange(image.file, footer))).toBe(true);
    const regions = new Set(image.initial.slice(0, -1).map(({ start }) => Math.floor(start / GIB)));
    expect(regions.size).toBeGreaterThanOrEqual(4);
    await playDays(image, 3);
  });

  it('is a copy of a given one, which stays as it is', async () => {
    const path = join(folder, 'given-source.img');
    const content = Buffer.concat([await files.bytes(MIB), Buffer.alloc(MIB), await files.bytes(MIB + 512)]);
    await writeFile(path, content);
    const given = { path, sizeBytes: content.length, isVhd: false };
    const image = await copyGivenImage(folder, files, given, () => undefined);
    expect((await readRange(image.file, { start: 0, end: content.length })).equals(content)).toBe(true);
    await playDays(image, 5);
    expect((await readFile(path)).equals(content)).toBe(true);
  });

  it('may be as small as a sector, and empty', async () => {
    const path = join(folder, 'small.img');
    await writeFile(path, Buffer.alloc(512));
    const image = await copyGivenImage(folder, files, { path, sizeBytes: 512, isVhd: false }, () => undefined);
    expect(image.initial).toEqual([]);
    expect(await image.change(1)).toEqual([{ start: 0, end: 512, cleared: false }]);
    await image.close();
  });
});
