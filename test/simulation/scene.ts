import type { ItemRow, JobRow, SnapshotSet } from '../../shared/catalog/catalog.ts';
import type { VirtualMachine } from '../../shared/compute/compute.ts';
import type { CompactionRules } from '../../shared/domain/compaction.ts';
import type { ItemId, PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { itemKey } from '../../shared/services/keys.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { gatedPorts } from '../support/gated-ports.ts';
import { type Lie, lyingDiff } from '../support/lying-diff.ts';
import type { StoredBlob } from '../support/memory-vault.ts';
import { VAULT, type World, createWorld } from '../support/world.ts';
import { Random } from './random.ts';
import { Scheduler } from './scheduler.ts';

export const MOST_BLOCKS = 10;

/** Every pack is worth a compaction: they hold one frame each, so that none is ever sparse. So it is said a few times only. */
const EAGER: Partial<CompactionRules> = {
  liveBelow: 2,
  leastWasteBytes: 0,
  prices: { gibMonth: 0, write: -1, read: 0, gibRead: 0 },
};

/** A protected VM. */
export interface Machine {
  readonly name: string;
  /** Its item's key. */
  readonly key: string;
  readonly itemId: ItemId;
}

export type PointSets = ReadonlyMap<ItemId, ReadonlyMap<PointId, readonly SnapshotSet[]>>;

/** Where a history takes place: the real services over in-memory ports, and the plain model of what they must keep. */
export interface Scene {
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly world: World;
  /** For requests, timers and handlers: each call waits for its turn. */
  readonly ports: Ports;
  readonly machines: readonly Machine[];
  /** The model: each disk's bytes at the moment of each snapshot, by `<url>?<snapshot id>`. */
  readonly images: ReadonlyMap<string, Uint8Array>;
  /**
   * Every set of snapshots that ever stood on the row of a job or a point, by item and point, the last one that came last: tables may be
   * lost. A point has more than one only where a rebuild has found the set of a twin, since nobody knew any more which was first.
   */
  readonly sets: PointSets;
  /** Counts what has happened. */
  readonly count: (what: string) => void;
  readonly counts: ReadonlyMap<string, number>;
}

/** One or two VMs of one to three disks each, page blobs and managed disks, protected; all else follows from the seed too. */
export async function setScene(seed: number): Promise<Scene> {
  const random = new Random(seed);
  const scheduler = new Scheduler(random);
  const images = new Map<string, Uint8Array>();
  const counts = new Map<string, number>();
  const sets = new Map<ItemId, Map<PointId, SnapshotSet[]>>();
  const lies = new Random(seed + 1);
  const others = new Random(seed + 2);
  const haste = new Random(seed + 3);
  let compactions = random.chance(0.6) ? random.between(1, 40) : 0;
  const world: World = await createWorld({
    diff: random.chance(0.3) ? 'lying' : 'exact',
    onTheSpotBytes: haste.pick([0, 0, 2 * BLOCK_BYTES, 1024 * BLOCK_BYTES]),
    layout: {
      thinBytes: random.pick([-1, BLOCK_BYTES, 3 * BLOCK_BYTES, 1024 * BLOCK_BYTES]),
      foldRatio: random.pick([64, 64, 4, 1]),
      checkpointDepth: random.pick([1, 2, 4]),
      spanRegions: random.pick([1, 2, 1024]),
      inlineRegions: random.pick([0, 2, 256]),
      restoreBytes: new Random(seed + 2).pick([-1, 8 * BLOCK_BYTES, 1024 * BLOCK_BYTES]),
      namesAtOnce: others.pick([1, 7, 32_768]),
    },
    wrap: (ports) => ({
      ...ports,
      settings: {
        ...ports.settings,
        get compaction() {
          return compactions-- > 0 ? EAGER : {};
        },
      },
      catalog: { ...ports.catalog, ...noting(ports.catalog, sets) },
      snapshots: remembering(
        lyingDiff(ports.snapshots, () => (lies.chance(0.1) ? harmless(lies) : undefined)),
        (url) => world.disks.read(url, { start: 0, end: world.disks.sizeBytes(url) }),
        images,
      ),
    }),
  });
  const machines: Machine[] = [];
  for (const name of random.chance(0.3) ? ['vm', 'other'] : ['vm']) {
    const sizes = Array.from({ length: random.between(1, 3) }, () => random.between(2, MOST_BLOCKS) * BLOCK_BYTES);
    await world.createVm(name, sizes);
    await world.protect(name);
    const key = itemKey('app', name);
    const { itemId, vmResourceId } = (await world.ports.catalog.items.get(VAULT, key))!.row;
    await mixDisks(world, random, vmResourceId);
    sets.set(itemId, new Map());
    machines.push({ name, key, itemId });
  }
  return {
    random,
    scheduler,
    world,
    ports: {
      ...gatedPorts(world.ports, scheduler),
      clock: { now: () => world.clock.now() + scheduler.skewMs() },
    },
    machines,
    images,
    sets,
    counts,
    count: (what) => void counts.set(what, (counts.get(what) ?? 0) + 1),
  };
}

/** Puts managed disks in the places of some of the VM's page blobs. */
async function mixDisks(world: World, random: Random, vmResourceId: string): Promise<void> {
  const machine = (await world.compute.virtualMachine(vmResourceId))!;
  const disks = machine.disks.map((disk) => ({ ...disk }));
  for (const disk of disks) {
    if (!random.chance(0.4)) continue;
    const managedDiskId = `/subscriptions/sub/resourcegroups/vhds/providers/microsoft.compute/disks/${disk.name}`;
    await world.disks.create(managedDiskId, world.disks.sizeBytes(disk.vhdUrl!));
    Object.assign(disk, { managedDiskId, vhdUrl: undefined });
  }
  world.compute.put({ ...machine, disks });
}

/** A lie about what has changed that must make no difference to any point. Omissions do: test/contract/lying-diff.contract.ts has those. */
function harmless(random: Random): Lie {
  const start = random.between(0, MOST_BLOCKS) * BLOCK_BYTES;
  return random.pick<Lie>([
    { kind: 'adds', range: { start, end: start + random.between(1, 4) * BLOCK_BYTES } },
    { kind: 'widens' },
    { kind: 'pages singly' },
    { kind: 'was overwritten' },
    { kind: 'vanishes' },
  ]);
}

/** Whether the VM's item and its vault have their rows: between the loss of the tables and their rebuild they may have none. */
export async function isKnown({ world }: Scene, { key }: Machine): Promise<boolean> {
  const { items, vaults } = world.ports.catalog;
  for await (const _ of vaults.listAll()) return (await items.get(VAULT, key)) !== undefined;
  return false;
}

export async function itemOf({ world }: Scene, { key }: Machine): Promise<ItemRow> {
  return (await world.ports.catalog.items.get(VAULT, key))!.row;
}

export async function machineOf(scene: Scene, vm: Machine): Promise<VirtualMachine> {
  return (await scene.world.compute.virtualMachine((await itemOf(scene, vm)).vmResourceId))!;
}

export async function jobsOf({ world }: Scene): Promise<JobRow[]> {
  const jobs: JobRow[] = [];
  for await (const { row } of world.ports.catalog.jobs.list(VAULT)) jobs.push(row);
  return jobs;
}

/** All that lies in the vault's container. */
export function blobsOf({ world }: Scene): Map<string, StoredBlob> {
  return world.vaults.blobs(world.vaults.containerNames()[0]!);
}

/** Remembers a disk's bytes whenever a snapshot of it is taken. */
function remembering(
  snapshots: Ports['snapshots'],
  read: (url: string) => Promise<Uint8Array>,
  images: Map<string, Uint8Array>,
): Ports['snapshots'] {
  return new Proxy(snapshots, {
    get(target, property, receiver): unknown {
      if (property !== 'take') return Reflect.get(target, property, receiver);
      const take: Ports['snapshots']['take'] = async (url, tags) => {
        const bytes = read(url);
        const taken = target.take(url, tags);
        const [image, snapshot] = await Promise.all([bytes, taken]);
        images.set(`${url}?${snapshot.id}`, image);
        return snapshot;
      };
      return take;
    },
  });
}

/** Notes the sets that are recorded on jobs, and those that a rebuild finds and no job had recorded. */
function noting(
  { jobs, points }: Ports['catalog'],
  sets: Map<ItemId, Map<PointId, SnapshotSet[]>>,
): Pick<Ports['catalog'], 'jobs' | 'points'> {
  const note = (item: ItemId, point: PointId, set: SnapshotSet): void => {
    const own = sets.get(item);
    const known = own?.get(point) ?? [];
    if (known.at(-1)?.attempt !== set.attempt) own?.set(point, [...known, set]);
  };
  return {
    jobs: {
      ...jobs,
      async replace(partition, key, row, etag) {
        const replaced = await jobs.replace(partition, key, row, etag);
        const { operation, itemId, point, set } = row;
        if (operation === 'Backup' && point !== undefined && set !== undefined) note(itemId, point, set);
        return replaced;
      },
    },
    points: {
      ...points,
      async insert(partition, key, row) {
        const inserted = await points.insert(partition, key, row);
        // What is in the vault is what the job has recorded, whatever a rebuild takes it for.
        if (row.vault === 'None') note(row.itemId, row.point, row.set);
        return inserted;
      },
    },
  };
}
