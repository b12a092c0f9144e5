import { type FileHandle, open } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { FOOTER_BYTES, isFooter } from '../../shared/domain/vhd-footer.ts';
import { SECTOR_BYTES } from '../../shared/domain/units.ts';
import { DemoUsageError } from './errors.ts';

export interface DemoOptions {
  readonly help: boolean;
  readonly json: boolean;
  /** An image to protect in place of the one made of real files. */
  readonly disk: string | undefined;
  /** MiB of real files in the first disk. */
  readonly sizeMib: number;
  /** A price for each stored GiB and month, in whatever currency the caller thinks of. */
  readonly pricePerGib: number | undefined;
}

export const DEFAULT_SIZE_MIB = 256;
const LEAST_SIZE_MIB = 8;
const MOST_SIZE_MIB = 16_384;

export const HELP = `Usage: npm run demo -- [options]

Makes a VM with two disks in a local platform of its own, protects it, takes fourteen nightly backups and one on
demand while the disks change, lets the first ones expire and merge, restores three points and compares every byte.

  --disk FILE   protect this raw image or fixed VHD (it is copied, never written) in place of the ext4 image
  --size MIB    MiB of real files in the ext4 image, ${LEAST_SIZE_MIB} to ${MOST_SIZE_MIB} (default ${DEFAULT_SIZE_MIB})
  --price N     what a stored GiB costs in a month, in any currency; adds a column to the table
  --json        print the result as JSON on standard output; progress still goes to standard error
  --help        this text

Exit status: 0 all was right, 1 something was not, 2 the call was wrong, 130 stopped by Ctrl-C.
Everything happens on this machine, in a temporary folder that is deleted at the end.
`;

/** @throws DemoUsageError for a flag or value that is not known */
export function parseOptions(args: readonly string[]): DemoOptions {
  const { values } = read(args);
  return {
    help: values.help ?? false,
    json: values.json ?? false,
    disk: values.disk,
    sizeMib: wholeNumber('--size', values.size, LEAST_SIZE_MIB, MOST_SIZE_MIB) ?? DEFAULT_SIZE_MIB,
    pricePerGib: price(values.price),
  };
}

function read(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: { type: 'boolean', short: 'h' },
        json: { type: 'boolean' },
        disk: { type: 'string' },
        size: { type: 'string' },
        price: { type: 'string' },
      },
    });
  } catch (error) {
    const [reason = ''] = (error as Error).message.split(/\. |\n/);
    throw new DemoUsageError(`${reason}; --help lists the options`, { cause: error });
  }
}

function wholeNumber(flag: string, text: string | undefined, least: number, most: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new DemoUsageError(`${flag} must be a whole number from ${least} to ${most}; it is "${text}"`);
}

function price(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new DemoUsageError(`--price must be a number of 0 or more, such as 0.02; it is "${text}"`);
}

/** What a page blob can hold. */
const LARGEST_PAGE_BLOB_BYTES = 8 * 2 ** 40;

/** How images that are neither raw nor a fixed VHD begin, and what they are. */
const OTHER_FORMATS: readonly { readonly magic: string; readonly what: string }[] = [
  { magic: 'conectix', what: 'a dynamic VHD' },
  { magic: 'vhdxfile', what: 'a VHDX' },
  { magic: 'QFI\xfb', what: 'a qcow2 image' },
  { magic: 'KDMV', what: 'a VMDK' },
];

/** What a `--disk` file is. */
export interface GivenDisk {
  readonly path: string;
  readonly sizeBytes: number;
  readonly isVhd: boolean;
}

/** Looks at a `--disk` file. @throws DemoUsageError when it cannot be the content of a disk */
export async function inspectDisk(path: string): Promise<GivenDisk> {
  const refuse = (what: string) => new DemoUsageError(`--disk ${path}: ${what}`);
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw refuse('there is no such file');
    throw refuse(`the file cannot be read (${code ?? String(error)})`);
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw refuse('this is no regular file');
    if (stat.size === 0) throw refuse('the file is empty');
    if (stat.size % SECTOR_BYTES !== 0)
      throw refuse(`its size, ${stat.size} bytes, is not a multiple of ${SECTOR_BYTES}: it is no disk image`);
    if (stat.size > LARGEST_PAGE_BLOB_BYTES) throw refuse('it is larger than a page blob can be (8 TiB)');
    const footer = Buffer.alloc(FOOTER_BYTES);
    await file.read(footer, 0, FOOTER_BYTES, stat.size - FOOTER_BYTES);
    const head = Buffer.alloc(8);
    await file.read(head, 0, head.length, 0);
    const isVhd = stat.size > FOOTER_BYTES && isFooter(footer);
    const other = OTHER_FORMATS.find(({ magic }) => head.toString('latin1').startsWith(magic));
    if (other !== undefined)
      throw refuse(`this is ${other.what}; convert it to a raw image or a fixed VHD first (qemu-img convert -O raw)`);
    return { path, sizeBytes: stat.size, isVhd };
  } finally {
    await file.close();
  }
}
