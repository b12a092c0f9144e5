import { describe, expect, it } from 'vitest';
import { BackupError } from '../../shared/domain/errors.ts';
import type { Step } from '../../shared/queue/steps.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { cleanUp, startCleanUp } from '../../shared/services/clean-up-run.ts';
import { readReports, readRun, readRuns, spentBytes } from '../../shared/services/clean-up-report.ts';
import { changeItem } from '../../shared/services/items.ts';
import { insertJob, newJob } from '../../shared/services/jobs.ts';
import { vaultKey } from '../../shared/services/keys.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { putVault } from '../../shared/services/vaults.ts';
import { watchJobs } from '../../shared/services/watch.ts';
import { ADDRESS } from '../support/life.ts';
import { DAY_MS, VAULT, type World } from '../support/world.ts';
import { type Rig, grow, key, merged, reportsOf, rig, spent, statuses } from './clean-up-stage.ts';
import { sparse } from './compact-stage.ts';

const WORK = { a: 1, b: 3, c: 6, d: 0, e: 2 };

async function five(world: World): Promise<void> {
  for (const [vm, expiring] of Object.entries(WORK)) await grow(world, vm, expiring);
  world.clock.advance(2 * DAY_MS);
}

describe('a cleanup run', () => {
  it('merges all that is expired, one point of each item after the other, and says so', async () => {
    const { world, begun, logged } = await rig();
    await five(world);
    await world.cleanUp();
    const reports = await reportsOf(world);
    expect(merged(reports)).toEqual(WORK);
    expect(statuses(reports)).toEqual({ a: 'done', b: 'done', c: 'done', d: 'done', e: 'done' });
    for (const row of Object.values(reports))
      expect(row).toMatchObject({ failures: [], ending: [], left: { expiredPoints: 0 } });
    // Nobody is served again before everybody who still has work has been.
    const turns = [['a', 'b', 'c', 'e'], ['b', 'c', 'e'], ['b', 'c'], ['c'], ['c'], ['c']];
    let at = 0;
    for (const turn of turns) expect(begun.slice(at, (at += turn.length)).toSorted()).toEqual(turn);
    expect((await readRuns(world.ports, VAULT)).map(({ endedAt }) => endedAt !== undefined)).toEqual([true]);
    const total = spent(reports);
    expect(total).toBeGreaterThan(0);
    expect(logged.filter((line) => line.includes('has ended'))).toHaveLength(1);
    expect(logged.at(-1)).toContain(`5 items, 12 points merged (${total} bytes written)`);
    expect(world.queue.waiting()).toEqual([]);
  });

  it('counts the bytes that its merges have written, and those alone', async () => {
    const { world } = await rig();
    await five(world);
    await world.cleanUp();
    const wrote: Record<string, number> = {};
    for await (const { row } of world.ports.catalog.jobs.list(VAULT))
      if (row.operation === 'Merge') wrote[row.vmName] = (wrote[row.vmName] ?? 0) + row.doneBytes;
    const reports = await reportsOf(world);
    for (const [vm, row] of Object.entries(reports)) expect(row.foldedBytes, vm).toBe(wrote[vm] ?? 0);
    await world.cleanUp();
    expect(spent(await reportsOf(world))).toBe(0);
  });

  it('without bytes still merges one point of each item, and the next run goes on', async () => {
    const { world } = await rig({ cleanUpBytes: 0 });
    await five(world);
    const sum = { a: 0, b: 0, c: 0, d: 0, e: 0 };
    for (let run = 1; run <= 6; run++) {
      await world.cleanUp();
      const reports = await reportsOf(world);
      for (const [vm, work] of Object.entries(WORK) as [keyof typeof WORK, number][]) {
        const { merged: now, status, left } = reports[vm]!;
        sum[vm] += now;
        expect(now, `${vm} in run ${run}`).toBe(work >= run ? 1 : 0);
        expect(status, `${vm} in run ${run}`).toBe(work > run ? 'budget' : 'done');
        expect(left.expiredPoints).toBe(Math.max(0, work - run));
      }
    }
    expect(sum).toEqual(WORK);
  });

  it('keeps to its bytes but for one merge of each item, and lets nobody starve', async () => {
    const { world, settings } = await rig({ cleanUpBytes: 0 });
    await grow(world, 'big', 9, 16);
    await grow(world, 'small', 3, 1);
    world.clock.advance(2 * DAY_MS);
    await world.cleanUp();
    const first = await reportsOf(world);
    const cost = spentBytes(first['big']!);
    expect(cost).toBeGreaterThan(spentBytes(first['small']!));
    settings.cleanUpBytes = 4 * cost;
    await world.cleanUp();
    const second = await reportsOf(world);
    expect(merged(second)['small']).toBe(2);
    // Half of the bytes would be for two merges of the big one; what the small one has not needed is for a third.
    expect(merged(second)['big']).toBeGreaterThanOrEqual(3);
    expect(spent(second)).toBeLessThanOrEqual(settings.cleanUpBytes + cost);
    expect(statuses(second)).toEqual({ big: 'budget', small: 'done' });
    expect(second['big']!.left.expiredPoints).toBe(8 - second['big']!.merged);
  });

  it('begins nothing after its time, and who was not served is the first in the next run', async () => {
    const { world, begun } = await rig({ cleanUpSeconds: 60 });
    for (const vm of ['a', 'b', 'c']) await grow(world, vm, 2);
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    while (begun.length < 1) await runStep(world.ports, world.queue.take()!.step);
    world.clock.advance(61_000);
    await world.drain();
    expect(begun).toEqual(['a']);
    const reports = await reportsOf(world);
    expect(statuses(reports)).toEqual({ a: 'time', b: 'time', c: 'time' });
    // What had been begun is finished and counted.
    expect(merged(reports)).toEqual({ a: 1, b: 0, c: 0 });
    expect(Object.values(reports).map(({ left }) => left.expiredPoints)).toEqual([1, 2, 2]);
    await cleanUp(world.ports);
    while (begun.length < 4) await runStep(world.ports, world.queue.take()!.step);
    expect(begun).toEqual(['a', 'b', 'c', 'a']);
    await world.drain();
  });

  it('leaves a point that is being read, goes on with the next one, and says that it is held', async () => {
    const { world } = await rig();
    const [pinned] = await grow(world, 'vm', 3);
    world.clock.advance(2 * DAY_MS);
    const item = (await world.ports.catalog.items.get(VAULT, key('vm')))!.row;
    const reader = newJob(world.ports, item, key('vm'), { operation: 'Restore', userTriggered: true });
    await insertJob(world.ports, VAULT, reader);
    await changeItem(world.ports, VAULT, key('vm'), (row) => ({
      ...row,
      pins: [{ jobId: reader.jobId, point: pinned! }],
    }));
    await world.cleanUp();
    expect((await reportsOf(world))['vm']).toMatchObject({ status: 'held', merged: 2, left: { expiredPoints: 1 } });
    await changeItem(world.ports, VAULT, key('vm'), (row) => ({ ...row, pins: [] }));
    await world.cleanUp();
    expect((await reportsOf(world))['vm']).toMatchObject({ status: 'done', merged: 1, left: { expiredPoints: 0 } });
  });

  it('says what it cannot do, each time, and does the rest', async () => {
    const { world } = await rig();
    const points = await grow(world, 'bad', 2);
    await grow(world, 'good', 2);
    world.clock.advance(2 * DAY_MS);
    const blobs = world.vaults.blobs(world.vaults.containerNames()[0]!);
    const broken = (await (await world.chain('bad')).newest()).points.at(-1)!.manifest;
    const { body } = blobs.get(broken)!;
    body[body.length - 3]! ^= 1;
    for (let run = 1; run <= 2; run++) {
      await world.cleanUp();
      const reports = await reportsOf(world);
      // The first goes into the second. That would go into the damaged one; and what the item wastes cannot be told.
      const merged = run === 1 ? 1 : 0;
      expect(reports['bad']).toMatchObject({ status: 'failed', merged, left: { expiredPoints: 1 } });
      expect(reports['bad']!.failures.map(({ point, code }) => [point, code])).toEqual(
        [points[1], ''].map((point) => [point, 'DocumentCorrupt']),
      );
      for (const { message } of reports['bad']!.failures) expect(message).toContain(broken);
      expect(reports['good']!.status).toBe('done');
    }
  });

  it('notes a merge that fails, and goes on with the points after it', async () => {
    const { world } = await rig();
    const [first] = await grow(world, 'vm', 3);
    world.clock.advance(2 * DAY_MS);
    // The plans of the first two merges are damaged as soon as they stand.
    let struck = 0;
    const { wrapped } = plansOf(world.ports, () => struck++ < 2);
    await cleanUp(wrapped);
    for (let message = world.queue.take(); message !== undefined; message = next(world))
      await runStep(wrapped, message.step);
    const { status, failures, left, merged: taken } = (await reportsOf(world))['vm']!;
    expect({ status, taken, left: left.expiredPoints }).toEqual({ status: 'failed', taken: 2, left: 1 });
    expect(failures).toMatchObject([{ point: first, code: 'DocumentCorrupt' }]);
    await world.cleanUp();
    expect((await reportsOf(world))['vm']).toMatchObject({ status: 'done', merged: 1 });
  });

  it('keeps what has failed before when an item fails as a whole, and tries all of it again when it is asked to', async () => {
    const { world } = await rig();
    const [first, second] = await grow(world, 'bad', 2);
    await grow(world, 'good', 1);
    world.clock.advance(2 * DAY_MS);
    const held: Step[] = [];
    let struck = 0;
    let isBroken = false;
    const { wrapped } = plansOf(world.ports, () => struck++ < 2);
    const { policies } = wrapped.catalog;
    const get: typeof policies.get = async (...at) => {
      if (isBroken) throw new BackupError('DocumentCorrupt', 'the row of the policy does not read');
      return policies.get(...at);
    };
    const ports: Ports = { ...wrapped, catalog: { ...wrapped.catalog, policies: { ...policies, get } } };
    const run = await startCleanUp(ports, VAULT);
    for (let message = world.queue.take(); message !== undefined; message = next(world)) {
      if (message.step.step === 'clean-item' && message.step.itemId === key('good')) held.push(message.step);
      else await runStep(ports, message.step);
      isBroken ||= (await reportsOf(world))['bad']?.failures.length === 2; // both tries of the first point have failed
    }
    const failed = (await reportsOf(world))['bad']!;
    expect(failed.status).toBe('failed');
    expect(failed.failures.map(({ point, code }) => [point, code])).toEqual([
      [first, 'DocumentCorrupt'],
      [second, 'DocumentCorrupt'],
      ['', 'DocumentCorrupt'],
    ]);
    expect((await startCleanUp(world.ports, VAULT)).runId).toBe(run.runId);
    await world.drain();
    for (const step of held) await runStep(world.ports, step);
    await world.drain();
    const reports = await reportsOf(world);
    expect(reports['bad']).toMatchObject({ status: 'done', merged: 2, failures: [] });
    expect(reports['good']).toMatchObject({ status: 'done', merged: 1 });
  });

  it('that is asked for while one is going on is that one, and looks at everything again', async () => {
    const { world, begun } = await rig();
    await grow(world, 'vm', 2);
    world.clock.advance(2 * DAY_MS);
    const run = await startCleanUp(world.ports, VAULT);
    while (begun.length < 1) await runStep(world.ports, next(world)!.step);
    expect((await startCleanUp(world.ports, VAULT)).runId).toBe(run.runId);
    await world.drain();
    expect(await readRuns(world.ports, VAULT)).toHaveLength(1);
    expect((await reportsOf(world))['vm']).toMatchObject({ status: 'done', merged: 2 });
  });

  it('of two that were started at once the first goes on, and whoever asks for the other is told of it', async () => {
    const { world } = await rig();
    await grow(world, 'vm', 2);
    world.clock.advance(2 * DAY_MS);
    const second = await startCleanUp(world.ports, VAULT);
    const { step } = world.queue.take()!;
    await runStep(world.ports, step);
    expect(await readReports(world.ports, VAULT, second.runId)).toHaveLength(1);
    // The first one's row comes late.
    const first = { ...second, runId: `${`${second.startedAt - 1}`.padStart(13, '0')}-00000000` };
    await world.ports.catalog.cleanUps.insert(VAULT, first.runId, first);
    await runStep(world.ports, { step: 'clean-vault', v: 1, vault: VAULT, run: first.runId });
    await runStep(world.ports, step);
    expect(await readReports(world.ports, VAULT, second.runId)).toEqual([]);
    await world.drain();
    await runStep(world.ports, step);
    expect(await readRun(world.ports, VAULT, second.runId)).toMatchObject({ runId: first.runId });
    expect((await readRuns(world.ports, VAULT)).map(({ runId }) => runId)).toEqual([first.runId]);
    expect((await reportsOf(world, first))['vm']).toMatchObject({ status: 'done', merged: 2 });
    expect(await readReports(world.ports, VAULT, second.runId)).toEqual([]);
  });

  it('whose time is over without its end is ended by the next, which counts what was still going on', async () => {
    const { world, begun } = await rig();
    await grow(world, 'vm', 2);
    world.clock.advance(2 * DAY_MS);
    const lost = await startCleanUp(world.ports, VAULT);
    while (begun.length < 1) await runStep(world.ports, next(world)!.step);
    const plan = world.queue.take()!;
    expect(plan.step.step).toBe('plan-merge');
    world.clock.advance(DAY_MS);
    const run = await startCleanUp(world.ports, VAULT);
    expect(run.runId > lost.runId).toBe(true);
    await runStep(world.ports, world.queue.take()!.step);
    world.queue.putBack(plan);
    await world.drain();
    expect((await reportsOf(world, lost))['vm']).toMatchObject({ status: 'time', merged: 0 });
    expect((await reportsOf(world, run))['vm']).toMatchObject({ status: 'done', merged: 2 });
  });

  it('gives items that lost their message another after a while', async () => {
    const { world } = await rig();
    await grow(world, 'vm', 1);
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    await runStep(world.ports, world.queue.take()!.step);
    expect(world.queue.take()!.step.step).toBe('clean-item');
    expect(world.queue.waiting()).toEqual([]);
    await world.watch();
    expect((await reportsOf(world))['vm']).toMatchObject({ status: 'done', merged: 1 });
  });

  it('whose rows cannot be read keeps neither jobs nor the runs of other vaults from being looked after', async () => {
    const { world } = await rig();
    await grow(world, 'vm', 1);
    const broken = { ...ADDRESS, vault: 'a-broken-one' };
    const request = { location: 'westeurope', skuName: 'Standard', tags: {}, properties: {} };
    await putVault(world.ports, broken, request);
    world.clock.advance(2 * DAY_MS);
    await startCleanUp(world.ports, VAULT);
    await runStep(world.ports, world.queue.take()!.step);
    const backup = await startBackup(world.ports, VAULT, key('vm'), { kind: 'onDemand' });
    while (world.queue.take() !== undefined); // all messages are lost
    const { cleanUps } = world.ports.catalog;
    const list: typeof cleanUps.list = (partition, prefix) => {
      if (partition === vaultKey(broken)) throw new BackupError('DocumentCorrupt', 'a row of the table does not read');
      return cleanUps.list(partition, prefix);
    };
    world.clock.advance(20 * 60_000);
    await watchJobs({ ...world.ports, catalog: { ...world.ports.catalog, cleanUps: { ...cleanUps, list } } });
    await world.drain();
    expect((await world.job(backup)).status).toBe('Completed');
    expect((await reportsOf(world))['vm']).toMatchObject({ status: 'done', merged: 1 });
  });

  it('compacts once nothing is expired, within what is left of the bytes, and the next run goes on', async () => {
    const { world, allow } = await sparse(3);
    const settings = world.ports.settings as Rig['settings'];
    const none = (await reportsOf(world))['vm']!;
    expect(none).toMatchObject({ status: 'done', compactions: 0 });
    expect(none.left.wastedBytes).toBeGreaterThan(0);
    allow();
    // Less than the smallest pack needs: nothing can be done, and the run ends all the same.
    settings.cleanUpBytes = 1;
    await world.cleanUp();
    expect((await reportsOf(world))['vm']).toMatchObject({ status: 'budget', compactions: 0, compactedBytes: 0 });
    settings.cleanUpBytes = 800_000;
    await world.cleanUp();
    const first = (await reportsOf(world))['vm']!;
    expect(first).toMatchObject({ status: 'budget', merged: 0, failures: [] });
    expect(first.compactions).toBeGreaterThan(0);
    expect(spentBytes(first)).toBeLessThanOrEqual(settings.cleanUpBytes);
    expect(first.left.wastedBytes).toBeLessThan(none.left.wastedBytes);
    settings.cleanUpBytes = 2 ** 30;
    await world.cleanUp();
    const second = (await reportsOf(world))['vm']!;
    expect(second).toMatchObject({ status: 'done', failures: [] });
    expect(second.compactions).toBeGreaterThan(0);
    expect(second.left.wastedBytes).toBeLessThan(first.left.wastedBytes);
    let moved = 0;
    for await (const { row } of world.ports.catalog.jobs.list(VAULT))
      if (row.operation === 'Compact') moved += row.doneBytes;
    expect(first.compactedBytes + second.compactedBytes).toBe(moved);
    expect(spentBytes(second)).toBeLessThanOrEqual(second.grantedBytes);
    expect((await readRuns(world.ports, VAULT)).at(-1)!.endedAt).toBeDefined();
  });

  it('whose handler fails over an item that its twin has dealt with leaves it at that', async () => {
    const { world } = await rig();
    await grow(world, 'a', 1);
    world.clock.advance(2 * DAY_MS);
    await cleanUp(world.ports);
    await runStep(world.ports, world.queue.take()!.step);
    const { step } = world.queue.take()!;
    expect(step).toMatchObject({ step: 'clean-item' });
    // The item's row goes as this one is about to begin a merge, and a twin finds that there is nothing to do.
    const { jobs } = world.ports.catalog;
    const insert: typeof jobs.insert = async (...row) => {
      await world.ports.catalog.items.remove(VAULT, key('a'));
      await runStep(world.ports, step);
      return jobs.insert(...row);
    };
    await runStep({ ...world.ports, catalog: { ...world.ports.catalog, jobs: { ...jobs, insert } } }, step);
    expect(statuses(await reportsOf(world))).toEqual({ a: 'done' });
  });

  it('takes the reports of runs that are older than a month away', async () => {
    const { world } = await rig();
    await grow(world, 'vm', 0);
    await world.cleanUp();
    const [old] = await readRuns(world.ports, VAULT);
    world.clock.advance(29 * DAY_MS);
    await world.cleanUp();
    expect(await readRuns(world.ports, VAULT)).toHaveLength(2);
    world.clock.advance(2 * DAY_MS);
    await world.cleanUp();
    expect((await readRuns(world.ports, VAULT)).map(({ runId }) => runId)).not.toContain(old!.runId);
    expect(await readRuns(world.ports, VAULT)).toHaveLength(2);
    expect(await readReports(world.ports, VAULT, old!.runId)).toEqual([]);
  });
});

function next(world: World): ReturnType<World['queue']['take']> {
  const first = world.queue.waiting()[0];
  if (first !== undefined) world.clock.advance(Math.max(0, first.dueMs - world.clock.now()));
  return world.queue.take();
}

/** Ports whose vault spoils a plan when `strikes` says so. */
function plansOf(ports: Ports, strikes: () => boolean): { wrapped: Ports } {
  const open: Ports['vaults']['open'] = async (name) => {
    const real = await ports.vaults.open(name);
    return {
      ...real,
      async put(blob, body, summary) {
        const isStruck = blob.includes('/plans/') && strikes();
        await real.put(blob, isStruck ? body.toReversed() : body, summary);
      },
    };
  };
  return { wrapped: { ...ports, vaults: { ...ports.vaults, open } } };
}
