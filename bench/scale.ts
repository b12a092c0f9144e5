/**
 * `npm run bench:scale`: how backups and restores grow with the number of steps in flight when every request to storage takes longer by the
 * same time, as over a network: each number on a storage process of its own, with new disks. See docs/performance.md.
 */
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import type { PointRow } from '../shared/catalog/catalog.ts';
import type { JobId } from '../shared/domain/ids.ts';
import { REGION_BYTES } from '../shared/domain/units.ts';
import { startBackup } from '../shared/services/backup.ts';
import { readJob } from '../shared/services/jobs.ts';
import { itemKey, pointsPartition } from '../shared/services/keys.ts';
import { forEachAtOnce } from '../shared/services/pipeline.ts';
import { readPoints } from '../shared/services/projection.ts';
import { protect } from '../shared/services/protection.ts';
import { startRestore } from '../shared/services/restore.ts';
import { runStep } from '../shared/services/run-step.ts';
import { openVault, readItem } from '../shared/services/vault-of.ts';
import { BENCH_VM, type Lab, RESTORE_ACCOUNT, startLab } from './lab.ts';
import { type Cost, cpuSecondsOf, measured } from './meter.ts';
import { wholeNumber } from './options.ts';
import { type RowCounts, countingRows } from './row-meter.ts';
import { VAULT, prepareVault } from './scenarios.ts';
import { type SourceDisk, createSourceDisk } from './source-disk.ts';

const MIB = 1024 * 1024;
const DISKS = 2;
/** Units of a disk: each region is one. */
const REGIONS = 8;

const progress = (line: string): void => void process.stderr.write(`bench: ${line}\n`);

interface Shape {
  readonly vms: number;
  /** Data of a region: above what is thin, so that each is a unit. */
  readonly mibEach: number;
  readonly delayMs: number;
}

/** What all the jobs of a kind have cost together. */
interface Work {
  readonly cost: Cost;
  /** Of the process that hands requests on late. */
  readonly delayCpuSeconds: number;
  readonly requests: number;
}

interface Found {
  readonly inFlight: number;
  readonly backup: Work;
  readonly restore: Work;
  readonly rows: RowCounts;
}

interface Machine {
  readonly name: string;
  readonly key: string;
  readonly paths: readonly string[];
}

const machinesOf = (vms: number): Machine[] =>
  Array.from({ length: vms }, (_, vm) => ({
    name: `many-${vm}`,
    key: itemKey(BENCH_VM.resourceGroup, `many-${vm}`),
    paths: Array.from({ length: DISKS }, (__, disk) => `vhds/many-${vm}-${disk}.vhd`),
  }));

/** Starts a job for each machine, as many at once as there are steps in flight, and does all their steps. */
async function allOf(
  lab: Lab,
  machines: readonly Machine[],
  inFlight: number,
  start: (machine: Machine) => Promise<JobId>,
): Promise<Work & { restoredTo: ReadonlyMap<string, string> }> {
  const jobs = new Map<string, JobId>();
  const delayCpu = async (): Promise<number> =>
    lab.delayPid === undefined ? 0 : ((await cpuSecondsOf(lab.delayPid)) ?? 0);
  const before = await delayCpu();
  const { cost } = await measured(lab.server, async () => {
    await forEachAtOnce(machines, inFlight, async (machine) => jobs.set(machine.name, await start(machine)));
    await lab.queue.drain((step) => runStep(lab.ports, step));
  });
  const delayCpuSeconds = (await delayCpu()) - before;
  const restoredTo = new Map<string, string>();
  for (const [name, jobId] of jobs) {
    const row = await readJob(lab.ports, { vault: VAULT, jobId });
    if (row?.status !== 'Completed') throw new Error(`the job of ${name} ended as ${row?.status}`);
    if (row.restore !== undefined) restoredTo.set(name, row.restore.containerUrl.split('/').at(-1)!);
  }
  const requests = Object.values(cost.requests).reduce((sum, count) => sum + count, 0);
  return { cost, delayCpuSeconds, requests, restoredTo };
}

async function newestPoint({ ports }: Lab, key: string): Promise<PointRow> {
  const { row: vault } = await openVault(ports, VAULT);
  const { row: item } = await readItem(ports, VAULT, key);
  return (await readPoints(ports, pointsPartition(vault.containerName, item.itemId))).at(-1)!;
}

async function measure(inFlight: number, { vms, mibEach, delayMs }: Shape): Promise<Found> {
  const machines = machinesOf(vms);
  // Every unit is a message: how many are in flight is what is measured.
  const lab = await startLab(inFlight, { delayMs, onTheSpotBytes: 0, more: machines });
  try {
    const pieces = Array.from({ length: REGIONS }, (_, i) => ({ offset: i * REGION_BYTES, bytes: mibEach * MIB }));
    const disks = new Map<string, SourceDisk>();
    for (const path of machines.flatMap(({ paths }) => paths)) {
      const [container = '', blob = ''] = path.split('/');
      const content = { sizeBytes: REGIONS * REGION_BYTES, pieces };
      disks.set(path, await createSourceDisk(lab.disks(container), blob, content));
    }
    await prepareVault(lab);
    const { resourceGroup } = BENCH_VM;
    for (const { name } of machines) {
      const resourceId = lab.machine.id.replace(/[^/]+$/, name);
      await protect(lab.ports, VAULT, { resourceId, resourceGroup, vmName: name }, 'nightly');
    }
    progress(`${inFlight} in flight: backup`);
    const { rows, result: backup } = await countingRows(lab.server.tablePort, () =>
      allOf(lab, machines, inFlight, ({ key }) => startBackup(lab.ports, VAULT, key, { kind: 'onDemand' })),
    );
    const points = new Map<string, PointRow>();
    for (const { key } of machines) {
      const point = await newestPoint(lab, key);
      points.set(key, point);
      // So that it can only come from the vault.
      for (const { url, snapshot } of point.set.disks) await lab.ports.snapshots.remove({ url, id: snapshot });
    }
    progress(`${inFlight} in flight: restore`);
    const restore = await allOf(lab, machines, inFlight, ({ key }) =>
      startRestore(lab.ports, VAULT, key, points.get(key)!.point, { accountId: RESTORE_ACCOUNT }),
    );
    for (const { name, paths } of machines)
      for (const [i, path] of paths.entries()) {
        const blob = i === 0 ? 'disk.vhd' : `disk-${i}.vhd`;
        const copy = lab.disks(restore.restoredTo.get(name)!).getPageBlobClient(blob);
        const wrong = await disks.get(path)!.firstDifference(copy);
        if (wrong !== undefined) throw new Error(`with ${inFlight} in flight a restored disk differs at ${wrong}`);
      }
    return { inFlight, backup, restore, rows };
  } finally {
    await lab.stop();
  }
}

function lineOf({ inFlight, backup, restore, rows }: Found, first: Found, mib: number): string {
  const cells = [backup, restore].flatMap(({ cost, delayCpuSeconds, requests }, i) => {
    const alone = (i === 0 ? first.backup : first.restore).cost.seconds;
    const storage = cost.storageCpuSeconds ?? 0;
    const cores = (cost.cpuSeconds + storage + delayCpuSeconds) / cost.seconds;
    return [
      cost.seconds.toFixed(1),
      (mib / cost.seconds).toFixed(0),
      (alone / cost.seconds).toFixed(1),
      `${cost.cpuSeconds.toFixed(1)} + ${storage.toFixed(1)} + ${delayCpuSeconds.toFixed(1)}`,
      `${cores.toFixed(2)} of ${availableParallelism()}`,
      `${requests}`,
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
      vms: { type: 'string', default: '4' },
      mib: { type: 'string', default: '4' },
    },
  });
  const shape: Shape = {
    delayMs: wholeNumber('--delay', values.delay, 0, 1000),
    vms: wholeNumber('--vms', values.vms, 1, 64),
    mibEach: wholeNumber('--mib', values.mib, 2, 1024),
  };
  const numbers = values['in-flight'].split(',').map((text) => wholeNumber('--in-flight', text, 1, 64));
  const units = shape.vms * DISKS * REGIONS;
  console.log(
    `${shape.vms} VMs of ${DISKS} disks, ${units} units of ${shape.mibEach} MiB, ${shape.delayMs} ms more for each request, ${availableParallelism()} cores, load before ${loadavg()[0]!.toFixed(1)}. CPU seconds: Strata + storage + what delays.`,
  );
  const half = (of: string): string => `${of} s | MiB/s | times one | CPU s | cores | requests`;
  console.log(`| in flight | ${half('backup')} | ${half('restore')} | conflicts | most read row | most written |`);
  console.log(`|${' --- |'.repeat(16)}`);
  let first: Found | undefined;
  for (const inFlight of numbers) {
    const found = await measure(inFlight, shape);
    first ??= found;
    console.log(`| ${lineOf(found, first, units * shape.mibEach)} |`);
  }
}

await main();
