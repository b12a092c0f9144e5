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
import type { VaultContainer, VaultContainers } from '../shared/vault/vault-container.ts';
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
  /** What the simulated vault, which is in this process, holds afterwards. */
  readonly vaultBytes: number;
}

export interface ThinFindings {
  readonly shape: '32tib';
  readonly regions: number;
  /** Resident memory before the first job, after a collection. */
  readonly freshRssBytes: number;
  readonly measured: readonly Simulated[];
  readonly difference: number | undefined;
}

/**
 * Backs up a disk with one block in every region, then with one more changed block in every region each night, merges the first
 * point and restores the last: services, layout and geometry of production over ports in memory, one message at a time.
 */
export async function measureThin(options: ShapeOptions, progress: (line: string) => void): Promise<ThinFindings> {
  const { regions, nights } = options;
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
      return { ...counted.ports, vaults: oneContainer(counted.ports.vaults) };
    },
  });
  const [url] = await world.createVm(VM, [regions * REGION_BYTES]);
  disk = thinDisk(url!, regions);
  targets = thinTargets(disk);
  await world.protect(VM);

  collectGarbage();
  const freshRssBytes = process.memoryUsage.rss();
  const key = itemKey(GROUP, VM);
  const measured: Simulated[] = [];
  const measure = async (name: string, start: () => Promise<JobId>): Promise<void> => {
    progress(name);
    const before = await vaultBlobs(world);
    collectGarbage();
    memory.take();
    take();
    const startedAt = performance.now();
    const id = await start();
    const { steps } = await queue.drain((step) => memory.watch(step.step, () => runStep(world.ports, step)));
    const seconds = (performance.now() - startedAt) / 1_000;
    const counts = take();
    assertCompleted(name, await world.job(id));
    const after = await vaultBlobs(world);
    measured.push({
      name,
      seconds,
      steps,
      counts,
      objects: {
        added: [...after.keys()].filter((blob) => !before.has(blob)).length,
        removed: [...before.keys()].filter((blob) => !after.has(blob)).length,
        left: after.size,
      },
      peakRssBytes: memory.take(),
      vaultBytes: [...after.values()].reduce((sum, bytes) => sum + bytes, 0),
    });
  };
  const backup = (name: string, hours: number): Promise<void> =>
    measure(name, () => {
      world.clock.advance(HOUR_MS / 60);
      const retainUntil = world.clock.now() + hours * HOUR_MS;
      return startBackup(world.ports, VAULT, key, { kind: 'onDemand', retainUntil });
    });

  await backup('first backup', 1);
  for (let night = 1; night <= nights; night++) {
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
  return { shape: '32tib', regions, freshRssBytes, measured, difference: targets.firstDifference(regions) };
}

/** As the adapter does, gives each container once: what is remembered of it is found again. */
function oneContainer(vaults: VaultContainers): VaultContainers {
  const open = new Map<string, Promise<VaultContainer>>();
  return {
    ...vaults,
    open(name) {
      const known = open.get(name) ?? vaults.open(name);
      open.set(name, known);
      return known;
    },
  };
}

/** A port that is there only later than who holds it. */
function later<Port extends object>(find: () => Port): Port {
  return new Proxy({} as Port, {
    get: (_none, method): unknown => Reflect.get(find(), method),
  });
}

/** Everything in the vault's container, by name, with its bytes. */
async function vaultBlobs(world: World): Promise<Map<string, number>> {
  const { row } = await openVault(world.ports, VAULT);
  return new Map([...world.vaults.blobs(row.containerName)].map(([name, { body }]) => [name, body.length]));
}

function assertCompleted(name: string, job: JobRow): void {
  if (job.status === 'Completed') return;
  const why = job.errors.map(({ code, message }) => `${code}: ${message}`).join('; ');
  throw new Error(`${name} ended as ${job.status}${why === '' ? '' : `: ${why}`}`);
}
