import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Layout } from '../../shared/domain/layout.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { chainPrefix } from '../../shared/format/names.ts';
import { vaultCosts } from '../../shared/services/costs.ts';
import { assertBilled } from '../support/assert-billed.ts';
import { liveManifests } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';
import { REGION, compact, noise, sparse } from './compact-stage.ts';

const B = BLOCK_BYTES;
const REGION_BLOCKS = 4;

const blobs = (world: World) => world.vaults.blobs(world.vaults.containerNames()[0]!);

async function start(
  sizes: readonly number[],
  regionBlocks = REGION_BLOCKS,
  layout: Partial<Layout> = {},
): Promise<{ world: World; disks: string[] }> {
  const world = await createWorld({ regionBytes: regionBlocks * B, layout });
  const disks = await world.createVm('vm', sizes);
  await world.protect('vm');
  return { world, disks };
}

async function backUp(world: World, days: number): Promise<void> {
  const job = await world.backup('vm', world.clock.now() + days * DAY_MS);
  expect(job).toMatchObject({ status: 'Completed', errors: [] });
  world.clock.advance(60_000);
}

describe('the cost report', () => {
  it('explains a vault without items', async () => {
    const world = await createWorld();
    await assertBilled(world);
    const costs = await vaultCosts(world.ports, VAULT, { listing: false });
    expect(costs).toMatchObject({ items: [], listing: undefined });
    expect(costs.bytes).toBe(costs.vaultDocumentBytes);
    expect(costs.bytes).toBeGreaterThan(0);
  });

  it('gives each block that is stored to one point, the one whose layer it is in', async () => {
    const { world, disks } = await start([12 * B]);
    await world.disks.write(disks[0]!, 0, noise('first', 12));
    await backUp(world, 30);
    await world.disks.write(disks[0]!, 5 * B, noise('second', 2));
    await world.disks.clear(disks[0]!, { start: 9 * B, end: 10 * B });
    await backUp(world, 30);
    await assertBilled(world);
    const [item] = (await vaultCosts(world.ports, VAULT, { listing: false })).items;
    expect(item!.points.map(({ dataBlocks, clearedBlocks }) => [dataBlocks, clearedBlocks])).toEqual([
      [12, 0],
      [2, 1],
    ]);
    const [full, little] = item!.points;
    expect(full!.bytes).toBeGreaterThan(12 * B);
    expect(little!.bytes).toBeLessThan(3 * B);
    const regionsOf = async (point: string) => {
      const { items } = await vaultCosts(world.ports, VAULT, { listing: false, inDetail: point });
      const [disk] = items[0]!.points.find((own) => own.point === point)!.disks;
      expect(disk!.regionCount).toBe(disk!.regions.length);
      return disk!.regions.map(({ region, dataBlocks, clearedBlocks }) => [region, dataBlocks, clearedBlocks]);
    };
    expect(await regionsOf(full!.point)).toEqual([
      [0, 4, 0],
      [1, 4, 0],
      [2, 4, 0],
    ]);
    expect(await regionsOf(little!.point)).toEqual([
      [1, 2, 0],
      [2, 0, 1],
    ]);
  });

  it('is exact when a merge has taken only some of what shares a slab', async () => {
    const { world, disks } = await start([12 * B], REGION_BLOCKS, { thinBytes: 4 * B });
    await world.disks.write(disks[0]!, 0, noise('first', 12));
    await backUp(world, 1);
    await world.disks.write(disks[0]!, 4 * B, noise('second', 4));
    await backUp(world, 30);
    await assertBilled(world);
    world.clock.advance(2 * DAY_MS);
    await world.cleanUp();
    await assertBilled(world);
    const [item] = (await vaultCosts(world.ports, VAULT, { listing: false })).items;
    // The overwritten region lies dead in the first point's slab, and the report says so.
    expect(item!.points).toHaveLength(1);
    expect(item!.points[0]!.wastedBytes).toBeGreaterThanOrEqual(4 * B);
    // When all of its layers are gone the slab goes too, and nothing is dead.
    await world.disks.write(disks[0]!, 0, noise('third', 12));
    await backUp(world, 30);
    world.clock.advance(40 * DAY_MS);
    await world.cleanUp();
    await world.sweep();
    await assertBilled(world);
    const [after] = (await vaultCosts(world.ports, VAULT, { listing: false })).items;
    expect(after!.points[0]!.dataBlocks).toBe(12);
    expect(after!.points[0]!.wastedBytes, 'besides the tables of its packs').toBeLessThan(500);
  });

  it('is exact over folds, packs with dead frames, and compaction', async () => {
    const { world, allow } = await sparse(3);
    await assertBilled(world);
    const wasted = async (): Promise<number> => {
      const [item] = (await vaultCosts(world.ports, VAULT, { listing: false })).items;
      return item!.points.reduce((sum, { wastedBytes }) => sum + wastedBytes, 0);
    };
    const before = await wasted();
    expect(before).toBeGreaterThan(3 * 40 * B);
    allow();
    await compact(world);
    await world.drain();
    await assertBilled(world);
    expect(await wasted()).toBeLessThan(before / 10);
    await world.sweep();
    await assertBilled(world);
  });

  it('says what lies there besides: leftovers of a crash', async () => {
    const { world, disks } = await start([4 * B]);
    await world.disks.write(disks[0]!, 0, noise('first', 4));
    await backUp(world, 30);
    const [{ item, disks: live }] = liveManifests(blobs(world)) as [ReturnType<typeof liveManifests>[number]];
    const folder = `v1/items/${item}/disks/${live[0]!.disk}/00000000000000001`;
    const container = await world.ports.vaults.open(world.vaults.containerNames()[0]!);
    await container.put(`${folder}/000000.0123456789abcdef.01234567.0.pack`, new Uint8Array(1000));
    const costs = await vaultCosts(world.ports, VAULT, { listing: true });
    expect(costs.listing).toMatchObject({ unexplainedBytes: 1000 });
    await world.sweep();
    await assertBilled(world);
  });

  it('is of one record, though a merge deletes manifests while it is made', async () => {
    const { world, disks } = await start([8 * B]);
    await world.disks.write(disks[0]!, 0, noise('first', 8));
    await backUp(world, 1);
    await world.disks.write(disks[0]!, 0, noise('second', 4));
    await backUp(world, 30);
    world.clock.advance(2 * DAY_MS);
    const { ports } = world;
    let reads = 0;
    const open: typeof ports.vaults.open = async (name) => {
      const real = await ports.vaults.open(name);
      return {
        ...real,
        async readWhole(blob) {
          if (blob.includes('/points/') && reads++ === 0) await world.cleanUp();
          return real.readWhole(blob);
        },
      };
    };
    const costs = await vaultCosts({ ...ports, vaults: { ...ports.vaults, open } }, VAULT, { listing: true });
    expect(costs.items[0]!.points).toHaveLength(1);
    expect(costs.listing).toMatchObject({ unexplainedBytes: 0 });
  });

  it.each(['damaged', 'gone'])(
    'says which point it cannot count, whose manifest is %s, and counts the others',
    async (how) => {
      const { world, disks } = await start([4 * B]);
      await world.disks.write(disks[0]!, 0, noise('first', 4));
      await backUp(world, 30);
      await world.disks.write(disks[0]!, 0, noise('second', 2));
      await backUp(world, 30);
      const before = await vaultCosts(world.ports, VAULT, { listing: true });
      const [lost, kept] = before.items[0]!.points;
      const name = [...blobs(world).keys()].find((each) => each.includes(`/points/${lost!.point}`))!;
      if (how === 'gone') blobs(world).delete(name);
      else blobs(world).get(name)!.body[150]! ^= 1;
      const costs = await vaultCosts(world.ports, VAULT, { listing: true });
      const [item] = costs.items;
      expect(item!.points).toEqual([kept]);
      const manifestBytes = how === 'gone' ? 0 : lost!.manifestBytes;
      const code = how === 'gone' ? 'VaultObjectMissing' : 'DocumentCorrupt';
      expect(item!.uncounted).toMatchObject([{ point: lost!.point, code, manifestBytes }]);
      // What cannot be counted is all that is not explained.
      expect(costs.listing!.unexplainedBytes).toBe(lost!.bytes - lost!.manifestBytes);
    },
  );

  it.each(['damaged', 'gone'])(
    'says which item it cannot count, whose newest record is %s, and counts the others',
    async (how) => {
      const { world, disks } = await start([4 * B]);
      await world.disks.write(disks[0]!, 0, noise('first', 4));
      await backUp(world, 30);
      const [other] = await world.createVm('web', [4 * B]);
      await world.protect('web');
      await world.disks.write(other!, 0, noise('second', 4));
      expect(await world.backup('web')).toMatchObject({ status: 'Completed' });
      const before = await vaultCosts(world.ports, VAULT, { listing: true });
      const [kept, lost] = ['vm', 'web'].map((vm) => before.items.find(({ vmName }) => vmName === vm)!);
      for (const [name, blob] of blobs(world)) {
        if (!name.startsWith(chainPrefix(lost!.item))) continue;
        if (how === 'gone') blobs(world).delete(name);
        else blob.body[20]! ^= 1;
      }
      const costs = await vaultCosts(world.ports, VAULT, { listing: true });
      expect(costs.items).toEqual([kept]);
      const code = how === 'gone' ? 'VaultObjectMissing' : 'DocumentCorrupt';
      expect(costs.uncounted).toMatchObject([{ item: lost!.item, vmName: 'web', code }]);
      const ofPoints = lost!.points.reduce((sum, { bytes, manifestBytes }) => sum + bytes - manifestBytes, 0);
      const gone = how === 'gone' ? lost!.chainBytes : 0;
      expect(costs.uncounted[0]!.documentBytes).toBe(lost!.bytes - ofPoints - gone);
      expect(costs.listing!.unexplainedBytes).toBe(ofPoints);
      expect(costs.bytes).toBe(before.bytes - ofPoints - gone);
    },
  );
});

/** What happens to the disks of one VM between two quiet moments. */
const action = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      at: fc.nat(),
      blocks: fc.integer({ min: 1, max: 9 }),
      seed: fc.nat(99),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('clear' as const), at: fc.nat(), blocks: fc.integer({ min: 1, max: 9 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('resize' as const), blocks: fc.integer({ min: 6, max: 40 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('back up' as const), days: fc.constantFrom(1, 3, 9, 60) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('clean up' as const), days: fc.constantFrom(1, 4) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sweep' as const) }) },
);

it('every stored byte is billed once at any quiet moment: backups, resizes, merges, folds, sweeps', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(4, REGION),
      fc.record({
        thinBytes: fc.constantFrom(-1, B, 4 * B, 64 * B),
        foldRatio: fc.constantFrom(1, 64),
        checkpointDepth: fc.constantFrom(1, 3),
      }),
      fc.array(action, { minLength: 8, maxLength: 24 }),
      async (regionBlocks, layout, actions) => {
        const { world, disks } = await start([24 * B, 10 * B], regionBlocks, layout);
        const [disk, other] = disks as [string, string];
        await world.disks.write(disk, 0, noise('disk', 24));
        await world.disks.write(other, 2 * B, noise('other', 3));
        for (const each of actions) {
          const blocks = Math.floor(world.disks.sizeBytes(disk) / B);
          if (each.do === 'write' || each.do === 'clear') {
            const start = each.at % blocks;
            const count = Math.min(each.blocks, blocks - start);
            if (each.do === 'write') await world.disks.write(disk, start * B, noise(each.seed, count));
            else await world.disks.clear(disk, { start: start * B, end: (start + count) * B });
          } else if (each.do === 'resize') {
            await world.disks.resize(disk, each.blocks * B);
          } else if (each.do === 'back up') {
            await backUp(world, each.days);
            await assertBilled(world);
          } else if (each.do === 'clean up') {
            world.clock.advance(each.days * DAY_MS);
            await world.cleanUp();
            await assertBilled(world);
          } else await world.sweep();
        }
        await backUp(world, 60);
        world.clock.advance(30 * DAY_MS);
        await world.cleanUp();
        await world.sweep();
        await assertBilled(world);
      },
    ),
    { numRuns: 40 },
  );
});
