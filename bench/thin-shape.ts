import type { JobRow } from '../shared/catalog/catalog.ts';
import type { JobId } from '../shared/domain/ids.ts';
import { PRODUCTION_LAYOUT } from '../shared/domain/layout.ts';
import { REGION_BYTES } from '../shared/domain/units.ts';
import { startBackup } from '../shared/services/backup.ts';
import { itemKey } from '../shared/services/keys.ts';
import { startMerge } from '../shared/services/merge.ts';
import { startRestore } from '../shared/services/restore.ts';
import { runStep } from '../shared/services/run-step.ts';
import { openVault, readItem } from '../shared/services/vault-of.ts';
import { GROUP } from '../test/support/life.ts';
import { VAULT, type World, createWorld } from '../test/support/world.ts';
import { inProcessQueue } from './in-process-queue.ts';
import { collectGarbage } from './meter.ts';
import { type Counts, countedPorts } from './port-counts.ts';
import type { ShapeOptions } from './shape-options.ts';
import { StepMemory } from './step-memory.ts';
import { thinDisk } from './thin-disk.ts';
import { thinTargets } from './thin-targets.ts';

const VM = 'vm';
const HOUR_MS = 3_600_000;
const NIGHTS = 3;
/** As `parseConfig` has it where nothing is set. */
const ON_THE_SPOT_BYTES = 64 * 1024 * 1024;

/** One of the services' jobs, simulated from start to end. */
export interface Simulated {
  readonly name: string;
  readonly seconds: number;
  readonly steps: number;
  readonly counts: Counts;
  readonly objects: { readonly added: number; readonly removed: number; readonly left: number };
  /** Peak resident memory by kind of step. */
  readonly peakRssBytes: Readonly<Record<string, number>>;
  /** Resident memory before, after a collection: the process itself, and the simulated vault. */
  readonly restingRssBytes: number;
}

export interface ThinFindings {
  readonly shape: '32tib';
  readonly regions: number;
  readonly measured: readonly Simulated[];
  readonly difference: number | undefined;
}

/**
 * Backs up a disk with one block in every region, then with one more changed block in every region each night, merges the first
 * point and restores the last: services, layout and geometry of production over ports in memory, one message at a time.
 */
export async function measureThin(options: ShapeOptions, progress: (line: string) => void): Promise<ThinFindings> {
  const { regions } = options;
  const queue = inProcessQueue(1);
  const memory = new StepMemory();
  let disk = thinDisk('', regions);
  let targets = thinTargets(disk);
  let take: () => Counts = () => {
    throw new Error('the ports are not counted yet');
  };
  const world = await createWorld({
    regionBytes: REGION_BYTES,
    layout: PRODUCTION_LAYOUT,
    onTheSpotBytes: ON_THE_SPOT_BYTES,
    wrap(ports) {
      const counted = countedPorts({
        ...ports,
        queue,
        snapshots: later(() => disk.snapshots),
        targets: later(() => targets.targets),
      });
      take = counted.take;
      return counted.ports;
    },
  });
  const [url] = await world.createVm(VM, [regions * REGION_BYTES]);
  disk = thinDisk(url!, regions);
  targets = thinTargets(disk);
  await world.protect(VM);

  const key = itemKey(GROUP, VM);
  const measured: Simulated[] = [];
  const measure = async (name: string, start: () => Promise<JobId>): Promise<void> => {
    progress(name);
    const before = await vaultNames(world);
    collectGarbage();
    const restingRssBytes = process.memoryUsage.rss();
    memory.take();
    take();
    const startedAt = performance.now();
    const id = await start();
    const { steps } = await queue.drain((step) => memory.watch(step.step, () => runStep(world.ports, step)));
    const seconds = (performance.now() - startedAt) / 1_000;
    const counts = take();
    assertCompleted(name, await world.job(id));
    const after = await vaultNames(world);
    measured.push({
      name,
      seconds,
      steps,
      counts,
      objects: {
        added: [...after].filter((blob) => !before.has(blob)).length,
        removed: [...before].filter((blob) => !after.has(blob)).length,
        left: after.size,
      },
      peakRssBytes: memory.take(),
      restingRssBytes,
    });
  };
  const backup = (name: string, hours: number): Promise<void> =>
    measure(name, () => {
      world.clock.advance(HOUR_MS / 60);
      const retainUntil = world.clock.now() + hours * HOUR_MS;
      return startBackup(world.ports, VAULT, key, { kind: 'onDemand', retainUntil });
    });

  await backup('first backup', 1);
  for (let night = 1; night <= NIGHTS; night++) {
    disk.change();
    await backup(`night ${night}`, 720);
  }
  world.clock.advance(2 * HOUR_MS);
  const [first] = await world.points(VM);
  await measure('merge of the first into night 1', async () => {
    if (!(await startMerge(world.ports, VAULT, key, first!.point)))
      throw new Error(`point ${first!.point} cannot be merged now`);
    return (await readItem(world.ports, VAULT, key)).row.mergeJob!;
  });
  const last = (await world.points(VM)).at(-1)!;
  for (const { url: own, snapshot } of last.set.disks) await disk.snapshots.remove({ url: own, id: snapshot });
  await measure('restore from the vault', () =>
    startRestore(world.ports, VAULT, key, last.point, { accountId: '/x/restored' }),
  );
  memory.stop();
  return { shape: '32tib', regions, measured, difference: targets.firstDifference(regions) };
}

/** A port that is there only later than who holds it. */
function later<Port extends object>(find: () => Port): Port {
  return new Proxy({} as Port, {
    get: (_none, method): unknown => Reflect.get(find(), method),
  });
}

async function vaultNames(world: World): Promise<Set<string>> {
  const { row } = await openVault(world.ports, VAULT);
  return new Set(world.vaults.blobs(row.containerName).keys());
}

function assertCompleted(name: string, job: JobRow): void {
  if (job.status === 'Completed') return;
  const why = job.errors.map(({ code, message }) => `${code}: ${message}`).join('; ');
  throw new Error(`${name} ended as ${job.status}${why === '' ? '' : `: ${why}`}`);
}
