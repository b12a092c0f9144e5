/**
 * `npm run bench:scale`: how a backup and a restore grow with the number of steps in flight when every request to storage takes longer by the
 * same time, as over a network: each number on a storage process of its own, with a new disk. See docs/performance.md.
 */
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { REGION_BYTES } from '../shared/domain/units.ts';
import { startLab } from './lab.ts';
import type { Write } from './disk-content.ts';
import { wholeNumber } from './options.ts';
import { type RowCounts, countingRows } from './row-meter.ts';
import { type Measured, backup, deleteSnapshots, points, prepareVault, restore } from './scenarios.ts';
import { createSourceDisk } from './source-disk.ts';

const MIB = 1024 * 1024;
/** Units of a disk: twice as many as the most steps in flight. */
const REGIONS = 32;
/** Data of a region: above what is thin, so that each is a unit. */
const MIB_EACH = 4;
const LONG_HOURS = 30 * 24;

const progress = (line: string): void => void process.stderr.write(`bench: ${line}\n`);

interface Found {
  readonly inFlight: number;
  readonly backup: Measured<'backup'>;
  readonly restore: Measured<'restore'>;
  readonly rows: RowCounts;
}

function pieces(): Write[] {
  return Array.from({ length: REGIONS }, (_, region) => ({ offset: region * REGION_BYTES, bytes: MIB_EACH * MIB }));
}

async function measure(inFlight: number, delayMs: number): Promise<Found> {
  const lab = await startLab(inFlight, delayMs);
  try {
    const content = { sizeBytes: REGIONS * REGION_BYTES, pieces: pieces() };
    const disk = await createSourceDisk(lab.disks('vhds'), 'disk.vhd', content);
    await prepareVault(lab);
    progress(`${inFlight} in flight: backup`);
    const { rows, result } = await countingRows(lab.server.tablePort, () => backup(lab, 'backup', LONG_HOURS));
    const [point] = await points(lab);
    await deleteSnapshots(lab, point!);
    progress(`${inFlight} in flight: restore`);
    const restored = await restore(lab, 'restore', point!);
    const copy = lab.disks(restored.restoredTo!).getPageBlobClient('disk.vhd');
    const wrong = await disk.firstDifference(copy);
    if (wrong !== undefined) throw new Error(`with ${inFlight} in flight the restored disk differs at ${wrong}`);
    return { inFlight, backup: result, restore: restored, rows };
  } finally {
    await lab.stop();
  }
}

function lineOf({ inFlight, backup: saved, restore: restored, rows }: Found, first: Found): string {
  const cells = [saved, restored].flatMap(({ cost }, i) => {
    const alone = (i === 0 ? first.backup : first.restore).cost.seconds;
    const storage = cost.storageCpuSeconds ?? 0;
    return [
      cost.seconds.toFixed(1),
      ((REGIONS * MIB_EACH) / cost.seconds).toFixed(0),
      (alone / cost.seconds).toFixed(1),
      `${cost.cpuSeconds.toFixed(1)} + ${storage.toFixed(1)}`,
      ((cost.cpuSeconds + storage) / cost.seconds).toFixed(2),
    ];
  });
  const { conflicts, mostRead, mostWritten } = rows;
  return [
    inFlight,
    ...cells,
    conflicts,
    `${mostRead.times} ${mostRead.row}`,
    `${mostWritten.times} ${mostWritten.row}`,
  ].join(' | ');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      delay: { type: 'string', default: '20' },
      'in-flight': { type: 'string', default: '1,2,4,8,16' },
    },
  });
  const delayMs = wholeNumber('--delay', values.delay, 0, 1000);
  const numbers = values['in-flight'].split(',').map((text) => wholeNumber('--in-flight', text, 1, 64));
  console.log(
    `${REGIONS} units of ${MIB_EACH} MiB, ${delayMs} ms more for each request, ${availableParallelism()} cores, load before ${loadavg()[0]!.toFixed(1)}`,
  );
  console.log(
    '| in flight | backup s | MiB/s | times one | CPU s: Strata + storage | cores | restore s | MiB/s | times one | CPU s | cores | conflicts | most read row | most written |',
  );
  console.log(`|${' --- |'.repeat(14)}`);
  let first: Found | undefined;
  for (const inFlight of numbers) {
    const found = await measure(inFlight, delayMs);
    first ??= found;
    console.log(`| ${lineOf(found, first)} |`);
  }
}

await main();
