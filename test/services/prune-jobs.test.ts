import { describe, expect, it } from 'vitest';
import { BackupError } from '../../shared/domain/errors.ts';
import type { JobId } from '../../shared/domain/ids.ts';
import { changeJob, readJob } from '../../shared/services/jobs.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import { pruneJobs } from '../../shared/services/prune-jobs.ts';
import { newestRecord } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World } from '../support/world.ts';
import { B, block, container, itemOf, jobsOf, restoresExactly, stage } from './stage.ts';
import { verify } from './verify-stage.ts';

/* Rows of jobs that ended half a year ago go with the daily cleanup, but for what live points and snapshots rely on. */

const HISTORY_DAYS = 180;
const ids = async (world: World): Promise<Set<string>> => new Set((await jobsOf(world)).map(({ jobId }) => jobId));

/** Two points, one of them merged away soon, and a verification. */
async function longAgo() {
  const set = await stage();
  const { world, disk, backUp } = set;
  await world.disks.write(disk, 0, block(1, 6));
  const first = await backUp(3);
  await world.disks.write(disk, B, block(2));
  const second = await backUp(1000);
  const verified = (await verify(world, {})).jobId;
  world.clock.advance(4 * DAY_MS);
  await world.cleanUp();
  const jobOf = async (point: string): Promise<JobId> =>
    (await jobsOf(world)).find((job) => job.point === point && job.operation === 'Backup')!.jobId;
  const partition = pointsPartition(world.vaults.containerNames()[0]!, newestRecord(container(world)).item);
  return { ...set, first, second, verified, partition, backups: [await jobOf(first), await jobOf(second)] as const };
}

async function dropSnapshots(world: World): Promise<void> {
  for (const url of world.disks.snapshotted())
    for await (const snapshot of world.ports.snapshots.list(url)) await world.ports.snapshots.remove(snapshot);
}

describe('after half a year', () => {
  it('the daily cleanup takes the rows of ended jobs away, but for that of a live point', async () => {
    const { world, images, verified, backups } = await longAgo();
    const before = await ids(world);
    for (const id of [...backups, verified]) expect(before).toContain(id);
    world.clock.advance((HISTORY_DAYS - 5) * DAY_MS);
    await world.cleanUp();
    for (const id of before) expect(await ids(world)).toContain(id);
    world.clock.advance(5 * DAY_MS);
    await world.cleanUp();
    const left = await ids(world);
    expect([...before].filter((id) => left.has(id))).toEqual([backups[1]]);
    await restoresExactly(world, images);
  });

  it('a job that runs, or that the watch has not let go, stays; so does what it holds', async () => {
    const { world, verified } = await longAgo();
    await changeJob(world.ports, { vault: VAULT, jobId: verified }, (row) => ({
      ...row,
      status: 'Ending',
      outcome: 'Failed',
    }));
    world.clock.advance(HISTORY_DAYS * DAY_MS);
    await pruneJobs(world.ports, VAULT);
    expect(await readJob(world.ports, { vault: VAULT, jobId: verified })).toBeDefined();
    await changeJob(world.ports, { vault: VAULT, jobId: verified }, (row) => ({ ...row, status: 'Failed' }));
    await world.ports.catalog.openJobs.upsert(VAULT, verified, { startedAt: 0 });
    world.clock.advance(HISTORY_DAYS * DAY_MS);
    await pruneJobs(world.ports, VAULT);
    expect(await readJob(world.ports, { vault: VAULT, jobId: verified })).toBeDefined();
    await world.ports.catalog.openJobs.remove(VAULT, verified);
    expect(await pruneJobs(world.ports, VAULT)).toBe(1);
    expect(await readJob(world.ports, { vault: VAULT, jobId: verified })).toBeUndefined();
    expect((await itemOf(world)).verifyJob).toBeUndefined();
  });

  it('with the row go the marks of its units and what the API knows of it', async () => {
    const { world, verified } = await longAgo();
    const attempt = (await readJob(world.ports, { vault: VAULT, jobId: verified }))!.attempts[0]!;
    await world.ports.catalog.units.upsert(attempt, '00000001', { bytes: 1 });
    await world.ports.catalog.operations.insert(VAULT, 'old', { startedAt: world.clock.now(), resource: '' });
    world.clock.advance(HISTORY_DAYS * DAY_MS + 1);
    await world.ports.catalog.operations.insert(VAULT, 'new', { startedAt: world.clock.now(), resource: '' });
    await pruneJobs(world.ports, VAULT);
    expect(await world.ports.catalog.units.get(attempt, '00000001')).toBeUndefined();
    expect(await world.ports.catalog.operations.get(VAULT, 'old')).toBeUndefined();
    expect(await world.ports.catalog.operations.get(VAULT, 'new')).toBeDefined();
  });
});

describe('the row of a backup stays', () => {
  async function afterLoss(lose: (set: Awaited<ReturnType<typeof longAgo>>) => Promise<void>): Promise<boolean> {
    const set = await longAgo();
    await lose(set);
    set.world.clock.advance(HISTORY_DAYS * DAY_MS);
    await pruneJobs(set.world.ports, VAULT);
    return (await ids(set.world)).has(set.backups[1]);
  }
  const loseRow = ({ world, partition, second }: Awaited<ReturnType<typeof longAgo>>): Promise<void> =>
    world.ports.catalog.points.remove(partition, second);

  it('while the chain has its point, whatever became of the point’s row', async () => {
    expect(
      await afterLoss(async (set) => {
        await loseRow(set);
        await dropSnapshots(set.world);
      }),
    ).toBe(true);
  });
  it('while any of its snapshots is there, or nobody can tell', async () => {
    const lose = async (set: Awaited<ReturnType<typeof longAgo>>): Promise<void> => {
      await loseRow(set);
      const blobs = container(set.world);
      for (const name of blobs.keys()) if (name.includes('/chain/')) blobs.delete(name);
    };
    expect(await afterLoss(lose)).toBe(true);
    expect(
      await afterLoss(async (set) => {
        await lose(set);
        await dropSnapshots(set.world);
      }),
    ).toBe(false);
  });
  it('and keeps no other from going where its disk is in an account that nobody knows any more', async () => {
    const set = await longAgo();
    const { world, verified, backups } = set;
    await loseRow(set);
    const blobs = container(world);
    for (const name of blobs.keys()) if (name.includes('/chain/')) blobs.delete(name);
    world.clock.advance(HISTORY_DAYS * DAY_MS);
    const sizeOf = (): never => {
      throw new BackupError('UserErrorUnsupportedDisk', 'its storage account is not known');
    };
    await pruneJobs({ ...world.ports, snapshots: { ...world.ports.snapshots, sizeOf } }, VAULT);
    const left = await ids(world);
    expect(left.has(backups[1])).toBe(true);
    expect(left.has(verified)).toBe(false);
  });
  it('while the chain cannot be read', async () => {
    expect(
      await afterLoss(async (set) => {
        await dropSnapshots(set.world);
        await loseRow(set);
        const blobs = container(set.world);
        for (const name of blobs.keys())
          if (name.includes('/chain/')) blobs.set(name, { ...blobs.get(name)!, body: Buffer.from('{') });
      }),
    ).toBe(true);
  });
});
