import { describe, expect, it } from 'vitest';
import type { DiskSelection } from '../../shared/domain/disk-selection.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { protect } from '../../shared/services/protection.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { collect } from '../support/collect.ts';
import { leftovers } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';
import { lose, rebuild } from './rebuild-stage.ts';
import { B, KEY, block, container, start, until, vaultOnly } from './stage.ts';

/* Disks that are left out of the backup by LUN, and come back. */

async function threeDisks(): Promise<{ world: World; disks: string[] }> {
  const world = await createWorld();
  const disks = await world.createVm('vm', [2 * B, 4 * B, 4 * B]);
  await world.protect('vm');
  for (const [i, disk] of disks.entries()) await world.disks.write(disk, 0, block(i + 1));
  return { world, disks };
}

const itemOf = async (world: World) => (await world.ports.catalog.items.get(VAULT, KEY))!.row;

async function select(world: World, selection: DiskSelection | 'all' | undefined, policy = 'nightly'): Promise<void> {
  const { vmResourceId: resourceId } = await itemOf(world);
  await protect(world.ports, VAULT, { resourceId, resourceGroup: 'app', vmName: 'vm' }, policy, selection);
}

/** Backs up; resolves the point and the names of what it has and lacks. */
async function backUp(world: World) {
  const job = await world.backup('vm', world.clock.now() + 30 * DAY_MS);
  expect(job).toMatchObject({ status: 'Completed', errors: [] });
  world.clock.advance(60_000);
  const names = (of: readonly { name: string }[]): string[] => of.map(({ name }) => name);
  return { job, point: job.point!, has: names(job.set!.disks), lacks: names(job.set!.lacking) };
}

const bytesOf = (world: World, url: string): Promise<Uint8Array> =>
  world.disks.read(url, { start: 0, end: world.disks.sizeBytes(url) });

async function restoresTo(world: World, point: PointId, images: readonly Uint8Array[]): Promise<void> {
  const { job, disks } = await world.restore('vm', point);
  expect(job.errors).toEqual([]);
  expect(disks.map((disk, i) => Buffer.compare(disk, images[i]!))).toEqual(images.map(() => 0));
}

describe('which disks are backed up', () => {
  const cases: [string, DiskSelection | 'all', string[], string[]][] = [
    ['all but those of an exclusion list', { luns: [0], isInclusion: false }, ['vm-0', 'vm-2'], ['vm-1']],
    [
      'those of an inclusion list alone, with the OS disk',
      { luns: [1], isInclusion: true },
      ['vm-0', 'vm-2'],
      ['vm-1'],
    ],
    ['the OS disk alone', { luns: [], isInclusion: true }, ['vm-0'], ['vm-1', 'vm-2']],
    ['all, where nothing is excluded', { luns: [], isInclusion: false }, ['vm-0', 'vm-1', 'vm-2'], []],
    ['all, where the LUN is not there', { luns: [9], isInclusion: false }, ['vm-0', 'vm-1', 'vm-2'], []],
    ['all, when the selection is taken back', 'all', ['vm-0', 'vm-1', 'vm-2'], []],
  ];
  it.each(cases)('%s', async (_, selection, has, lacks) => {
    const { world, disks } = await threeDisks();
    await select(world, selection);
    const night = await backUp(world);
    expect(night).toMatchObject({ has, lacks });
    expect((await world.points('vm'))[0]!.set.lacking.map(({ name }) => name)).toEqual(lacks);
    const manifests = [...container(world)].filter(([name]) => name.includes('/points/'));
    expect(JSON.parse(Buffer.from(manifests[0]![1].body).toString())).toMatchObject({
      lacking: lacks.map((name) => ({ lun: Number(name.at(-1)) - 1, name })),
    });
    const bag = lacks.length === 0 ? undefined : lacks.join('; ');
    expect(night.job.bag['Excluded disk(s)']).toBe(bag);
    for (const [i, url] of disks.entries())
      expect(await collect(world.ports.snapshots.list(url))).toHaveLength(lacks.includes(`vm-${i}`) ? 0 : 1);
  });

  it('stays as it is when the policy changes, and while protection is stopped', async () => {
    const { world } = await threeDisks();
    const selection = { luns: [0], isInclusion: false };
    await select(world, selection);
    await select(world, undefined);
    expect((await itemOf(world)).diskSelection).toEqual(selection);
    const { row, etag } = (await world.ports.catalog.items.get(VAULT, KEY))!;
    await world.ports.catalog.items.replace(
      VAULT,
      KEY,
      { ...row, protectionState: 'ProtectionStopped', policyName: '' },
      etag,
    );
    await select(world, undefined);
    expect(await itemOf(world)).toMatchObject({ diskSelection: selection, protectionState: 'Protected' });
    await select(world, 'all');
    expect((await itemOf(world)).diskSelection).toBeUndefined();
  });

  it('a disk that is left out may be of a kind that cannot be backed up', async () => {
    const { world } = await threeDisks();
    const vm = (await world.compute.virtualMachine((await itemOf(world)).vmResourceId))!;
    const odd = {
      lun: 5,
      name: 'odd',
      vhdUrl: 'https://disks0.example/vhds/nobody-has-it.vhd',
      managedDiskId: undefined,
    };
    world.compute.put({ ...vm, disks: [...vm.disks, odd] });
    await select(world, { luns: [5], isInclusion: false });
    expect(await backUp(world)).toMatchObject({ lacks: ['odd'] });
  });
});

describe('a disk that was left out and comes back', () => {
  it('goes on where it was: only what has changed since is stored, and all points restore exactly', async () => {
    const { world, disks } = await threeDisks();
    const images: [PointId, Uint8Array[]][] = [];
    const night = async (kept: readonly number[]): Promise<Awaited<ReturnType<typeof backUp>>> => {
      const bytes = await Promise.all(kept.map((i) => bytesOf(world, disks[i]!)));
      const done = await backUp(world);
      images.push([done.point, bytes]);
      return done;
    };
    await night([0, 1, 2]);
    await select(world, { luns: [0], isInclusion: false });
    await world.disks.write(disks[1]!, B, block(7));
    await night([0, 2]);
    world.clock.advance(3 * DAY_MS);
    await world.cleanUp(); // the snapshot that a diff could have started at goes
    await select(world, 'all');
    const back = await night([0, 1, 2]);
    expect(back.job.sources.map(({ source }) => source)).toEqual(['diff', 'hashes', 'diff']);
    const [last] = (await world.points('vm')).filter(({ point }) => point === back.point);
    expect(last!.dataBlocks).toBe(1);
    await vaultOnly(world);
    for (const [point, bytes] of images) await restoresTo(world, point, bytes);
    world.clock.advance(400 * DAY_MS);
    await world.cleanUp();
    await world.sweep();
    expect(leftovers(container(world))).toEqual([]);
    await restoresTo(world, back.point, images.at(-1)![1]);
  });

  it.each(['page blob', 'managed disk'])(
    'is not taken for gone, a %s: another in its old LUN is a new one',
    async (kind) => {
      const { world, disks } = await threeDisks();
      if (kind === 'managed disk') {
        disks[1] = '/subscriptions/sub/resourcegroups/app/providers/microsoft.compute/disks/data';
        await world.disks.create(disks[1], 4 * B);
        const made = (await world.compute.virtualMachine((await itemOf(world)).vmResourceId))!;
        const [system, , last] = made.disks;
        const managed = { ...made.disks[1]!, vhdUrl: undefined, managedDiskId: disks[1] };
        world.compute.put({ ...made, disks: [system!, managed, last!] });
      }
      await backUp(world);
      const vm = (await world.compute.virtualMachine((await itemOf(world)).vmResourceId))!;
      const fresh = 'https://disks0.example/vhds/fresh.vhd';
      await world.disks.create(fresh, 4 * B);
      const [os, data, more] = vm.disks;
      // The excluded disk moves to LUN 7, and a new one takes its place.
      world.compute.put({
        ...vm,
        disks: [os!, { ...data!, lun: 7 }, more!, { lun: 0, name: 'fresh', vhdUrl: fresh, managedDiskId: undefined }],
      });
      await select(world, { luns: [7], isInclusion: false });
      const before = (await itemOf(world)).disks.find(({ url }) => url === disks[1])!.disk;
      await backUp(world);
      const known = (await itemOf(world)).disks;
      expect(known.find(({ url }) => url === fresh)!.disk).not.toBe(before);
      expect(known.find(({ url }) => url === disks[1])!.disk).toBe(before);
      await select(world, 'all');
      const { job } = await backUp(world);
      expect(job.sources.find(({ lun }) => lun === 7)!.source).not.toBe('full');
    },
  );
});

describe('a restore', () => {
  it('of a disk that the point lacks says so, and of the others goes on', async () => {
    const { world, disks } = await threeDisks();
    await select(world, { luns: [0], isInclusion: false });
    const { point } = await backUp(world);
    const ask = (luns: number[]) => startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored', luns });
    await expect(ask([0])).rejects.toMatchObject({
      code: 'UserErrorInvalidRestoreRequest',
      message: expect.stringMatching(/disk vm-1 \(LUN 0\).*excluded/),
    });
    await expect(ask([4])).rejects.toThrow('has no disk with LUN 4');
    await ask([1]);
    await world.drain();
    await restoresTo(world, point, [await bytesOf(world, disks[0]!), await bytesOf(world, disks[2]!)]);
  });
});

describe('a rebuild', () => {
  it('knows what the points lack, those of the snapshot tier too, and leaves it out from then on', async () => {
    const { world } = await threeDisks();
    await select(world, { luns: [], isInclusion: true });
    await backUp(world);
    await start(world);
    await until(world, 'plan-transfer');
    await lose(world, 'items', 'points', 'jobs', 'openJobs');
    await rebuild(world);
    const lacking = (await world.points('vm')).map(({ set }) => set.lacking);
    expect(lacking).toEqual([
      [
        { lun: 0, name: 'vm-1' },
        { lun: 1, name: 'vm-2' },
      ],
      [
        { lun: 0, name: '' },
        { lun: 1, name: '' },
      ],
    ]);
    expect((await itemOf(world)).diskSelection).toEqual({ luns: [0, 1], isInclusion: false });
    await world.protect('vm');
    expect(await backUp(world)).toMatchObject({ has: ['vm-0'] });
  });
});
