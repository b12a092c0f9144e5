/** `npm run bench`: Strata's work on one disk, held against a raw copy of the same bytes in the same run. See docs/performance.md. */
import { loadavg } from 'node:os';
import type { PointRow } from '../shared/catalog/catalog.ts';
import { encodeFrame } from '../shared/format/frame.ts';
import { type Lab, WIDE_PATHS, startLab } from './lab.ts';
import { MEASUREMENTS, type Measurement, type Options, USAGE, parseOptions } from './options.ts';
import { DISK_BYTES, type Write, compressedShare, content, initialWrites, nightlyWrites } from './disk-content.ts';
import { rawCopies } from './raw-copy.ts';
import { type Findings, asJson, asText } from './report.ts';
import {
  type Measured,
  WIDE_ITEM,
  backup,
  deleteSnapshots,
  merge,
  points,
  prepareVault,
  restore,
} from './scenarios.ts';
import { type SourceDisk, createSourceDisk } from './source-disk.ts';

const MIB = 1024 * 1024;
/** The share of its data that a night changes. */
const NIGHTLY_SHARE = 0.05;
/** Points that are to stay, and the one that is to expire during the run. */
const LONG_HOURS = 30 * 24;
const SHORT_HOURS = 1;

/** Data on each disk of the wide VM. */
const WIDE_MIB = 1;

const progress = (line: string): void => void process.stderr.write(`bench: ${line}\n`);

async function run(lab: Lab, options: Options): Promise<Omit<Findings, 'loadBefore'>> {
  progress(`writing ${options.sizeMib} MiB to the disk`);
  const changes = nightlyWrites(options.sizeMib, NIGHTLY_SHARE);
  const disk = await createSourceDisk(lab.disks('vhds'), 'disk.vhd', {
    sizeBytes: DISK_BYTES,
    pieces: initialWrites(options.sizeMib),
  });
  progress('raw copies');
  const raw = await rawCopies(lab, lab.disks('vhds').getPageBlobClient('disk.vhd'));
  await prepareVault(lab);
  await writeWideDisks(lab);
  const measured: Measured[] = [];
  const differences: { name: string; offset: number }[] = [];
  const last = options.only ?? MEASUREMENTS.at(-1)!;
  for (const name of MEASUREMENTS.slice(0, MEASUREMENTS.indexOf(last) + 1)) {
    if (!isNeeded(name, last)) continue;
    progress(name);
    const found = await MEASURE[name](lab, { disk, changes, points: await points(lab) });
    if (options.only === undefined || options.only === name) measured.push(found);
    if (found.restoredTo !== undefined) {
      const restored = lab.disks(found.restoredTo);
      const offset = await disk.firstDifference(restored.getPageBlobClient('disk.vhd'));
      if (offset !== undefined) differences.push({ name, offset });
      await restored.delete();
    }
  }
  return {
    options,
    compressedShare: compressedShare(),
    dataBytes: options.sizeMib * MIB,
    changedBytes: changes.reduce((sum, { bytes }) => sum + bytes, 0),
    changedBlocks: oneByOne(disk.touched(changes)),
    raw,
    measured,
    differences,
  };
}

/** How many blocks there are, and what they take when each is compressed alone. */
function oneByOne(blocks: Iterable<Uint8Array>): Findings['changedBlocks'] {
  let count = 0;
  let compressedBytes = 0;
  for (const block of blocks) {
    count += 1;
    compressedBytes += encodeFrame(block).bytes.length;
  }
  return { count, compressedBytes };
}

async function writeWideDisks(lab: Lab): Promise<void> {
  const [container] = WIDE_PATHS[0]!.split('/');
  await lab.disks(container!).createIfNotExists();
  for (const path of WIDE_PATHS) {
    const blob = lab.disks(container!).getPageBlobClient(path.split('/')[1]!);
    await blob.create(64 * MIB);
    await blob.uploadPages(content(path, WIDE_MIB * MIB), 0, WIDE_MIB * MIB);
  }
}

/** Whether `last` builds on `name`: restores and the night without change leave nothing that a later measurement needs. */
function isNeeded(name: Measurement, last: Measurement): boolean {
  if (name.startsWith('wide')) return last.startsWith('wide') || last === MEASUREMENTS.at(-1);
  return name === last || name === 'first-backup' || name === 'incremental' || last === MEASUREMENTS.at(-1);
}

/** What measurements work with: the points that there are are the first backup's and the incremental's. */
interface Bench {
  readonly disk: SourceDisk;
  readonly changes: readonly Write[];
  readonly points: readonly PointRow[];
}

const MEASURE: Readonly<Record<Measurement, (lab: Lab, bench: Bench) => Promise<Measured>>> = {
  'first-backup': (lab) => backup(lab, 'first-backup', SHORT_HOURS),
  async incremental(lab, { disk, changes }) {
    await disk.change('night', changes);
    return backup(lab, 'incremental', LONG_HOURS);
  },
  'no-change': (lab) => backup(lab, 'no-change', LONG_HOURS),
  'wide-first': (lab) => backup(lab, 'wide-first', LONG_HOURS, WIDE_ITEM),
  'wide-no-change': (lab) => backup(lab, 'wide-no-change', LONG_HOURS, WIDE_ITEM),
  'restore-snapshot': (lab, { points: [, second] }) => restore(lab, 'restore-snapshot', second!),
  async 'restore-vault'(lab, { points: [, second] }) {
    await deleteSnapshots(lab, second!);
    return restore(lab, 'restore-vault', second!);
  },
  merge(lab, { points: [first] }) {
    lab.advanceClock((SHORT_HOURS + 1) * 3_600_000);
    return merge(lab, 'merge', first!);
  },
};

async function main(): Promise<void> {
  let options: Options;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`);
    process.exitCode = 2;
    return;
  }
  const loadBefore = loadavg()[0]!;
  const lab = await startLab(options.inFlight);
  try {
    const findings = { ...(await run(lab, options)), loadBefore };
    console.log(options.json ? asJson(findings) : asText(findings));
    if (findings.differences.length > 0) process.exitCode = 1;
  } finally {
    await lab.stop();
  }
}

await main();
