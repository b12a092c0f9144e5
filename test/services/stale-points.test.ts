import { describe, expect, it } from 'vitest';
import { BackupError } from '../../shared/domain/errors.ts';
import { type BlockRun, CLEARED } from '../../shared/domain/extent.ts';
import { writtenFrom } from '../../shared/domain/findings.ts';
import { type JobId, type PointId, attemptId, nextPointId } from '../../shared/domain/ids.ts';
import type { Manifest, PlanDisk } from '../../shared/format/documents.ts';
import { openFindings } from '../../shared/services/findings.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { recordStalePoints } from '../../shared/services/stale-points.ts';
import { startVerify } from '../../shared/services/verify.ts';
import { type Lie, lyingDiff } from '../support/lying-diff.ts';
import { liveManifests, newestRecord } from '../support/vault-map.ts';
import type { QueuedMessage } from '../support/memory-queue.ts';
import { DAY_MS, VAULT } from '../support/world.ts';
import { B, KEY, block, container, live, stage, start, until } from './stage.ts';
import { verify } from './verify-stage.ts';

/* A change that the source of changes has left out is caught by a later audit: points in between may lack it, and say so. */

const BLOCKS = 6;
/** A block of each disk is audited by each backup. */
const SLOW = { requestsPerSecond: 1e9, bytesPerSecond: 1 };

/** Points by turns: all blocks are written at first, block 4 once more for the second, and its change after that is left out. */
async function caught() {
  let lie: Lie | undefined;
  const set = await stage({
    layout: { thinBytes: -1 },
    sourceRates: SLOW,
    wrapHandlers: (ports) => ({ ...ports, snapshots: lyingDiff(ports.snapshots, () => lie) }),
  });
  const { world, disk } = set;
  const images = set.images;
  const points: PointId[] = [];
  const night = async (days: number): Promise<'Completed' | 'caught'> => {
    const image = await world.disks.read(disk, { start: 0, end: BLOCKS * B });
    const job = await world.backup('vm', world.clock.now() + days * DAY_MS);
    images.set(job.point!, image);
    points.push(job.point!);
    world.clock.advance(60_000);
    return job.status === 'Completed' ? 'Completed' : 'caught';
  };
  await world.disks.write(disk, 0, block(1, BLOCKS));
  await night(3);
  await world.disks.write(disk, 4 * B, block(2));
  await night(3);
  await world.disks.write(disk, 4 * B, block(3));
  await world.disks.write(disk, 0, block(9));
  lie = { kind: 'omits', at: 4 * B };
  await night(3);
  lie = undefined;
  let nights = 0;
  while ((await night(30)) !== 'caught') if (++nights > BLOCKS) throw new Error('the omission is not caught');
  const partition = pointsPartition(world.vaults.containerNames()[0]!, newestRecord(container(world)).item);
  const findings = async () => (await openFindings(world.ports, partition)).map(({ row }) => row);
  return { ...set, points, findings };
}

describe('a change that was left out and caught', () => {
  it('is noted on the points that may lack it: from the layer that has the block to the base', async () => {
    const { points, findings } = await caught();
    expect(points.length).toBeGreaterThan(4);
    expect(await findings()).toMatchObject([
      {
        kind: 'stale',
        code: 'ChangedBlocksMissed',
        region: 1,
        runs: [{ start: 0, count: 1 }],
        points: points.slice(1, -1),
        newest: points.at(-1),
        newestIsSound: true,
        lun: -1,
      },
    ]);
  });

  it('is true: those it names differ or not, all others are exact', async () => {
    const { world, images, points, findings } = await caught();
    const named = (await findings()).flatMap((row) => row.points);
    for (const { url, snapshot } of (await world.points('vm')).flatMap(({ set }) => set.disks))
      await world.ports.snapshots.remove({ url, id: snapshot });
    const differing: PointId[] = [];
    for (const point of points) {
      const { disks } = await world.restore('vm', point);
      if (Buffer.compare(disks[0]!, images.get(point)!) !== 0) differing.push(point);
    }
    expect(differing).toEqual(points.slice(2, -1));
    expect(named).toEqual(expect.arrayContaining(differing));
  });

  it('stays through verifications, is no damage to merges or backups, and goes with its last point', async () => {
    const { world, points, findings, backUp } = await caught();
    await verify(world, { deepPercent: 100 });
    expect(await findings()).toMatchObject([{ kind: 'stale', points: points.slice(1, -1) }]);
    await backUp(30);
    expect(newestRecord(container(world)).points).toHaveLength(points.length + 1);
    world.clock.advance(4 * DAY_MS);
    await world.cleanUp();
    // The first three have merged into the one after them, fold by fold: the region is not held back.
    expect(live(world)).toEqual([...points.slice(3), expect.any(String)]);
    const [fourth] = liveManifests(container(world));
    expect(fourth!.disks[0]!.regions.map(({ layers }) => layers.length)).toEqual([1, 1]);
    await verify(world, {});
    expect(await findings()).toMatchObject([{ points: points.slice(3, -1) }]);
    world.clock.advance(40 * DAY_MS);
    await backUp(30);
    await world.cleanUp();
    await verify(world, {});
    expect(await findings()).toEqual([]);
  });
});

it('a finding stays that is of a region which no point has yet, while the backup that caught the change still transfers', async () => {
  let lie: Lie | undefined = { kind: 'omits', at: 4 * B };
  const { world, disk, backUp } = await stage({
    layout: { thinBytes: -1 },
    sourceRates: SLOW,
    wrapHandlers: (ports) => ({ ...ports, snapshots: lyingDiff(ports.snapshots, () => lie) }),
  });
  await world.disks.write(disk, 0, block(1));
  await backUp(30);
  await world.disks.write(disk, 4 * B, block(2));
  await backUp(30);
  lie = undefined;
  const partition = pointsPartition(world.vaults.containerNames()[0]!, newestRecord(container(world)).item);
  const stale = async (): Promise<unknown[]> =>
    (await openFindings(world.ports, partition)).map(({ row }) => [row.kind, row.region]);
  let backup = '';
  let commit: QueuedMessage | undefined;
  for (let nights = 0; (await stale()).length === 0; nights++) {
    if (nights > BLOCKS) throw new Error('the omission is not caught');
    if (commit !== undefined) await world.drain();
    world.clock.advance(60_000);
    backup = await start(world);
    commit = await until(world, 'commit');
    await world.ports.queue.send(commit.step, 60);
  }
  expect(await stale()).toEqual([['stale', 1]]);
  await startVerify(world.ports, VAULT, KEY, { deepPercent: 100 }, true);
  const { step } = await until(world, 'plan-verify');
  // Without a snapshot to compare with only the layers of points say which regions there are.
  const sizeOf = (): never => {
    throw new BackupError('StorageUnavailable', 'the account does not answer');
  };
  await runStep({ ...world.ports, snapshots: { ...world.ports.snapshots, sizeOf } }, step);
  await until(world, 'finish-verify');
  expect(await world.job(backup as JobId)).toMatchObject({ status: 'InProgress' });
  expect(await stale()).toEqual([['stale', 1]]);
});

it('what a backup has caught that failed stays noted when the next one finds less of it', async () => {
  const { world, disk, backUp } = await stage({ layout: { thinBytes: -1 } });
  await world.disks.write(disk, 4 * B, block(1, 2));
  const first = await backUp(30);
  await world.disks.write(disk, 5 * B, block(2));
  const second = await backUp(30);
  const { ports } = world;
  const containerName = world.vaults.containerNames()[0]!;
  const [{ item, disks }] = liveManifests(container(world)) as [Manifest];
  const partition = pointsPartition(containerName, item);
  const { disk: id, url, snapshot } = disks[0]!;
  const stack = [first, second].map((point) => ({ point, attempt: attemptId('0'.repeat(16)) }));
  const base = [
    { start: 0, count: 1, frame: 0, slot: 0 },
    { start: 1, count: 1, frame: 1, slot: 0 },
  ];
  const catches = async (minutes: number, runs: readonly BlockRun[]): Promise<void> => {
    const missed = {
      disk: { disk: id, url, since: snapshot.id, base: second } as PlanDisk,
      region: 1,
      runs,
      stack,
      base,
    };
    const point = nextPointId(world.clock.now() + minutes * 60_000, undefined);
    await recordStalePoints(ports, await ports.vaults.open(containerName), partition, { item, point }, missed);
  };
  await catches(1, [{ start: 0, count: 2 }]);
  await catches(2, [{ start: 1, count: 1 }]);
  const found = (await openFindings(ports, partition)).map(({ row }) => row);
  expect(found).toMatchObject([{ kind: 'stale', runs: [{ start: 0, count: 2 }], points: [first, second] }]);
});

it('blocks are written from the lowest layer that has any of them; whoever cleared one, or where none has it, is not known', () => {
  const owners = [
    { start: 0, count: 2, frame: 1, slot: 0 },
    { start: 2, count: 1, frame: CLEARED, slot: 0 },
    { start: 3, count: 3, frame: 0, slot: 3 },
    { start: 8, count: 1, frame: 4, slot: 8 },
  ];
  expect(writtenFrom(owners, [{ start: 1, count: 1 }])).toBe(1);
  expect(
    writtenFrom(owners, [
      { start: 1, count: 1 },
      { start: 8, count: 1 },
    ]),
  ).toBe(1);
  expect(
    writtenFrom(owners, [
      { start: 4, count: 1 },
      { start: 8, count: 1 },
    ]),
  ).toBe(0);
  expect(writtenFrom(owners, [{ start: 1, count: 2 }])).toBeUndefined();
  expect(writtenFrom(owners, [{ start: 6, count: 1 }])).toBeUndefined();
});
