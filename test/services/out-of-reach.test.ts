import { describe, expect, it } from 'vitest';
import type { JobRow } from '../../shared/catalog/catalog.ts';
import { BackupError, type ErrorCode, isBackupError } from '../../shared/domain/errors.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { readReports, readRuns } from '../../shared/services/clean-up-report.ts';
import { changeItem } from '../../shared/services/items.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { stopProtection } from '../../shared/services/protection.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';
import { B, KEY, block, live } from './stage.ts';

/* The account of a disk that was detached does not answer any more: what is left of its snapshots is out of reach. */

interface Moved {
  readonly world: World;
  readonly first: PointId;
  readonly second: PointId;
  /** The disk in the account. */
  readonly data: string;
  /** The account answers no more. */
  readonly leave: () => void;
  /** The account answers again. */
  readonly comeBack: () => void;
}

/** One VM with two disks in two accounts; then its data disk is detached and that disk's account deleted. */
async function moved(
  policy: { instantRetentionDays?: number } = {},
  code: ErrorCode = 'StorageUnavailable',
): Promise<Moved> {
  let gone = '';
  const refuse = (url: string): void => {
    if (gone !== '' && url.startsWith(gone)) throw new BackupError(code, `${gone} does not answer`);
  };
  const wrap = (ports: Ports): Ports => ({
    ...ports,
    snapshots: {
      ...ports.snapshots,
      async *list(url) {
        refuse(url);
        yield* ports.snapshots.list(url);
      },
      async remove(snapshot) {
        refuse(snapshot.url);
        return ports.snapshots.remove(snapshot);
      },
      async sizeOf(snapshot) {
        refuse(snapshot.url);
        return ports.snapshots.sizeOf(snapshot);
      },
    },
  });
  const world = await createWorld({
    wrap,
    onFailure: (error) => {
      if (!isBackupError(error, code)) throw error;
    },
  });
  await world.setPolicy(policy);
  const [os, data] = await world.createVm('vm', [6 * B, 6 * B]);
  await world.protect('vm');
  for (const disk of [os!, data!]) await world.disks.write(disk, 0, block(1, 2));
  const first = (await world.backup('vm', world.clock.now() + 3 * DAY_MS)).point!;
  const { vmResourceId } = (await world.ports.catalog.items.get(VAULT, KEY))!.row;
  const vm = (await world.ports.compute.virtualMachine(vmResourceId))!;
  world.compute.put({ ...vm, disks: vm.disks.slice(0, 1) });
  world.clock.advance(60_000);
  gone = new URL(data!).origin;
  await world.disks.write(os!, 0, block(2));
  const second = (await world.backup('vm', world.clock.now() + 90 * DAY_MS)).point!;
  const leave = (): void => void (gone = new URL(data!).origin);
  return { world, first, second, data: data!, leave, comeBack: () => (gone = '') };
}

async function night({ world }: Moved): Promise<void> {
  world.clock.advance(DAY_MS);
  await world.cleanUp();
  await world.watch();
}

async function jobsOf(world: World): Promise<JobRow[]> {
  const jobs: JobRow[] = [];
  for await (const { row } of world.ports.catalog.jobs.list(VAULT)) jobs.push(row);
  return jobs;
}

async function snapshotsOn(world: World, url: string): Promise<number> {
  let found = 0;
  for await (const _ of world.ports.snapshots.list(url)) found++;
  return found;
}

describe('an account that is gone for good', () => {
  it('keeps points from expiring for some days, which the report says, and no longer', async () => {
    const set = await moved();
    const { world, first, second } = set;
    for (let nights = 0; nights < 4; nights++) await night(set);
    expect(live(world)).toEqual([first, second]);
    const [report] = await readReports(world.ports, VAULT, (await readRuns(world.ports, VAULT)).at(-1)!.runId);
    expect(report!.row).toMatchObject({
      status: 'failed',
      failures: [{ point: first, code: 'StorageUnavailable' }],
      left: { expiredPoints: 1 },
    });
    for (let nights = 0; nights < 4; nights++) await night(set);
    expect((await world.points('vm')).map(({ point }) => point)).toEqual([second]);
    expect((await world.restore('vm', second)).job.errors).toEqual([]);
  });

  it.each(['StorageUnavailable', 'ComputeUnavailable'] as const)(
    'keeps no merge waiting for ever that has to take snapshots itself, and waits for days (%s)',
    async (code) => {
      const set = await moved({ instantRetentionDays: 5 }, code);
      for (let nights = 0; nights < 3; nights++) await night(set);
      const merge = (await jobsOf(set.world)).find(({ operation }) => operation === 'Merge')!;
      expect((merge.endedAt! - merge.startedAt) / DAY_MS).toBeGreaterThan(2);
      for (let nights = 0; nights < 5; nights++) await night(set);
      expect((await set.world.points('vm')).map(({ point }) => point)).toEqual([set.second]);
    },
  );

  it('leaves its snapshots to the sweep, which takes them when it answers again', async () => {
    const set = await moved();
    const { world, data, comeBack } = set;
    // Of the many disks that the item has had since, this one is forgotten.
    await changeItem(world.ports, VAULT, KEY, (item) => ({
      ...item,
      disks: item.disks.filter(({ url }) => url !== data),
    }));
    for (let nights = 0; nights < 12; nights++) await night(set);
    await world.sweep();
    expect((await world.points('vm')).flatMap(({ set: own }) => own.disks.map(({ url }) => url))).not.toContain(data);
    comeBack();
    expect(await snapshotsOn(world, data)).toBe(1);
    await world.sweep();
    expect(await snapshotsOn(world, data)).toBe(0);
  });

  it('keeps the row of a point that is nowhere else, since its snapshots may still be there', async () => {
    const set = await moved();
    const { world, first, comeBack } = set;
    const { itemId } = (await world.points('vm'))[0]!;
    const partition = `${world.vaults.containerNames()[0]}|${itemId}`;
    const { row } = (await world.ports.catalog.points.get(partition, first))!;
    const earlier = `${BigInt(first) - 1n}`.padStart(17, '0') as PointId;
    await world.ports.catalog.points.insert(partition, earlier, {
      ...row,
      point: earlier,
      vault: 'None',
      seq: 0,
      manifest: undefined,
    });
    for (let nights = 0; nights < 12; nights++) await night(set);
    expect((await world.points('vm')).map(({ point }) => point)).toContain(earlier);
    comeBack();
    await night(set);
    expect((await world.points('vm')).map(({ point }) => point)).toEqual([set.second]);
  });
});

it('an outage that ends within the time costs nothing: the snapshots go, and then the point', async () => {
  const set = await moved();
  const { world, second, data, comeBack } = set;
  for (let nights = 0; nights < 4; nights++) await night(set);
  comeBack();
  await night(set);
  expect((await world.points('vm')).map(({ point }) => point)).toEqual([second]);
  expect(await snapshotsOn(world, data)).toBe(0);
});

it('an answer that is lost once is passing trouble: the same run has it done', async () => {
  const set = await moved();
  const { world, data, comeBack } = set;
  await night(set);
  world.clock.advance(DAY_MS);
  await world.cleanUp(); // the snapshots' time is over, and the account does not answer
  comeBack();
  world.clock.advance(15 * 60_000);
  await world.watch();
  expect(await snapshotsOn(world, data)).toBe(0);
  const runs = await readRuns(world.ports, VAULT);
  expect(runs).toHaveLength(2);
  const [report] = await readReports(world.ports, VAULT, runs.at(-1)!.runId);
  expect(report!.row).toMatchObject({ status: 'done', failures: [], endedSnapshots: 2 });
});

describe('snapshots that cannot be reached', () => {
  // Of managed disks Compute tells it: their group is locked, or somebody has taken Strata's right to it away. An account that the settings no
  // longer name makes its disks unsupported.
  for (const code of ['ComputeUnavailable', 'AuthorizationFailed', 'UserErrorUnsupportedDisk'] as const) {
    it(`are given up after some days where ${code} is the answer, and swept when it is not`, async () => {
      const set = await moved({}, code);
      const { world, second, data, comeBack } = set;
      for (let nights = 0; nights < 10; nights++) await night(set);
      expect((await world.points('vm')).map(({ point }) => point)).toEqual([second]);
      await world.sweep();
      comeBack();
      expect(await snapshotsOn(world, data)).toBe(1);
      await world.sweep();
      expect(await snapshotsOn(world, data)).toBe(0);
    });
  }

  it('of a merge that has not the right to them keep it for some nights, and no longer', async () => {
    const set = await moved({ instantRetentionDays: 5 }, 'AuthorizationFailed');
    for (let nights = 0; nights < 12; nights++) await night(set);
    expect((await set.world.points('vm')).map(({ point }) => point)).toEqual([set.second]);
    const merges = (await jobsOf(set.world)).filter(({ operation }) => operation === 'Merge');
    expect(merges.length).toBeLessThan(12);
  });

  for (const code of [
    'StorageUnavailable',
    'ComputeUnavailable',
    'AuthorizationFailed',
    'UserErrorUnsupportedDisk',
  ] as const) {
    it(`keep nobody from restoring the point from the vault (${code})`, async () => {
      const { world, first } = await moved({}, code);
      const { job, disks } = await world.restore('vm', first);
      expect([job.status, job.errors]).toEqual(['Completed', []]);
      expect(job.sources.map(({ source }) => source)).toEqual(['vault', 'vault']);
      expect(Buffer.compare(disks[1]!.subarray(0, 2 * B), block(1, 2))).toBe(0);
      // It may be passing trouble: the point keeps its snapshots.
      expect((await world.points('vm'))[0]!.instant).toBe('Valid');
    });
  }

  it('keep nobody from stopping the protection; the sweep takes them when it can', async () => {
    const set = await moved();
    const { world, data, comeBack } = set;
    const { vmResourceId } = (await world.ports.catalog.items.get(VAULT, KEY))!.row;
    const vm = (await world.ports.compute.virtualMachine(vmResourceId))!;
    comeBack();
    world.compute.put({
      ...vm,
      disks: [...vm.disks, { lun: 0, name: 'vm-1', vhdUrl: data, managedDiskId: undefined }],
    });
    world.clock.advance(60_000);
    await world.backup('vm', world.clock.now() + 90 * DAY_MS);
    set.leave();
    for (let nights = 0; nights < 3; nights++) await night(set);
    await stopProtection(world.ports, VAULT, KEY);
    expect((await world.points('vm')).at(-1)!.instant).toBe('Deleted');
    comeBack();
    expect(await snapshotsOn(world, data)).toBeGreaterThan(0);
    await world.sweep();
    const kept = (await world.points('vm')).filter(({ instant }) => instant === 'Valid');
    const owned = kept.flatMap(({ set: own }) => own.disks).filter(({ url }) => url === data);
    expect(await snapshotsOn(world, data)).toBe(owned.length);
  });
});
