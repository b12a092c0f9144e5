import { describe, expect, it } from 'vitest';
import type { Step } from '../../shared/queue/steps.ts';
import { cleanUp } from '../../shared/services/clean-up-run.ts';
import { startRebuild } from '../../shared/services/rebuild.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { gatedPorts } from '../support/gated-ports.ts';
import { newestRecord } from '../support/vault-map.ts';
import { DAY_MS, VAULT } from '../support/world.ts';
import { ADDRESS, ids, lose, rebuild, threeNights } from './rebuild-stage.ts';
import { block, container, holding, itemOf, live, restoresExactly, start, until } from './stage.ts';

/* Handlers and messages of the time before the loss, and of rebuilds that are over. */

describe('a handler that slept while the catalog was lost and rebuilt', () => {
  it.each([
    ['its record', /\/chain\//],
    ['a manifest', /\/points\//],
  ])('changes nothing when it was about to write %s of a merge', async (_, pattern) => {
    const { world, disk, images, backUp } = await threeNights();
    await world.disks.write(disk, 0, block(4));
    await backUp(30);
    world.clock.advance(30 * DAY_MS);
    await cleanUp(world.ports);
    const plan = await until(world, 'plan-merge');
    const { ports, reached, letGo } = holding(world.ports, pattern);
    const sleeper = runStep(ports, plan.step);
    await reached;
    await lose(world);
    await rebuild(world);
    const rebuilt = newestRecord(container(world));
    letGo();
    await sleeper;
    await world.drain();
    expect(newestRecord(container(world))).toEqual(rebuilt);
    expect(await ids(world)).toEqual([...images.keys()]);
    await world.sweep();
    await restoresExactly(world, images);
  });

  it.each([
    ['its record', /\/chain\//],
    ['a manifest', /\/points\//],
    ['a layer', /\.(layer|slab)$/],
  ])('changes nothing when it was about to write %s of a backup', async (_, pattern) => {
    const { world, disk, images } = await threeNights();
    await world.disks.write(disk, 0, block(4));
    await start(world);
    const { step } = await until(world, pattern.test('x.layer') ? 'transfer-unit' : 'commit');
    const { ports, reached, letGo } = holding(world.ports, pattern);
    const sleeper = runStep(ports, step);
    await reached;
    await lose(world);
    await rebuild(world);
    letGo();
    await sleeper;
    await world.drain();
    expect(live(world)).toEqual([...images.keys()]);
    expect((await world.points('vm')).at(-1)).toMatchObject({ vault: 'None', instant: 'Valid' });
    await world.sweep();
    for (const { point } of await world.points('vm')) expect((await world.restore('vm', point)).job.errors).toEqual([]);
  });

  it.each([
    ['its record', 'vault.put'],
    ['its rows', 'snapshots.list'],
  ])('of a rebuild, before %s, stops nothing that has been resumed since', async (_, where) => {
    const { world } = await threeNights();
    await lose(world);
    const id = await startRebuild(world.ports, ADDRESS, { properties: {} });
    const { step } = await until(world, 'rebuild-item');
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const ports = gatedPorts(world.ports, {
      async before(call) {
        if (call !== where) return;
        reached.resolve();
        await released.promise;
      },
      after: () => undefined,
    });
    const sleeper = runStep(ports, step);
    await reached.promise;
    await runStep(world.ports, step);
    await world.drain();
    expect((await world.job(id)).status).toBe('Completed');
    await world.setPolicy({});
    await world.protect('vm');
    released.resolve();
    await sleeper;
    await runStep(world.ports, step);
    expect(newestRecord(container(world)).state).toBe('protected');
    expect((await itemOf(world)).protectionState).toBe('Protected');
  });
});

it.each(['with its vault', 'without'] as const)(
  'a step of a job that no table knows does nothing, %s',
  async (vault) => {
    const { world, images } = await threeNights();
    const { jobId, attempts } = await world.job(await start(world));
    await until(world, 'commit');
    const job = await world.job(jobId);
    await lose(world, 'jobs', 'openJobs', ...(vault === 'without' ? (['vaults'] as const) : []));
    const before = [...container(world).keys()];
    const queued = world.queue.waiting().length;
    const at = { v: 1, vault: VAULT, jobId } as const;
    const attempt = job.attempt ?? attempts[0]!;
    const steps: Step[] = [
      { step: 'take-snapshot', ...at },
      { step: 'plan-transfer', ...at, instead: attempt },
      { step: 'transfer-unit', ...at, attempt, unit: 0 },
      { step: 'plan-merge', ...at },
      { step: 'merge-unit', ...at, attempt, unit: 0 },
      { step: 'plan-compaction', ...at },
      { step: 'compact-unit', ...at, attempt, unit: 0 },
      { step: 'commit', ...at, attempt, round: 0 },
      { step: 'reclaim', ...at, attempt },
      { step: 'plan-restore', ...at },
      { step: 'restore-unit', ...at, attempt, unit: 0 },
      { step: 'finish-restore', ...at, attempt, round: 0 },
      { step: 'plan-verify', ...at },
      { step: 'verify-unit', ...at, attempt, unit: 0 },
      { step: 'finish-verify', ...at, attempt, round: 0 },
      { step: 'rebuild-vault', ...at, round: 0 },
      { step: 'rebuild-item', ...at, item: 'vm-0a1b2c3d' },
    ];
    for (const step of steps) await runStep(world.ports, step);
    expect([...container(world).keys()]).toEqual(before);
    expect(world.queue.waiting()).toHaveLength(queued);
    expect(live(world)).toEqual([...images.keys()]);
  },
);
