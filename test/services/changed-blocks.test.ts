import { beforeEach, describe, expect, it } from 'vitest';
import { CLEARED } from '../../shared/domain/extent.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { itemKey } from '../../shared/services/keys.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { liveManifests, openLayer } from '../support/vault-map.ts';
import { VAULT, type World, createWorld } from '../support/world.ts';

/*
 * What a second backup writes down of what happened to a disk since the first: no block too many, and none too few. A disk of ten
 * blocks in regions of four, all of them written at first.
 */

const B = BLOCK_BYTES;
/** Bytes that differ from block to block and from seed to seed. */
function noise(seed: number, blocks: number): Buffer {
  const bytes = Buffer.allocUnsafe(blocks * B);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * seed + (i >> 7) * 31) & 0xff;
  return bytes;
}

async function start(
  diff: 'exact' | 'lying',
  wrap: (ports: Ports) => Ports = (ports) => ports,
): Promise<{ world: World; disk: string }> {
  const world = await createWorld({ diff, wrap });
  const disk = (await world.createVm('vm', [10 * B]))[0]!;
  await world.protect('vm');
  await world.disks.write(disk, 0, noise(3, 10));
  await backUp(world);
  return { world, disk };
}

async function backUp(world: World): Promise<void> {
  const job = await world.backup('vm');
  expect(job.errors).toEqual([]);
  world.clock.advance(60_000);
}

/** The blocks of the disk that the newest point's own layers have data of, and those that they clear. */
function newest(world: World): { data: number[]; cleared: number[] } {
  const blobs = world.vaults.blobs(world.vaults.containerNames()[0]!);
  const manifest = liveManifests(blobs).at(-1)!;
  const found = { data: [] as number[], cleared: [] as number[] };
  for (const { disk, regions } of manifest.disks) {
    for (const { region, layers } of regions) {
      for (const layer of layers) {
        for (const { start, count, frame } of openLayer(blobs, manifest, disk, region, layer).layer.extents) {
          for (let i = 0; i < count; i++) (frame === CLEARED ? found.cleared : found.data).push(region * 4 + start + i);
        }
      }
    }
  }
  return found;
}

async function vaultOnly(world: World): Promise<void> {
  for (const { set } of await world.points('vm')) {
    for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
  }
}

async function restoresTo(world: World, disk: string): Promise<void> {
  const image = await world.disks.read(disk, { start: 0, end: world.disks.sizeBytes(disk) });
  await vaultOnly(world);
  const { job, disks } = await world.restore('vm', (await world.points('vm')).at(-1)!.point);
  expect(job.errors).toEqual([]);
  expect(Buffer.compare(disks[0]!, image)).toBe(0);
}

const CASES: [string, (world: World, disk: string) => Promise<void>, { data: number[]; cleared: number[] }][] = [
  ['nothing', async () => undefined, { data: [], cleared: [] }],
  [
    'a block written anew',
    async ({ disks }, disk) => disks.write(disk, 5 * B, noise(5, 1)),
    { data: [5], cleared: [] },
  ],
  [
    'a sector in the middle of a block',
    async ({ disks }, disk) => disks.write(disk, 5 * B + 1024, noise(5, 1).subarray(0, 512)),
    { data: [5], cleared: [] },
  ],
  [
    'the same bytes written again',
    async ({ disks }, disk) => disks.write(disk, 5 * B, noise(3, 10).subarray(5 * B, 6 * B)),
    { data: [], cleared: [] },
  ],
  [
    'a block cleared',
    async ({ disks }, disk) => disks.clear(disk, { start: 5 * B, end: 6 * B }),
    { data: [], cleared: [5] },
  ],
  [
    'a whole region cleared',
    async ({ disks }, disk) => disks.clear(disk, { start: 4 * B, end: 8 * B }),
    { data: [], cleared: [4, 5, 6, 7] },
  ],
  [
    'a block cleared in part',
    async ({ disks }, disk) => disks.clear(disk, { start: 5 * B + 512, end: 6 * B }),
    { data: [5], cleared: [] },
  ],
  [
    'the end of one block, all of the next, the start of a third cleared',
    async ({ disks }, disk) => disks.clear(disk, { start: 5 * B - 512, end: 6 * B + 512 }),
    { data: [4, 6], cleared: [5] },
  ],
  [
    'zeros written over a block',
    async ({ disks }, disk) => disks.write(disk, 5 * B, Buffer.alloc(B)),
    { data: [], cleared: [5] },
  ],
  [
    'a block cleared in part and the rest overwritten with zeros',
    async ({ disks }, disk) => {
      await disks.clear(disk, { start: 5 * B, end: 5 * B + 1024 });
      await disks.write(disk, 5 * B + 1024, Buffer.alloc(B - 1024));
    },
    { data: [], cleared: [5] },
  ],
  ['a block shrunk away', async ({ disks }, disk) => disks.resize(disk, 9 * B), { data: [], cleared: [9] }],
  [
    'half of a block shrunk away',
    async ({ disks }, disk) => disks.resize(disk, 9 * B + 1024),
    { data: [9], cleared: [] },
  ],
  [
    'regions shrunk away',
    async ({ disks }, disk) => disks.resize(disk, 2 * B),
    { data: [], cleared: [2, 3, 4, 5, 6, 7, 8, 9] },
  ],
  [
    'a shrink and a growth before anybody looked',
    async ({ disks }, disk) => {
      await disks.resize(disk, 6 * B + 512);
      await disks.resize(disk, 12 * B);
    },
    { data: [6], cleared: [7, 8, 9] },
  ],
];

describe.each(['exact', 'lying'] as const)('with a provider whose diff is %s, a backup writes down', (diff) => {
  let world: World;
  let disk: string;
  beforeEach(async () => {
    ({ world, disk } = await start(diff));
  });

  it.each(CASES)('%s', async (_, change, expected) => {
    await change(world, disk);
    await backUp(world);
    expect(newest(world)).toEqual(expected);
    await restoresTo(world, disk);
  });

  it('of a disk that grows again after a shrink that a point has seen, nothing of what was cut off', async () => {
    await world.disks.resize(disk, 5 * B + 512);
    await backUp(world);
    await world.disks.resize(disk, 10 * B);
    await backUp(world);
    expect(newest(world)).toEqual({ data: [], cleared: [] });
    await restoresTo(world, disk);
  });

  it('a block that becomes again what it was two points ago', async () => {
    await world.disks.write(disk, 5 * B, noise(5, 1));
    await backUp(world);
    await world.disks.write(disk, 5 * B, noise(3, 10).subarray(5 * B, 6 * B));
    await backUp(world);
    expect(newest(world)).toEqual({ data: [5], cleared: [] });
    await restoresTo(world, disk);
  });

  it('a block written with what it had before it was cleared', async () => {
    await world.disks.clear(disk, { start: 5 * B, end: 6 * B });
    await backUp(world);
    await world.disks.write(disk, 5 * B, noise(3, 10).subarray(5 * B, 6 * B));
    await backUp(world);
    expect(newest(world)).toEqual({ data: [5], cleared: [] });
    await restoresTo(world, disk);
  });
});

describe('the source of changes', () => {
  const sources = async (world: World): Promise<string[]> =>
    (await world.backup('vm')).sources.map(({ source }) => source);

  it("is the provider's diff where it can be trusted", async () => {
    expect(await sources((await start('exact')).world)).toEqual(['diff']);
  });
  it('is hashes where the provider answers what it cannot know', async () => {
    expect(await sources((await start('lying')).world)).toEqual(['hashes']);
  });
  it('is hashes where the base snapshot is gone', async () => {
    const { world } = await start('exact');
    await vaultOnly(world);
    expect(await sources(world)).toEqual(['hashes']);
  });
  it.each([
    ['was deleted and made again', 5_000, true, /replaced/],
    ['was overwritten, its snapshots still there', 5_000, false, /replaced/],
    ['was overwritten within the second in which it was made', 0, false, /BlobOverwritten/],
  ])('is hashes where the disk %s', async (_, laterMs, deleted, reason) => {
    const { world, disk } = await start('exact');
    world.clock.advance(laterMs - (laterMs === 0 ? 60_000 : 0));
    if (deleted) await world.disks.delete(disk);
    await world.disks.create(disk, 10 * B);
    world.clock.advance(laterMs === 0 ? 60_000 : 0);
    await world.disks.write(disk, 0, noise(3, 10).subarray(0, 2 * B));
    const job = await world.backup('vm');
    expect(job.errors).toEqual([]);
    expect(job.sources).toMatchObject([{ source: 'hashes', reason: expect.stringMatching(reason) }]);
    expect(newest(world)).toEqual({ data: [], cleared: [2, 3, 4, 5, 6, 7, 8, 9] });
    await restoresTo(world, disk);
  });
  it('becomes hashes where the base snapshot goes while units are under way', async () => {
    const { world, disk } = await start('exact');
    const [first] = await world.points('vm');
    await world.disks.write(disk, 5 * B, noise(5, 1));
    const image = await world.disks.read(disk, { start: 0, end: 10 * B });
    const id = await startBackup(world.ports, VAULT, itemKey('app', 'vm'), { kind: 'onDemand' });
    for (let message = world.queue.take(); message !== undefined; message = world.queue.take()) {
      if (message.step.step === 'transfer-unit') {
        for (const { url, snapshot } of first!.set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
      }
      await runStep(world.ports, message.step);
    }
    await world.drain();
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [], sources: [{ source: 'hashes' }] });
    expect(newest(world)).toEqual({ data: [5], cleared: [] });
    expect(Buffer.compare((await world.restore('vm', job.point!)).disks[0]!, image)).toBe(0);
    await restoresTo(world, disk);
  });
  it('becomes hashes, and says so, where a provider takes back for each region what it answers for the disk', async () => {
    let refusals = 0;
    const { world, disk } = await start('exact', (ports) => ({
      ...ports,
      snapshots: {
        ...ports.snapshots,
        changed(snapshot, since, window) {
          if (window.end - window.start === 10 * B) return ports.snapshots.changed(snapshot, since, window);
          refusals++;
          throw new BackupError('ChangeTrackingUnusable', 'the snapshots cannot be compared there');
        },
      },
    }));
    await world.disks.write(disk, 5 * B, noise(5, 1));
    const { status, errors, attempts, sources } = await world.backup('vm');
    expect({ status, errors }).toEqual({ status: 'Completed', errors: [] });
    expect(sources).toMatchObject([{ source: 'hashes', reason: 'the snapshots cannot be compared there' }]);
    expect([refusals, attempts.length]).toEqual([1, 2]);
    expect(newest(world)).toEqual({ data: [5], cleared: [] });
    await restoresTo(world, disk);
  });
  it('becomes hashes for each of 30 disks, one after another', async () => {
    const world = await createWorld({
      wrap: (ports) => ({
        ...ports,
        snapshots: {
          ...ports.snapshots,
          changed(snapshot, since, window) {
            if (window.end - window.start === 10 * B) return ports.snapshots.changed(snapshot, since, window);
            throw new BackupError('ChangeTrackingUnusable', `${snapshot.url} cannot be compared there`);
          },
        },
      }),
    });
    const disks = await world.createVm(
      'vm',
      Array.from({ length: 30 }, () => 10 * B),
    );
    await world.protect('vm');
    for (const disk of disks) await world.disks.write(disk, 0, noise(1, 1));
    await world.backup('vm');
    world.clock.advance(60_000);
    for (const disk of disks) await world.disks.write(disk, 5 * B, noise(5, 1));
    const { status, errors, sources } = await world.backup('vm');
    expect({ status, errors }).toEqual({ status: 'Completed', errors: [] });
    expect(sources.map(({ source }) => source)).toEqual(disks.map(() => 'hashes'));
  });
  it('fails, after some plans, where a provider refuses for each region to be asked at all', async () => {
    let isStrange = false;
    const strange = (window: { start: number; end: number }): void => {
      if (isStrange && window.end - window.start < 10 * B)
        throw new BackupError('ChangeTrackingUnusable', 'nothing can be said of so little');
    };
    const { world, disk } = await start('exact', (ports) => ({
      ...ports,
      snapshots: {
        ...ports.snapshots,
        changed(snapshot, since, window) {
          strange(window);
          return ports.snapshots.changed(snapshot, since, window);
        },
        allocated(snapshot, window) {
          strange(window);
          return ports.snapshots.allocated(snapshot, window);
        },
      },
    }));
    await world.disks.write(disk, 5 * B, noise(5, 1));
    isStrange = true;
    const { status, errors, attempts } = await world.backup('vm');
    expect({ status, codes: errors.map(({ code }) => code) }).toEqual({
      status: 'CompletedWithWarnings',
      codes: ['ChangeTrackingUnusable'],
    });
    expect(attempts.length).toBeGreaterThan(2);
    expect(attempts.length).toBeLessThanOrEqual(21);
  });
});
