import { expect, it } from 'vitest';
import type { Ports } from '../../shared/services/ports.ts';
import { DAY_MS, createWorld } from '../support/world.ts';
import { EAGER, REGION, noise } from './compact-stage.ts';
import { B, container } from './stage.ts';

it('a pack whose table is damaged keeps its own layer from being compacted, and no others', async () => {
  const world = await createWorld({
    regionBytes: REGION * B,
    wrap: (ports: Ports) => ({
      ...ports,
      settings: { ...ports.settings, compaction: { ...EAGER, leastWasteBytes: 2 ** 20 } },
    }),
  });
  const disk = (await world.createVm('vm', [2 * REGION * B]))[0]!;
  await world.protect('vm');
  const backUp = async (days: number): Promise<string> => {
    const job = await world.backup('vm', world.clock.now() + days * DAY_MS);
    world.clock.advance(60_000);
    return job.point!;
  };
  const writeBoth = async (what: string, blocks: number): Promise<void> => {
    for (const r of [0, 1]) await world.disks.write(disk, r * REGION * B, noise(`${what} ${r}`, blocks));
  };
  await writeBoth('first', REGION);
  const first = await backUp(1);
  await writeBoth('second', 96);
  await backUp(1);
  await writeBoth('third', 32);
  await backUp(60);
  await world.disks.write(disk, 5 * B, noise('little', 1));
  await backUp(90);
  // Of region 0 the pack with most waste has a damaged table, no block is lost; what else is dead there is not worth it alone.
  const blobs = container(world);
  const pack = [...blobs.keys()].find((name) => name.includes(`/${first}/000000.`) && name.endsWith('.pack'))!;
  const body = Buffer.from(blobs.get(pack)!.body);
  body[body.length - 30]! ^= 1;
  blobs.set(pack, { ...blobs.get(pack)!, body });
  world.clock.advance(2 * DAY_MS);
  await world.cleanUp();
  expect((await world.points('vm')).length).toBe(2);
  // Region 1 has been compacted by the cleanup: its old pack is gone.
  expect([...blobs.keys()].filter((name) => name.includes(`/${first}/000001.`) && name.endsWith('.pack'))).toEqual([]);
});
