import { describe, expect, it } from 'vitest';
import { listedRanges } from '../../shared/disk/page-blob-ranges.ts';
import { BLOCK_BYTES, REGION_BYTES, SECTOR_BYTES } from '../../shared/domain/units.ts';
import { itemKey } from '../../shared/services/keys.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { startRestore } from '../../shared/services/restore.ts';
import { VAULT, type World, createWorld } from '../support/world.ts';

/*
 * Where others have lost data with page ranges, each trap by its name. Changes are made on a disk in memory, backed up by the diff, and
 * restored from the vault alone.
 */

const B = BLOCK_BYTES;
const GIB = REGION_BYTES;
const KEY = itemKey('app', 'vm');

/** Bytes that are like those of no other place. */
function noise(seed: number, bytes: number): Buffer {
  const body = Buffer.allocUnsafe(bytes);
  for (let i = 0; i < bytes; i++) body[i] = (i * 31 + (i >> 9) * seed + seed) & 0xff;
  return body;
}

async function start(
  sizeBytes: number,
  options: Parameters<typeof createWorld>[0] = {},
): Promise<{ world: World; disk: string }> {
  const world = await createWorld(options);
  const disk = (await world.createVm('vm', [sizeBytes]))[0]!;
  await world.protect('vm');
  return { world, disk };
}

async function backUp(world: World, source: 'full' | 'diff' | 'hashes'): Promise<void> {
  const job = await world.backup('vm');
  expect(job).toMatchObject({ status: 'Completed', errors: [], sources: [{ source }] });
  world.clock.advance(60_000);
}

async function vaultOnly(world: World): Promise<void> {
  for (const { set } of await world.points('vm'))
    for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
}

/** The newest point restores, from the vault, to what the disk is now. */
async function isExact(world: World, disk: string): Promise<void> {
  const image = await world.disks.read(disk, { start: 0, end: world.disks.sizeBytes(disk) });
  await vaultOnly(world);
  const { job, disks } = await world.restore('vm', (await world.points('vm')).at(-1)!.point);
  expect(job.errors).toEqual([]);
  expect(disks[0]!.length).toBe(image.length);
  expect(Buffer.compare(disks[0]!, image)).toBe(0);
}

describe('trap', () => {
  it('sub-offset without base: what is read of a later region, from its middle on, is what lies there', async () => {
    const { world, disk } = await start(20 * B, { layout: { thinBytes: -1 } });
    await world.disks.write(disk, 0, noise(3, 20 * B));
    await backUp(world, 'full');
    await world.disks.write(disk, 9 * B + SECTOR_BYTES, noise(5, SECTOR_BYTES));
    await world.disks.write(disk, 14 * B, noise(7, 3 * B)); // over the end of a region
    await backUp(world, 'diff');
    await isExact(world, disk);
  });

  it('inclusive end: the last byte of a range belongs to it, and the last sector before a border is not lost', async () => {
    const ranges = await Array.fromAsync(
      listedRanges({ start: 0, end: 4096 }, async () => ({
        pageRange: [{ start: 0, end: 511 }],
        clearRange: [{ start: 3584, end: 4095 }],
      })),
    );
    expect(ranges).toEqual([
      { kind: 'data', start: 0, end: 512 },
      { kind: 'cleared', start: 3584, end: 4096 },
    ]);
    const { world, disk } = await start(8 * B + SECTOR_BYTES);
    await world.disks.write(disk, 0, noise(3, 8 * B + SECTOR_BYTES));
    await backUp(world, 'full');
    await world.disks.write(disk, B - SECTOR_BYTES, noise(5, SECTOR_BYTES)); // the end of a block
    await world.disks.write(disk, 4 * B - SECTOR_BYTES, noise(7, SECTOR_BYTES)); // of a region
    await world.disks.write(disk, 8 * B, noise(9, SECTOR_BYTES)); // of the disk
    await backUp(world, 'diff');
    await isExact(world, disk);
  });

  it.each([
    ['no point between', false],
    ['a point between', true],
  ])('shrink then grow: what was cut off does not come back, with %s', async (_, isSeen) => {
    const { world, disk } = await start(10 * B);
    await world.disks.write(disk, 0, noise(3, 10 * B));
    await backUp(world, 'full');
    await world.disks.resize(disk, 5 * B + 2 * SECTOR_BYTES);
    if (isSeen) await backUp(world, 'diff');
    await world.disks.resize(disk, 12 * B);
    await world.disks.write(disk, 11 * B, noise(5, B));
    await backUp(world, 'diff');
    await isExact(world, disk);
  });

  it('resize across 4 TB: what lies behind is backed up and restored, what lay before stays', async () => {
    const far = 4096 * GIB;
    const { world, disk } = await start(far - GIB, { regionBytes: GIB });
    await world.disks.write(disk, 5 * GIB + B, noise(3, B));
    await world.disks.write(disk, far - GIB - B, noise(5, B));
    await backUp(world, 'full');
    await world.disks.resize(disk, far + 2 * GIB);
    await world.disks.write(disk, far - SECTOR_BYTES, noise(7, 2 * SECTOR_BYTES));
    await world.disks.write(disk, far + 2 * GIB - B, noise(9, B));
    await backUp(world, 'diff');
    await vaultOnly(world);
    const { point } = (await world.points('vm')).at(-1)!;
    const id = await startRestore(world.ports, VAULT, KEY, point, { accountId: '/x/restored' });
    await world.drain();
    const job = await world.job(id);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    const restored = world.disks
      .urls()
      .find((url) => url.startsWith(`${job.restore!.containerUrl}/`) && url.endsWith('.vhd'))!;
    expect(world.disks.sizeBytes(restored)).toBe(far + 2 * GIB);
    for (const start of [0, 5 * GIB, far - GIB - 2 * B, far - 2 * B, far + B, far + 2 * GIB - 2 * B]) {
      const range = { start, end: Math.min(start + 4 * B, far + 2 * GIB) };
      const [own, wanted] = [await world.disks.read(restored, range), await world.disks.read(disk, range)];
      expect(Buffer.compare(own, wanted), `from ${start}`).toBe(0);
    }
  });

  it('blob recreated with the same name: it is another disk, and nothing of the old one shows through', async () => {
    const { world, disk } = await start(10 * B);
    await world.disks.write(disk, 0, noise(3, 10 * B));
    await backUp(world, 'full');
    await world.disks.delete(disk);
    await world.disks.create(disk, 10 * B);
    await world.disks.write(disk, 2 * B, noise(3, 10 * B).subarray(2 * B, 3 * B));
    await world.disks.write(disk, 7 * B, noise(5, B));
    await backUp(world, 'hashes');
    await isExact(world, disk);
  });

  /** Ports that lose a snapshot right after a region's changes have been told to a unit, before it reads. */
  const losing =
    (which: 'this' | 'the earlier') =>
    (ports: Ports): Ports => {
      let listings = 0;
      return {
        ...ports,
        snapshots: {
          ...ports.snapshots,
          async *changed(snapshot, since, window) {
            yield* ports.snapshots.changed(snapshot, since, window);
            listings += 1;
            // The first listing was the plan's.
            if (listings === 2) await ports.snapshots.remove(which === 'this' ? snapshot : since);
          },
        },
      };
    };

  it('snapshot deleted between diff and read: the job says so, and the next point is exact', async () => {
    const { world, disk } = await start(10 * B, { wrapHandlers: losing('this') });
    await world.disks.write(disk, 0, noise(3, 10 * B));
    await backUp(world, 'full');
    const before = (await world.points('vm')).map(({ point }) => point);
    await world.disks.write(disk, 2 * B, noise(5, 2 * B));
    const job = await world.backup('vm');
    // The snapshot was taken, so that much has been done; the point never gets into the vault.
    expect(job).toMatchObject({ status: 'CompletedWithWarnings', errors: [{ code: 'UserErrorInstantRpNotFound' }] });
    const record = await (await world.chain('vm')).newest();
    expect(record.points.map(({ point }) => point)).toEqual(before);
    world.clock.advance(60_000);
    await world.disks.write(disk, 3 * B, noise(7, B));
    await backUp(world, 'diff');
    await isExact(world, disk);
  });

  it('earlier snapshot deleted between diff and read: what was told is enough, and what was not goes by hashes', async () => {
    const { world, disk } = await start(10 * B, { wrapHandlers: losing('the earlier'), layout: { thinBytes: -1 } });
    await world.disks.write(disk, 0, noise(3, 10 * B));
    await backUp(world, 'full');
    await world.disks.write(disk, 2 * B, noise(5, B));
    await world.disks.write(disk, 6 * B, noise(7, B));
    await backUp(world, 'hashes'); // one unit had been told, the other asks after it
    await isExact(world, disk);
  });

  it('more ranges than a page of the listing holds: 25,000 in one region are all told and all kept', async () => {
    const { world, disk } = await start(32 * 1024 * 1024, { regionBytes: 64 * 1024 * 1024 });
    await world.disks.write(disk, 0, noise(3, 32 * 1024 * 1024));
    await backUp(world, 'full');
    const ranges = 25_000;
    for (let i = 0; i < ranges; i++) await world.disks.write(disk, i * 2 * SECTOR_BYTES, noise(i + 5, SECTOR_BYTES));
    const job = await world.backup('vm');
    const blocks = Math.ceil((ranges * 2 * SECTOR_BYTES) / B);
    const reads = Math.ceil((blocks * B) / (8 * 1024 * 1024)) + 1;
    expect(job).toMatchObject({ status: 'Completed', sources: [{ source: 'diff' }], errors: [] });
    const [churn] = job.churn!;
    expect(churn).toMatchObject({ changedBytes: blocks * B, missedBytes: 0 });
    // Three pages of the listing, one of the audit's, and the reads.
    expect(churn!.requests).toBeGreaterThanOrEqual(3 + 1 + 1);
    expect(churn!.requests).toBeLessThanOrEqual(3 + 1 + reads);
    world.clock.advance(60_000);
    await isExact(world, disk);
  });
});
