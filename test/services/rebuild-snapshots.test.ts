import { describe, expect, it } from 'vitest';
import type { PointRow } from '../../shared/catalog/catalog.ts';
import type { TaggedSnapshot } from '../../shared/disk/disk-snapshots.ts';
import { BackupError, isBackupError } from '../../shared/domain/errors.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { EVERY_DISK } from '../../shared/services/url-list.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';
import { lose, rebuild, threeNights } from './rebuild-stage.ts';
import { B, KEY, block } from './stage.ts';

/* The snapshot tier after a rebuild that could not list all snapshots, or not any. */

/** An account that can be made not to list its snapshots. */
function outages(): { wrap: (ports: Ports) => Ports; onFailure: (error: unknown) => void; out: Set<string> } {
  const out = new Set<string>();
  return {
    out,
    onFailure: (error) => {
      if (!isBackupError(error, 'StorageUnavailable')) throw error;
    },
    wrap: (ports) => ({
      ...ports,
      snapshots: {
        ...ports.snapshots,
        list(url) {
          if (out.has(new URL(url).hostname)) throw new BackupError('StorageUnavailable', `${url} does not answer`);
          return ports.snapshots.list(url);
        },
      },
    }),
  };
}

const inSnapshots = (rows: readonly PointRow[]): string[] =>
  rows.filter(({ instant }) => instant === 'Valid').map(({ point }) => point);

/** All snapshots of these points are there. */
async function areThere(world: World, rows: readonly PointRow[]): Promise<void> {
  for (const { point, set } of rows) {
    for (const { url, snapshot } of set.disks) {
      const size = await world.ports.snapshots.sizeOf({ url, id: snapshot });
      expect.soft(size, `snapshot of ${point} on ${url}`).toBeDefined();
    }
  }
}

describe('a rebuild that can list the snapshots again', () => {
  it('brings the snapshot tier of vault points back', async () => {
    const { out, ...options } = outages();
    const { world, disk } = await threeNights(options);
    const before = (await world.points('vm')).filter(({ instant }) => instant === 'Valid');
    expect(before.length).toBeGreaterThan(0);
    await lose(world);
    out.add(new URL(disk).hostname);
    expect((await rebuild(world)).report).toMatchObject([{ outcome: 'Incomplete' }]);
    expect(inSnapshots(await world.points('vm'))).toEqual([]);
    out.clear();
    expect((await rebuild(world)).job.status).toBe('Completed');
    expect(inSnapshots(await world.points('vm'))).toEqual(inSnapshots(before));
    await world.sweep();
    await areThere(world, before);
  });

  it('brings back no snapshot tier that retention has ended seconds ago, while a listing of before is still about', async () => {
    const before = new Map<string, TaggedSnapshot[]>();
    const { world } = await threeNights({
      wrap: (ports) => ({
        ...ports,
        snapshots: {
          ...ports.snapshots,
          async *list(url, look) {
            yield* (look === undefined ? before.get(url) : undefined) ?? ports.snapshots.list(url, look);
          },
        },
      }),
    });
    const last = (await world.points('vm')).at(-1)!;
    for (const { url } of last.set.disks) before.set(url, await Array.fromAsync(world.ports.snapshots.list(url, {})));
    for (const { url, snapshot } of last.set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
    const partition = `${world.vaults.containerNames()[0]}|${last.itemId}`;
    await world.ports.catalog.points.upsert(partition, last.point, { ...last, instant: 'Deleted' });
    await lose(world, 'items');
    expect((await rebuild(world)).job.status).toBe('Completed');
    expect((await world.points('vm')).at(-1)).toMatchObject({ point: last.point, instant: 'Deleted' });
  });

  it('brings back no snapshot tier that retention ends meanwhile', async () => {
    let onList = async (): Promise<void> => undefined;
    const { world } = await threeNights({
      wrap: (ports) => ({
        ...ports,
        snapshots: {
          ...ports.snapshots,
          async *list(url) {
            yield* ports.snapshots.list(url);
            await onList();
          },
        },
      }),
    });
    const last = (await world.points('vm')).at(-1)!;
    const partition = `${world.vaults.containerNames()[0]}|${last.itemId}`;
    await lose(world, 'items');
    onList = async () => {
      onList = async () => undefined;
      for (const { url, snapshot } of last.set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
      await world.ports.catalog.points.upsert(partition, last.point, { ...last, instant: 'Deleted' });
    };
    expect((await rebuild(world)).job.status).toBe('Completed');
    expect((await world.points('vm')).at(-1)).toMatchObject({ point: last.point, instant: 'Deleted' });
  });
});

it('where there was no room to name all disks that could not be listed, the sweep takes nothing of any', async () => {
  const { world, disk } = await threeNights();
  const { row, etag } = (await world.ports.catalog.items.get(VAULT, KEY))!;
  await world.ports.catalog.items.replace(VAULT, KEY, { ...row, unlistedUrls: [EVERY_DISK] }, etag);
  const tags = { vault: world.vaults.containerNames()[0]!, item: row.itemId, job: 'dead', attempt: '00000000deadbeef' };
  world.clock.advance(1000);
  const { id } = await world.ports.snapshots.take(disk, tags);
  await world.sweep();
  expect(await world.ports.snapshots.sizeOf({ url: disk, id })).toBeDefined();
  expect((await rebuild(world)).job.status).toBe('Completed');
  await world.sweep();
  expect(await world.ports.snapshots.sizeOf({ url: disk, id })).toBeUndefined();
});

describe('while the snapshots of one of two disks cannot be listed', () => {
  async function twoDisks() {
    const { out, ...options } = outages();
    const world = await createWorld(options);
    const disks = await world.createVm('vm', [6 * B, 6 * B]);
    await world.protect('vm');
    for (const disk of disks) await world.disks.write(disk, 0, block(1, 2));
    await world.backup('vm', world.clock.now() + 30 * DAY_MS);
    world.clock.advance(60_000);
    await world.backup('vm', world.clock.now() + 30 * DAY_MS);
    return { world, out, disks };
  }

  it('a sweep takes no half of a set for a leftover', async () => {
    const { world, out, disks } = await twoDisks();
    const before = await world.points('vm');
    await lose(world);
    out.add(new URL(disks[1]!).hostname);
    expect((await rebuild(world)).report).toMatchObject([{ outcome: 'Incomplete' }]);
    await world.sweep();
    await areThere(world, before);
    out.clear();
    expect((await rebuild(world)).job.status).toBe('Completed');
    expect(inSnapshots(await world.points('vm'))).toEqual(inSnapshots(before));
    await world.sweep();
    await areThere(world, before);
  });
});
