import { describe, expect, it } from 'vitest';
import type { JobRow } from '../../shared/catalog/catalog.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import { ENDED } from '../../shared/services/jobs.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { pin, startRestore } from '../../shared/services/restore.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { sweepItem } from '../../shared/services/sweep.ts';
import { cancelJob, watchJobs } from '../../shared/services/watch.ts';
import { collect } from '../support/collect.ts';
import { leftovers, newestRecord } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World } from '../support/world.ts';
import { B, KEY, block, container, jobsOf, stage, start, until, vaultOnly } from './stage.ts';

/* Handlers that sleep, jobs whose end is in the way of something, and what they held: the named cases. */

const job = (world: World, id: JobRow['jobId']) => world.job(id);

/** Ports whose restore targets fail at `method` from now on. */
function failing(ports: Ports, method: 'complete' | 'discard', error: BackupError): Ports {
  const fail = async (): Promise<never> => {
    throw error;
  };
  return { ...ports, targets: { ...ports.targets, [method]: fail } };
}

describe('the watch', () => {
  it('ends a job that only tells of a change and died before it could say so', async () => {
    const { world } = await stage();
    const [row] = await jobsOf(world);
    await world.ports.catalog.jobs.upsert(VAULT, row!.jobId, { ...row!, status: 'InProgress', endedAt: undefined });
    await world.ports.catalog.openJobs.upsert(VAULT, row!.jobId, { startedAt: row!.startedAt });
    await world.watch();
    expect((await job(world, row!.jobId)).status).toBe('Completed');
  });

  it('looks after the jobs behind one that it cannot end', async () => {
    const { world, disk, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    const point = await backUp(30);
    const ids = [];
    for (let i = 0; i < 2; i++) {
      ids.push(await startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored' }));
      await until(world, 'restore-unit');
    }
    const unavailable = failing(world.ports, 'discard', new BackupError('StorageUnavailable', 'the account is away'));
    for (const jobId of ids) await cancelJob(unavailable, { vault: VAULT, jobId }).catch(() => undefined);
    let seen = 0;
    const once: Ports = {
      ...world.ports,
      targets: {
        ...world.ports.targets,
        async discard(target, jobId) {
          if (seen++ === 0) throw new BackupError('StorageUnavailable', 'the account is away');
          return world.ports.targets.discard(target, jobId);
        },
      },
    };
    await watchJobs(once);
    const statuses = await Promise.all(ids.map(async (id) => (await job(world, id)).status));
    expect(statuses.sort()).toEqual(['Cancelled', 'Cancelling']);
  });

  it('leaves the mark of a job whose row came late', async () => {
    const { world } = await stage();
    let letGo = (): void => undefined;
    const asleep = new Promise<void>((resolve) => (letGo = resolve));
    const jobsTable = world.ports.catalog.jobs;
    let looked = (): void => undefined;
    const slept = new Promise<void>((resolve) => (looked = resolve));
    const sleepy: Ports = {
      ...world.ports,
      catalog: {
        ...world.ports.catalog,
        jobs: {
          ...jobsTable,
          async get(partition, key) {
            const row = await jobsTable.get(partition, key);
            looked();
            await asleep;
            return row;
          },
        },
      },
    };
    // The handler that makes the job sleeps between its two rows, and the watch between its look and its deed.
    let watching: Promise<number> | undefined;
    const insert: typeof jobsTable.insert = async (...row) => {
      world.clock.advance(20 * 60_000);
      watching ??= watchJobs(sleepy);
      await slept;
      return jobsTable.insert(...row);
    };
    const late: Ports = { ...world.ports, catalog: { ...world.ports.catalog, jobs: { ...jobsTable, insert } } };
    const id = await startBackup(late, VAULT, KEY, { kind: 'onDemand' });
    letGo();
    await watching;
    expect(await world.ports.catalog.openJobs.get(VAULT, id)).toBeDefined();
  });
});

describe('a restore', () => {
  it('that has decided to complete and cannot ends all the same, and holds nothing', async () => {
    const { world, disk, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    const point = await backUp(30);
    const id = await startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored' });
    const finish = await until(world, 'finish-restore');
    while (world.queue.due().length > 0) await runStep(world.ports, world.queue.take()!.step);
    const gone = failing(world.ports, 'complete', new BackupError('BlobNotFound', 'somebody has deleted it'));
    await runStep(gone, finish.step);
    expect(await job(world, id)).toMatchObject({ status: 'InProgress', outcome: 'Completed' });
    world.clock.advance(15 * DAY_MS);
    await watchJobs(gone);
    expect(await job(world, id)).toMatchObject({ status: 'Failed', errors: [{ code: 'BlobNotFound' }] });
    expect((await world.ports.catalog.items.get(VAULT, KEY))!.row.pins).toEqual([]);
  });

  it('leaves no mark of a unit whose twin was late, though the twin dies over it', async () => {
    const { world, disk, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 2));
    const point = await backUp(30);
    await vaultOnly(world);
    const id = await startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored' });
    const unit = await until(world, 'restore-unit');
    const { units } = world.ports.catalog;
    const marks = async (): Promise<number> => (await collect(units.listAll())).length;
    /** Its twin does the unit, and all that follows, while this handler is about to leave its mark. */
    const late = (remove: typeof units.remove): Ports => {
      const upsert: typeof units.upsert = async (...row) => {
        await runStep(world.ports, unit.step);
        await world.drain();
        return units.upsert(...row);
      };
      return { ...world.ports, catalog: { ...world.ports.catalog, units: { ...units, upsert, remove } } };
    };
    const dies: typeof units.remove = async () => {
      throw new Error('dead');
    };
    await expect(runStep(late(dies), unit.step)).rejects.toThrow('dead');
    expect((await job(world, id)).status).toBe('Completed');
    expect(await marks()).toBe(1);
    await runStep(world.ports, unit.step); // comes again
    expect(await marks()).toBe(0);
  });

  it('whose target somebody else has leased ends when it is cancelled, and so does the sweep', async () => {
    const { world, disk, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    const point = await backUp(30);
    const id = await startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored' });
    await until(world, 'restore-unit');
    const leased = failing(world.ports, 'discard', new BackupError('ResourceIsLeased', 'another lease is on it'));
    await cancelJob(leased, { vault: VAULT, jobId: id });
    expect((await job(world, id)).status).toBe('Cancelled');
    await world.drain();
    for (let round = 0; round < 2; round++) {
      await sweepItem(leased, { vault: VAULT, itemId: KEY });
      world.clock.advance(2 * 3_600_000);
    }
    expect(leftovers(container(world))).toEqual([]);
  });
});

describe('what a handler that slept has written into the item', () => {
  it('holds neither snapshots nor the point that was leaving', async () => {
    const { world, disk, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    const first = await backUp(30);
    const second = await backUp(30);
    const ended = (await jobsOf(world)).find(({ status }) => ENDED.has(status))!.jobId;
    await pin(world.ports, { vault: VAULT, jobId: ended }, KEY, first);
    const { row, etag } = (await world.ports.catalog.items.get(VAULT, KEY))!;
    await world.ports.catalog.items.replace(VAULT, KEY, { ...row, mergeJob: ended, leaving: second }, etag);
    world.clock.advance(3 * DAY_MS);
    await world.cleanUp();
    expect((await world.points('vm')).map(({ instant }) => instant)).toEqual(['Deleted', 'Valid']);
    const { job: restore } = await world.restore('vm', second);
    expect(restore.status).toBe('Completed');
  });
});

describe('a sweep', () => {
  it('finds the snapshots that a dead run has left on a disk that was replaced since', async () => {
    const { world, disk, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(30);
    const { row } = (await world.ports.catalog.items.get(VAULT, KEY))!;
    const other = 'https://disks0.example/vhds/other.vhd';
    const vm = (await world.compute.virtualMachine(row.vmResourceId))!;
    const attach = (vhdUrl: string): void => world.compute.put({ ...vm, disks: [{ ...vm.disks[0]!, vhdUrl }] });
    await world.disks.create(other, 6 * B);
    attach(other);
    const id = await start(world);
    const take = world.queue.take()!;
    // The host dies when the snapshot is taken.
    const dying: Ports = {
      ...world.ports,
      snapshots: {
        ...world.ports.snapshots,
        async sizeOf() {
          throw new Error('dead');
        },
        async *list() {
          yield* [];
        },
      },
    };
    await runStep(dying, take.step).catch(() => undefined);
    await cancelJob(world.ports, { vault: VAULT, jobId: id });
    const left = () => collect(world.ports.snapshots.list(other));
    expect(await left()).toHaveLength(1);
    attach(disk);
    world.clock.advance(60_000);
    await backUp(30);
    expect((await world.ports.catalog.items.get(VAULT, KEY))!.row.formerUrls).toEqual([disk, other]);
    await world.sweep();
    expect(await left()).toEqual([]);
  });
});

describe('cleanup', () => {
  it('takes a point away that never reached the vault and whose snapshots somebody has deleted', async () => {
    const { world, disk } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    const id = await start(world);
    await until(world, 'plan-transfer');
    await cancelJob(world.ports, { vault: VAULT, jobId: id });
    await vaultOnly(world);
    const { point } = (await world.points('vm'))[0]!;
    await expect(startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored' })).rejects.toThrow('deleted');
    expect((await world.points('vm')).map(({ instant }) => instant)).toEqual(['Lost']);
    world.clock.advance(3 * DAY_MS);
    await world.cleanUp();
    expect(await world.points('vm')).toEqual([]);
  });

  it('makes known what a commit could not say any more', async () => {
    const { world, disk, backUp } = await stage();
    await world.disks.write(disk, 0, block(1, 6));
    const point = await backUp(30);
    const partition = `${world.vaults.containerNames()[0]!}|${newestRecord(container(world)).item}`;
    const { row } = (await world.ports.catalog.points.get(partition, point))!;
    await world.ports.catalog.points.upsert(partition, point, { ...row, vault: 'None', manifest: undefined, seq: 0 });
    world.clock.advance(3 * DAY_MS);
    await world.cleanUp();
    expect((await world.points('vm')).map(({ vault }) => vault)).toEqual(['Valid']);
  });
});
