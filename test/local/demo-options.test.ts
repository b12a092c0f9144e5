import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inspectDisk, parseOptions } from '../../cli/demo/options.ts';
import { fixedFooter } from '../../shared/domain/vhd-footer.ts';

describe('the demo’s options', () => {
  it('has defaults for all', () =>
    expect(parseOptions([])).toEqual({
      help: false,
      json: false,
      disk: undefined,
      sizeMib: 256,
      pricePerGib: undefined,
    }));

  it('takes each of them', () =>
    expect(parseOptions(['--json', '--disk', 'a.img', '--size=16', '--price', '0.02', '-h'])).toEqual({
      help: true,
      json: true,
      disk: 'a.img',
      sizeMib: 16,
      pricePerGib: 0.02,
    }));

  it.each([
    [['--quick'], /Unknown option '--quick'.*--help/],
    [['--disk'], /--disk/],
    [['file.img'], /file\.img/],
    [['--size', '7'], /--size must be a whole number from 8 to 16384; it is "7"/],
    [['--size', '1e3'], /--size must be/],
    [['--price', 'cheap'], /--price must be a number/],
    [['--price=-1'], /--price must be/],
    [['--json=yes'], /--json/],
  ])('refuses %j in one line', (args, message) => {
    expect(() => parseOptions(args)).toThrow(message);
    try {
      parseOptions(args);
    } catch (error) {
      expect((error as Error).name).toBe('DemoUsageError');
      expect((error as Error).message).not.toContain('\n');
    }
  });
});

describe('a --disk file', () => {
  let folder: string;
  const file = async (name: string, content: Uint8Array): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, content);
    return path;
  };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'strata-demo-options-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('may be raw', async () => {
    const path = await file('raw.img', Buffer.alloc(1024, 1));
    expect(await inspectDisk(path)).toEqual({ path, sizeBytes: 1024, isVhd: false });
  });

  it('may be a fixed VHD, told by its footer', async () => {
    const path = await file('fixed.vhd', Buffer.concat([Buffer.alloc(4096, 1), fixedFooter(4096, 0)]));
    expect(await inspectDisk(path)).toEqual({ path, sizeBytes: 4608, isVhd: true });
  });

  it('is refused when it is absent, empty, a folder or cut', async () => {
    await expect(inspectDisk(join(folder, 'absent'))).rejects.toThrow(/--disk .*absent: there is no such file/);
    await expect(inspectDisk(await file('empty', Buffer.alloc(0)))).rejects.toThrow(/the file is empty/);
    await expect(inspectDisk(folder)).rejects.toThrow(/no regular file/);
    await expect(inspectDisk(await file('cut', Buffer.alloc(1000)))).rejects.toThrow(
      /1000 bytes, is not a multiple of 512/,
    );
  });

  it('is refused when a page blob cannot be as large', async () => {
    const path = await file('large', Buffer.alloc(512));
    await truncate(path, 8 * 2 ** 40 + 512);
    await expect(inspectDisk(path)).rejects.toThrow(/larger than a page blob/);
  });

  it.each([
    ['conectix', 'a dynamic VHD'],
    ['vhdxfile', 'a VHDX'],
    ['QFI\u00fb', 'a qcow2 image'],
    ['KDMV', 'a VMDK'],
  ])('is refused when it begins with %s', async (magic, what) => {
    const path = await file('other', Buffer.concat([Buffer.from(magic, 'latin1')], 4096));
    await expect(inspectDisk(path)).rejects.toThrow(`${what}; convert it`);
  });
});
