import { execFile } from 'node:child_process';
import { copyFile, open, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { DemoError } from './errors.ts';
import {
  bytesOf,
  type ChangedRange,
  dataRanges,
  differences,
  type DiskImage,
  joinRanges,
  READ_BYTES,
  readRange,
  windows,
  writeAt,
} from './image.ts';
import { copyName, type RealFile, type RealFiles } from './real-files.ts';

const run = promisify(execFile);

const FS_BLOCK_BYTES = 4096;
/** Systems keep these programs where ordinary users do not always look. */
const SEARCH_PATH = [process.env['PATH'] ?? '', '/usr/sbin', '/sbin', '/opt/homebrew/opt/e2fsprogs/sbin'].join(
  delimiter,
);
/** Of the bytes in the file system: what a day writes, and what it removes. */
const DAILY_WRITTEN = 0.022;
const DAILY_REMOVED = 0.018;

/** Whether e2fsprogs are installed. */
export async function hasE2fsprogs(): Promise<boolean> {
  try {
    for (const program of ['mke2fs', 'debugfs']) await tool(program, ['-V']);
    return true;
  } catch {
    return false;
  }
}

/**
 * An ext4 file system with real files of at least `bytes` together. A day of work writes new files and removes old ones; what was
 * removed is discarded (reads as zeros), as a system with `fstrim` or the discard option does.
 */
export async function createExt4Image(folder: string, files: RealFiles, bytes: number): Promise<DiskImage> {
  const path = join(folder, 'ext4.img');
  const mirrorPath = join(folder, 'ext4-before.img');
  const scriptPath = join(folder, 'ext4.debugfs');
  const sizeBytes = Math.ceil((bytes * 1.2 + 32 * 2 ** 20) / 2 ** 20) * 2 ** 20;

  const file = await open(path, 'w+');
  await file.truncate(sizeBytes);
  const features = ['-t', 'ext4', '-b', String(FS_BLOCK_BYTES), '-J', 'size=4', '-m', '0'];
  await tool('mke2fs', ['-q', '-F', ...features, '-L', 'demo', '-E', 'lazy_itable_init=1,nodiscard', path]);

  const debugfs = async (commands: readonly string[]): Promise<string> => {
    await writeFile(scriptPath, `${commands.join('\n')}\n`);
    const { stdout, stderr } = await tool('debugfs', ['-w', '-f', scriptPath, path]);
    // The exit status says nothing; what went wrong stands beside the line with the version.
    const complaints = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('debugfs 1.'));
    if (complaints.length > 0) throw new DemoError(`debugfs: ${complaints[0]}`);
    return stdout;
  };

  let index = 0;
  const present: string[] = [];
  const sizes = new Map<string, number>();
  const writing = (directory: string, chosen: readonly RealFile[]): string[] => {
    const commands = [`mkdir /${directory}`, `cd /${directory}`];
    for (const real of chosen) {
      const name = copyName(index++, real);
      commands.push(`write ${real.path} ${name}`);
      present.push(`/${directory}/${name}`);
      sizes.set(`/${directory}/${name}`, real.sizeBytes);
    }
    return commands;
  };
  await debugfs(writing('day-00', files.take(bytes)));
  await copyFile(path, mirrorPath);
  const mirror = await open(mirrorPath, 'r+');
  const usedBytes = bytesOf([...sizes.values()].map((end) => ({ start: 0, end })));

  const remove = (wanted: number): string[] => {
    const victims: string[] = [];
    for (let sum = 0; sum < wanted && present.length > 1;) {
      const victim = present.shift() as string;
      victims.push(victim);
      sum += sizes.get(victim) ?? 0;
      sizes.delete(victim);
    }
    return victims;
  };

  return {
    name: 'files',
    about: `ext4 with ${index} real files`,
    sizeBytes,
    file,
    initial: await dataRanges(file, { start: 0, end: sizeBytes }),
    async change(day) {
      // The oldest files go, so that what they wrote long ago turns into cleared ranges.
      const victims = remove(usedBytes * DAILY_REMOVED);
      const output = await debugfs([
        ...victims.map((victim) => `blocks ${victim}`),
        ...writing(`day-${String(day).padStart(2, '0')}`, files.take(usedBytes * DAILY_WRITTEN)),
        ...victims.map((victim) => `rm ${victim}`),
      ]);
      for (const { start, end } of joinRanges(blocksIn(output))) await writeAt(file, Buffer.alloc(end - start), start);
      return follow(file, mirror, sizeBytes);
    },
    async close() {
      await file.close();
      await mirror.close();
    },
  };
}

/** The ranges of the blocks that `blocks` commands have listed: lines of numbers and blanks alone. */
export function blocksIn(output: string): ChangedRange[] {
  const blocks = output
    .split('\n')
    .filter((line) => /^\d[\d ]*$/.test(line))
    .flatMap((line) => line.trim().split(/ +/).map(Number));
  return blocks
    .toSorted((a, b) => a - b)
    .map((block) => ({ start: block * FS_BLOCK_BYTES, end: (block + 1) * FS_BLOCK_BYTES, cleared: true }));
}

/** What differs between an image and its mirror; then the mirror is as the image. */
async function follow(file: DiskImage['file'], mirror: DiskImage['file'], sizeBytes: number): Promise<ChangedRange[]> {
  const changed: ChangedRange[] = [];
  const rooms = [Buffer.allocUnsafe(READ_BYTES), Buffer.allocUnsafe(READ_BYTES)] as const;
  for (const window of windows({ start: 0, end: sizeBytes })) {
    const before = await readRange(mirror, window, rooms[0]);
    const after = await readRange(file, window, rooms[1]);
    if (before.equals(after)) continue;
    const differing = differences(before, after, window.start);
    for (const { start, end } of differing)
      await writeAt(mirror, after.subarray(start - window.start, end - window.start), start);
    changed.push(...differing);
  }
  return joinRanges(changed);
}

function tool(program: string, args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  return run(program, [...args], { env: { ...process.env, PATH: SEARCH_PATH, LC_ALL: 'C' }, maxBuffer: 2 ** 28 });
}
