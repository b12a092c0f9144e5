import { expect, it } from 'vitest';
import { z } from 'zod';
import { reclaimPlan } from '../../shared/format/documents.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { putBy } from '../support/put-by.ts';
import { fallAsleep } from '../support/sleeper.ts';
import { parted, partsOf, planNames } from './parts-stage.ts';
import { Chain } from '../../shared/services/chain.ts';
import { readPlan } from '../../shared/services/plans.ts';
import { planReclaim } from '../../shared/services/reclaim.ts';
import { leftovers, newestRecord } from '../support/vault-map.ts';
import { DAY_MS } from '../support/world.ts';
import { B, block, container, stage, until } from './stage.ts';

it('a reclaim that is planned late, after later merges and their deletes, lists nothing that lives', async () => {
  const { world, disk, backUp } = await stage({ layout: { thinBytes: -1 } });
  for (const [i, days] of [2, 4, 30].entries()) {
    await world.disks.write(disk, 0, block(i + 1));
    await world.disks.write(disk, (i + 1) * B, block(7));
    await backUp(days);
  }
  const blobs = container(world);
  const { item, seq } = newestRecord(blobs);
  const vault = await world.ports.vaults.open(world.vaults.containerNames()[0]!);
  const before = new Map(blobs);
  for (const days of [3, 2]) {
    world.clock.advance(days * DAY_MS);
    await world.cleanUp();
  }
  // The first merge's replaced manifests come back, as if its deletes were still to be done; its own manifest a later merge has replaced.
  const merge = await new Chain(vault, item).record(seq + 1);
  expect(merge.kind).toBe('merge');
  for (const [name, blob] of before) if (!blobs.has(name) && !name.includes('/plans/')) blobs.set(name, blob);
  const live = newestRecord(blobs);
  const plan = { item, attempt: merge.attempt, job: merge.job!, seq, units: [] };
  const attempt = 'ffffffffffffffff' as typeof merge.attempt;
  const commit = { plan, schema: z.custom<typeof plan>(), objects: () => [] };
  await planReclaim(vault, world.ports.settings.layout, commit, attempt);
  const { units } = await readPlan(vault, item, attempt, reclaimPlan);
  expect(units.filter((name) => name.endsWith('.pack') || name.endsWith('.layer'))).toEqual([]);
  for (const { manifest } of live.points) expect(units).not.toContain(manifest);
});

it('a reclaim that was killed as it deleted the parts of its plan is done when it comes again', async () => {
  const { world, disk, backUp } = await stage(parted());
  await world.disks.write(disk, 0, block(1, 6));
  await backUp(2);
  await world.disks.write(disk, 0, block(2, 6));
  await backUp(30);
  world.clock.advance(3 * DAY_MS);
  await cleanUp(world.ports);
  const { step } = await until(world, 'reclaim');
  if (step.step !== 'reclaim') throw new Error('another step');
  const dying = await fallAsleep(
    world.ports,
    (ports) => runStep(ports, step),
    ({ moment, call, name }) =>
      moment === 'after' && call === 'vault.delete' && name.endsWith(`${step.attempt}.000001.json`),
  );
  await dying.die();
  expect(dying.asleep).toBe(true);
  expect(planNames(world)).not.toEqual([]);
  // Another process, which has read no plan yet.
  const fresh = putBy(world.ports, (real, ...write) => real.put(...write));
  await runStep(fresh, step);
  expect(planNames(world)).toEqual([]);
  expect(leftovers(container(world))).toEqual([]);
});

it.each(['part', 'manifest'])(
  'a merge whose expired point has a damaged %s is followed by its reclaim',
  async (what) => {
    const { world, disk, backUp } = await stage(parted());
    await world.disks.write(disk, 0, block(1, 6));
    await backUp(2);
    const blobs = container(world);
    const { manifest } = newestRecord(blobs).points[0]!;
    blobs.set(what === 'part' ? partsOf(world)[0]![1]!.name : manifest, { summary: {}, body: Buffer.from('{}') });
    await world.disks.write(disk, 2 * B, block(3));
    await backUp(90); // begins anew
    world.clock.advance(4 * DAY_MS);
    await world.cleanUp();
    // The plans and the manifest go at once, and what only the damaged document knew with the sweep.
    expect(planNames(world)).toEqual([]);
    expect(blobs.has(manifest)).toBe(false);
    await world.sweep();
    expect(leftovers(blobs)).toEqual([]);
  },
);
