import { BLOCK_BYTES, REGION_BYTES } from '../shared/domain/units.ts';
import { DISK_BYTES, type Write } from './disk-content.ts';
import { type Lab, startLab } from './lab.ts';
import type { ShapeOptions } from './shape-options.ts';
import { type Measured, backup, deleteSnapshots, merge, points, prepareVault, restore } from './scenarios.ts';
import { createSourceDisk } from './source-disk.ts';

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;
const RUN_BYTES = 64 * 1024;
const RUN_BLOCKS = RUN_BYTES / BLOCK_BYTES;
/** The share of its data that a night changes. */
const NIGHTLY_SHARE = 0.01;
/** How long the points that are to expire are kept, the first for an hour; and the one that stays. */
const SHORT_HOURS = 1;
const LONG_HOURS = 30 * 24;

/** Disks on real storage: the same runs of data and the same changes, near together or one in each region. */
export const CHURNED = {
  '4gib': { sizeBytes: DISK_BYTES, title: '4 GiB' },
  '4tib': { sizeBytes: 1024 * DISK_BYTES, title: '4 TiB' },
} as const;
export type ChurnedShape = keyof typeof CHURNED;

export const CHURN_MEASUREMENTS = [
  'first backup',
  'night 1',
  'night 2',
  'merge of the first into night 1',
  'merge of that into night 2',
  'restore from the vault',
] as const;
type ChurnMeasurement = (typeof CHURN_MEASUREMENTS)[number];

/** What was found on one disk. */
export interface ChurnFindings {
  readonly shape: ChurnedShape;
  readonly dataBytes: number;
  readonly changedBytes: number;
  /** How many regions of the disk have data. */
  readonly regions: number;
  readonly measured: readonly Measured<ChurnMeasurement>[];
  /** The offset of the first byte of the restored disk that is not the source's. */
  readonly difference: number | undefined;
}

/** Where the data of a disk lies: runs of 64 KiB at equal distances. */
function runsOf(sizeBytes: number, sizeMib: number): Write[] {
  const count = (sizeMib * MIB) / RUN_BYTES;
  const distance = sizeBytes / count;
  return Array.from({ length: count }, (_, i) => ({ offset: i * distance, bytes: RUN_BYTES }));
}

/** Blocks of a night, spread over all runs: which ones depends on the night and on how many runs there are, not on the disk. */
function nightOf(runs: readonly Write[], night: number): Write[] {
  const blocks = runs.length * RUN_BLOCKS;
  const count = Math.round(blocks * NIGHTLY_SHARE);
  // Odd, so that it meets each of a power of two of blocks once; near the golden section, so that they lie scattered.
  const stride = (Math.round(blocks * 0.618) | 1) % blocks;
  return Array.from({ length: count }, (_, i) => (night * 7919 + i * stride) % blocks)
    .sort((a, b) => a - b)
    .map((block) => {
      const { offset } = runs[Math.floor(block / RUN_BLOCKS)]!;
      return { offset: offset + (block % RUN_BLOCKS) * BLOCK_BYTES, bytes: BLOCK_BYTES };
    });
}

/** Backs up, changes, backs up, merges and restores one disk on a storage process of its own. */
export async function measureChurn(
  shape: ChurnedShape,
  options: ShapeOptions,
  progress: (line: string) => void,
): Promise<ChurnFindings> {
  const { sizeBytes } = CHURNED[shape];
  const pieces = runsOf(sizeBytes, options.sizeMib);
  const nights = [nightOf(pieces, 1), nightOf(pieces, 2)];
  const lab = await startLab(options.inFlight);
  const measured: Measured<ChurnMeasurement>[] = [];
  const note = async (
    name: ChurnMeasurement,
    work: (name: ChurnMeasurement) => Promise<Measured<ChurnMeasurement>>,
  ) => {
    progress(name);
    const found = await work(name);
    measured.push(found);
    return found;
  };
  try {
    progress(`writing ${options.sizeMib} MiB to the disk`);
    const disk = await createSourceDisk(lab.disks('vhds'), 'disk.vhd', { sizeBytes, pieces });
    await prepareVault(lab);
    await note('first backup', (name) => backup(lab, name, SHORT_HOURS));
    await disk.change('night 1', nights[0]!);
    await note('night 1', (name) => backup(lab, name, 2 * SHORT_HOURS));
    await disk.change('night 2', nights[1]!);
    await note('night 2', (name) => backup(lab, name, LONG_HOURS));
    lab.advanceClock((SHORT_HOURS + 0.5) * HOUR_MS);
    await note('merge of the first into night 1', (name) => mergeOldest(lab, name));
    lab.advanceClock(SHORT_HOURS * HOUR_MS);
    await note('merge of that into night 2', (name) => mergeOldest(lab, name));
    const [last] = await points(lab);
    await deleteSnapshots(lab, last!);
    const { restoredTo } = await note('restore from the vault', (name) => restore(lab, name, last!));
    progress('comparing');
    const difference = await disk.firstDifference(lab.disks(restoredTo!).getPageBlobClient('disk.vhd'));
    return {
      shape,
      dataBytes: options.sizeMib * MIB,
      changedBytes: nights[0]!.length * BLOCK_BYTES,
      regions: new Set(pieces.map(({ offset }) => Math.floor(offset / REGION_BYTES))).size,
      measured,
      difference,
    };
  } finally {
    await lab.stop();
  }
}

async function mergeOldest(lab: Lab, name: ChurnMeasurement): Promise<Measured<ChurnMeasurement>> {
  const [oldest] = await points(lab);
  return merge(lab, name, oldest!);
}
