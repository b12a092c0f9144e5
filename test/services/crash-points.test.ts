import { describe, expect, it } from 'vitest';
import { isBackupError } from '../../shared/domain/errors.ts';
import type { JobId } from '../../shared/domain/ids.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { ENDED } from '../../shared/services/jobs.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { protect, stopProtection } from '../../shared/services/protection.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { softDelete, undelete } from '../../shared/services/soft-delete.ts';
import { sweep } from '../../shared/services/sweep.ts';
import { takeDue } from '../../shared/services/take-due.ts';
import { cancelJob, watchJobs } from '../../shared/services/watch.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { CrashGate, crashing } from '../support/crash.ts';
import { type Gate, Killed } from '../support/gated-ports.ts';
import { leftovers } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World, type WorldOptions } from '../support/world.ts';
import { B, KEY, type Stage, block, container, live, stage, start, until } from './stage.ts';

/*
 * Each operation is run once to count the calls of ports that its handlers, timers and requests make, then for each call three times:
 * killed right before it, killed right after it, and with only the answer lost. Messages come again, whoever asked asks once more,
 * the watch looks after the rest. In the end every job has ended, every point that should be there restores exactly, and nothing
 * is left over: no object, no snapshot, no half-made disk.
 */

interface Operation {
  readonly name: string;
  /** The jobs that it ends, where nothing is struck. */
  readonly ends: readonly string[];
  /** Regions and their layout, where not as everywhere. */
  readonly shape?: WorldOptions;
  /** Brings about what the operation needs. Nothing is killed here. */
  readonly prepare: (here: Stage) => Promise<void>;
  /** Through `ports`, each call of which may be the last. */
  readonly act: (here: Stage, ports: Ports, ask: Ask) => Promise<void>;
}

/** Asks for something until it is answered, as people and timers do. */
type Ask = (request: () => Promise<unknown>) => Promise<void>;

const points =
  (...days: readonly number[]) =>
  async (here: Stage): Promise<void> => {
    for (const [i, kept] of days.entries()) {
      await write(here, i + 1);
      await here.backUp(kept);
    }
  };

/** Something new on the disk, something cleared, in both of its regions. */
async function write({ world, disk }: Stage, version: number): Promise<void> {
  await world.disks.write(disk, 0, block(version, 3));
  await world.disks.write(disk, 4 * B, block(version + 100, 2));
  if (version > 1) await world.disks.clear(disk, { start: version * B, end: (version + 1) * B });
}

/** A backup that has transferred a part of its layers. */
async function backupUnderWay(here: Stage): Promise<JobId> {
  await write(here, 3);
  const id = await start(here.world);
  await runStep(here.world.ports, (await until(here.world, 'transfer-unit')).step);
  return id;
}

/** A restore that has made its disks and is about to do `next`. */
async function restoreUnderWay({ world }: Stage, next: 'restore-unit' | 'finish-restore'): Promise<JobId> {
  const id = await restoreOf(world, world.ports);
  world.queue.putBack(await until(world, next));
  return id;
}

const restoreOf = (world: World, ports: Ports): Promise<JobId> =>
  startRestore(ports, VAULT, KEY, live(world)[0] as never, { accountId: '/x/restored' });

/** What restores have made, finished or not. */
const targets = (world: World): string[] => world.disks.urls().filter((url) => url.includes('//restored.'));

const backup = (ports: Ports): Promise<JobId> =>
  startBackup(ports, VAULT, KEY, { kind: 'onDemand', retainUntil: ports.clock.now() + 30 * DAY_MS });

/** A snapshot as a dead run leaves it: with the tags of the item, and of no point. */
async function strayOf({ world, disk }: Stage): Promise<void> {
  for await (const { tags } of world.ports.snapshots.list(disk)) {
    await world.ports.snapshots.take(disk, { ...tags, job: '00000000-0000-0000-0000-000000000000' });
    return;
  }
}

/** Spans of one region: manifests have a part for each of two, and the plan of a merge has two. */
const PARTS: WorldOptions = { layout: { spanRegions: 1, inlineRegions: 0 } };
/** Three of them: the plan of a backup has two parts. */
const THREE: WorldOptions = { ...PARTS, regionBytes: 2 * B };

/** What there is to transfer is done by the handler that plans it. */
const ON_THE_SPOT: WorldOptions = { onTheSpotBytes: 1024 * B };

/** A job that goes on without the requests of its owner. */
const running: { id?: JobId } = {};

const OPERATIONS: readonly Operation[] = [
  {
    name: 'a first backup',
    ends: ['Backup Completed'],
    prepare: (here) => write(here, 1),
    act: (_, ports, ask) => ask(() => backup(ports)),
  },
  {
    name: 'a backup by changes',
    ends: ['Backup Completed'],
    async prepare(here) {
      await points(30)(here);
      await write(here, 2);
    },
    act: (_, ports, ask) => ask(() => backup(ports)),
  },
  {
    name: 'a backup on the spot',
    shape: ON_THE_SPOT,
    ends: ['Backup Completed'],
    async prepare(here) {
      await points(30)(here);
      await write(here, 2);
    },
    act: (_, ports, ask) => ask(() => backup(ports)),
  },
  {
    name: 'a backup on the spot in which nothing is new',
    shape: ON_THE_SPOT,
    ends: ['Backup Completed'],
    prepare: points(30),
    act: (_, ports, ask) => ask(() => backup(ports)),
  },
  {
    name: 'a backup in parts',
    shape: THREE,
    ends: ['Backup Completed'],
    async prepare(here) {
      await points(30)(here);
      await write(here, 2);
    },
    act: (_, ports, ask) => ask(() => backup(ports)),
  },
  {
    name: 'a backup that is due',
    ends: ['Backup Completed'],
    async prepare(here) {
      await points(30)(here);
      await write(here, 2);
      here.world.clock.advance(DAY_MS);
    },
    act: (_, ports, ask) => ask(() => takeDue(ports)),
  },
  {
    name: 'expiry, merge and reclaim',
    ends: ['Merge Completed'],
    async prepare(here) {
      await points(2, 30)(here);
      here.world.clock.advance(3 * DAY_MS);
    },
    act: (_, ports, ask) => ask(() => cleanUp(ports)),
  },
  {
    name: 'expiry, merge and reclaim in parts',
    shape: PARTS,
    ends: ['Merge Completed'],
    async prepare(here) {
      await points(2, 30)(here);
      here.world.clock.advance(3 * DAY_MS);
    },
    act: (_, ports, ask) => ask(() => cleanUp(ports)),
  },
  {
    name: 'a restore from snapshots',
    ends: ['Restore Completed'],
    prepare: points(30),
    act: ({ world }, ports, ask) => ask(() => restoreOf(world, ports)),
  },
  {
    name: 'a restore from the vault',
    ends: ['Restore Completed'],
    async prepare(here) {
      await points(30, 30, 30)(here);
      here.world.clock.advance(3 * DAY_MS);
      await here.world.cleanUp();
    },
    act: ({ world }, ports, ask) => ask(() => restoreOf(world, ports)),
  },
  {
    name: 'a sweep with something to delete',
    ends: [],
    async prepare(here) {
      await points(30)(here);
      await cancelJob(here.world.ports, { vault: VAULT, jobId: await backupUnderWay(here) });
      await here.world.drain();
      await strayOf(here);
      await sweep(here.world.ports);
      await here.world.drain();
      here.world.clock.advance(2 * 3_600_000);
    },
    act: (_, ports, ask) => ask(() => sweep(ports)),
  },
  {
    name: 'the cancellation of a backup',
    ends: ['Backup Cancelled'],
    async prepare(here) {
      await points(30)(here);
      running.id = await backupUnderWay(here);
    },
    act: (_, ports, ask) => ask(() => cancelJob(ports, { vault: VAULT, jobId: running.id! })),
  },
  {
    name: 'the cancellation of a restore',
    ends: ['Restore Cancelled'],
    async prepare(here) {
      await points(30)(here);
      running.id = await restoreUnderWay(here, 'finish-restore');
    },
    act: (_, ports, ask) => ask(() => cancelJob(ports, { vault: VAULT, jobId: running.id! })),
  },
  {
    name: 'a backup that fails',
    ends: ['Backup Failed'],
    async prepare(here) {
      await points(30)(here);
      await here.world.disks.delete(here.disk);
    },
    act: (_, ports, ask) => ask(() => backup(ports)),
  },
  {
    name: 'a restore that fails',
    ends: ['Restore Failed'],
    async prepare(here) {
      await points(30)(here);
      await restoreUnderWay(here, 'restore-unit');
      for (const url of targets(here.world)) await here.world.disks.delete(url);
    },
    act: () => Promise.resolve(),
  },
  {
    name: 'the watch over jobs that lost their messages',
    ends: ['Backup Completed', 'Restore Completed'],
    async prepare(here) {
      await points(30)(here);
      await backupUnderWay(here);
      await restoreOf(here.world, here.world.ports);
      while (here.world.queue.waiting().length > 0) {
        here.world.clock.advance(60_000);
        here.world.queue.take();
      }
      here.world.clock.advance(20 * 60_000);
    },
    act: (_, ports, ask) => ask(() => watchJobs(ports)),
  },
  {
    name: 'an end of protection and a new beginning',
    ends: ['ConfigureBackup Completed', 'DisableBackup Completed'],
    prepare: points(2, 30),
    async act({ world }, ports, ask) {
      await ask(() => stopProtection(ports, VAULT, KEY));
      world.clock.advance(3 * DAY_MS);
      await ask(() => cleanUp(ports));
      await world.drain();
      const { vmResourceId: resourceId } = (await world.ports.catalog.items.get(VAULT, KEY))!.row;
      await ask(() => protect(ports, VAULT, { resourceId, resourceGroup: 'app', vmName: 'vm' }, 'nightly'));
    },
  },
  {
    name: 'a soft delete, its undoing and a new beginning',
    ends: ['ConfigureBackup Completed', 'DeleteBackupData Completed', 'Undelete Completed'],
    prepare: points(2, 30),
    async act({ world }, ports, ask) {
      const { vmResourceId: resourceId } = (await world.ports.catalog.items.get(VAULT, KEY))!.row;
      await ask(() => softDelete(ports, VAULT, KEY, 'somebody'));
      world.clock.advance(3 * DAY_MS);
      await ask(() => cleanUp(ports));
      await world.drain();
      expect(live(world)).toHaveLength(2);
      await ask(() => undelete(ports, VAULT, KEY));
      await ask(() => protect(ports, VAULT, { resourceId, resourceGroup: 'app', vmName: 'vm' }, 'nightly'));
    },
  },
  {
    name: 'a soft delete during a backup, and its undoing',
    ends: ['Backup Cancelled', 'DeleteBackupData Completed', 'Undelete Completed'],
    prepare: async (here) => {
      await points(30)(here);
      await backupUnderWay(here);
    },
    async act({ world }, ports, ask) {
      await ask(() => softDelete(ports, VAULT, KEY, 'somebody'));
      await world.drain();
      await ask(() => undelete(ports, VAULT, KEY));
    },
  },
];

/** Runs an operation with one call struck; resolves what was called. */
async function crashAt(operation: Operation, at: number, moment: CrashGate['moment']): Promise<CrashGate> {
  const counting = new CrashGate();
  let current: Gate | undefined;
  const gate: Gate = {
    before: (call, args) => current?.before(call, args),
    after: (call, args) => current?.after(call, args),
  };
  const revive = (error: unknown): void => {
    if (!(error instanceof Killed) && !isBackupError(error)) throw error;
    counting.revive();
  };
  const here = await stage({ ...operation.shape, wrapHandlers: crashing(gate), onFailure: revive });
  const { world } = here;
  await operation.prepare(here);
  const kept = await imageOf(here);
  counting.at = at;
  counting.moment = moment;
  current = counting;
  const ended = await endedJobs(world);
  const ask: Ask = async (request) => {
    for (let tries = 0; tries < 2; tries++) {
      try {
        await request();
        return;
      } catch (error) {
        revive(error);
      }
    }
  };
  await operation.act(here, crashing(gate)(world.ports), ask);
  await world.drain();
  current = undefined;
  if (at === 0) {
    const fresh = [...(await endedJobs(world))].filter(([id]) => !ended.has(id)).map(([, end]) => end);
    expect(fresh.sort()).toEqual(operation.ends);
  }

  await world.settle();
  await world.cleanUp();
  await world.settle();
  await world.sweep();
  await check(here, kept);
  return counting;
}

async function endedJobs(world: World): Promise<Map<JobId, string>> {
  const found = new Map<JobId, string>();
  for await (const { row } of world.ports.catalog.jobs.listAll())
    if (ENDED.has(row.status)) found.set(row.jobId, `${row.operation} ${row.status}`);
  return found;
}

/** What the disk holds now, or held when it was last backed up. */
async function imageOf({ world, disk, images }: Stage): Promise<Uint8Array> {
  if (!world.disks.urls().includes(disk)) return [...images.values()].at(-1)!;
  return world.disks.read(disk, { start: 0, end: world.disks.sizeBytes(disk) });
}

async function check({ world, disk, images }: Stage, kept: Uint8Array): Promise<void> {
  expect(leftovers(container(world))).toEqual([]);
  const rows = await world.points('vm');
  expect(rows.flatMap(({ point, vault }) => (vault === 'Valid' ? [point] : []))).toEqual(live(world));
  for (const [point] of images) {
    const row = rows.find((each) => each.point === point);
    const isDue = [...images.keys()].at(-1) !== point; // the newest is never merged away
    if (!isDue) expect(row, `point ${point}`).toBeDefined();
  }
  const owned = rows.flatMap(({ set, instant }) =>
    instant === 'Valid' ? set.disks.map(({ snapshot }) => snapshot) : [],
  );
  const found: string[] = [];
  for await (const { id } of world.ports.snapshots.list(disk)) found.push(id);
  expect(found).toEqual(world.disks.urls().includes(disk) ? owned : []); // with the disk go its snapshots
  const wanted = new Set<string>();
  for await (const { row: job } of world.ports.catalog.jobs.listAll())
    if (job.status === 'Completed' && job.restore !== undefined) wanted.add(job.restore.containerUrl);
  expect(targets(world).filter((url) => ![...wanted].some((made) => url.startsWith(`${made}/`)))).toEqual([]);
  for (const { point, vault, set } of rows) {
    if (vault === 'Valid')
      for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
    const { job, disks } = await world.restore('vm', point);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    expect(Buffer.compare(disks[0]!, images.get(point) ?? kept), `point ${point}`).toBe(0);
  }
}

describe.each(OPERATIONS)('$name, struck at any call', (operation) => {
  it.each(['before', 'after', 'lost'] as const)('%s', async (moment) => {
    const { calls, trace } = await crashAt(operation, 0, moment);
    expect(calls).toBeGreaterThan(10);
    for (let at = 1; at <= calls; at++) {
      await crashAt(operation, at, moment).catch((cause: unknown) => {
        throw new Error(`${operation.name}: struck ${moment} call ${at} (${trace[at - 1]})`, { cause });
      });
    }
  });
});
