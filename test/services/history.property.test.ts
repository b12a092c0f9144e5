import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { BLOCK_BYTES, SECTOR_BYTES } from '../../shared/domain/units.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { DAY_MS, type World, createWorld } from '../support/world.ts';

/*
 * Random lives of one disk against a plain model: the bytes as they were at each backup. Whatever was written, cleared, cut off,
 * grown, expired and merged, and however changed blocks were found, every point that is left restores to its bytes.
 */

const MOST_BLOCKS = 14;

type Action =
  | { do: 'write'; at: number; sectors: number; fill: number }
  | { do: 'clear'; at: number; sectors: number }
  | { do: 'resize'; sectors: number }
  | { do: 'backup'; keepDays: number }
  | { do: 'loseSnapshots' }
  | { do: 'days'; days: number };

const sectorsPerBlock = BLOCK_BYTES / SECTOR_BYTES;
const sector = fc.nat({ max: MOST_BLOCKS * sectorsPerBlock - 1 });
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      at: sector,
      sectors: fc.integer({ min: 1, max: 80 }),
      fill: fc.nat({ max: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('clear' as const), at: sector, sectors: fc.integer({ min: 1, max: 120 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('resize' as const),
      sectors: fc.integer({ min: 1, max: MOST_BLOCKS * sectorsPerBlock }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('backup' as const), keepDays: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('loseSnapshots' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('days' as const), days: fc.integer({ min: 1, max: 4 }) }) },
);

async function perform(world: World, url: string, images: Map<PointId, Uint8Array>, step: Action): Promise<void> {
  const size = world.disks.sizeBytes(url);
  const range = (at: number, sectors: number): { start: number; end: number } => ({
    start: Math.min(at * SECTOR_BYTES, size),
    end: Math.min((at + sectors) * SECTOR_BYTES, size),
  });
  switch (step.do) {
    case 'write': {
      const { start, end } = range(step.at, step.sectors);
      if (start < end) await world.disks.write(url, start, Buffer.alloc(end - start, step.fill));
      return;
    }
    case 'clear': {
      const cleared = range(step.at, step.sectors);
      if (cleared.start < cleared.end) await world.disks.clear(url, cleared);
      return;
    }
    case 'resize':
      return world.disks.resize(url, step.sectors * SECTOR_BYTES);
    case 'backup': {
      const image = await world.disks.read(url, { start: 0, end: size });
      const job = await world.backup('vm', world.clock.now() + step.keepDays * DAY_MS);
      expect(job.errors).toEqual([]);
      images.set(job.point!, image);
      world.clock.advance(60_000);
      return;
    }
    case 'loseSnapshots':
      for await (const snapshot of world.ports.snapshots.list(url)) await world.ports.snapshots.remove(snapshot);
      return;
    case 'days':
      world.clock.advance(step.days * DAY_MS);
      return world.cleanUp();
  }
}

async function check(world: World, images: Map<PointId, Uint8Array>): Promise<void> {
  const points = await world.points('vm');
  const newest = [...images.keys()].sort().at(-1);
  if (newest !== undefined) expect(points.at(-1)?.point).toBe(newest);
  for (const { point, set, instant } of points) {
    if (instant === 'Valid')
      for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
    const { job, disks } = await world.restore('vm', point);
    expect(job.errors).toEqual([]);
    expect(Buffer.compare(disks[0]!, images.get(point)!)).toBe(0);
  }
}

for (const diff of ['exact', 'lying'] as const) {
  it(`every surviving point restores exactly, with a provider whose diff is ${diff}`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 4, maxLength: 30 }), async (steps) => {
        const world = await createWorld({ diff });
        const [url] = await world.createVm('vm', [8 * BLOCK_BYTES]);
        await world.protect('vm');
        const images = new Map<PointId, Uint8Array>();
        for (const step of steps) await perform(world, url!, images, step);
        await check(world, images);
      }),
      { numRuns: 150 },
    );
  });
}
