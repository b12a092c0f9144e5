import { expect, it } from 'vitest';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { DAY_MS } from '../support/world.ts';
import { B, block, container, letPass, live, stage, start, until } from './stage.ts';

it('damage in a stack that a merge has moved since the plan is healed by the next plan', async () => {
  const { world, disk, backUp } = await stage({
    layout: { thinBytes: -1 },
    regionBytes: 8 * B,
    onFailure: () => undefined,
  });
  await world.disks.write(disk, 0, block(1, 5));
  const first = await backUp(2);
  await world.disks.write(disk, B, block(2, 2));
  await backUp(30);
  await world.disks.write(disk, 3 * B, block(3));
  const third = await backUp(30);
  world.clock.advance(3 * DAY_MS);
  await world.disks.write(disk, 4 * B, block(4));
  const id = await start(world);
  const unit = await until(world, 'transfer-unit');
  await cleanUp(world.ports);
  await letPass(world, 30_000);
  expect(live(world)).not.toContain(first);
  const blobs = container(world);
  const name = [...blobs.keys()].find((each) => each.endsWith('.layer') && each.includes(`/${third}/`))!;
  const body = Buffer.from(blobs.get(name)!.body);
  body[100]! ^= 1;
  blobs.set(name, { ...blobs.get(name)!, body });
  await runStep(world.ports, unit.step).catch(() => world.queue.putBack(unit, 1));
  await world.drain();
  expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
});
