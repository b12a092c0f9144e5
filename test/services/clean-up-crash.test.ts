import { describe, expect, it } from 'vitest';
import { isBackupError } from '../../shared/domain/errors.ts';
import { readRuns } from '../../shared/services/clean-up-report.ts';
import { startBackup } from '../../shared/services/backup.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { runStep } from '../../shared/services/run-step.ts';
import { cancelJob } from '../../shared/services/watch.ts';
import { CrashGate, crashing } from '../support/crash.ts';
import { Killed } from '../support/gated-ports.ts';
import { leftovers } from '../support/vault-map.ts';
import { DAY_MS, VAULT } from '../support/world.ts';
import { grow, key, livePoints, merged, reportsOf, rig, statuses } from './clean-up-stage.ts';

/*
 * Two VMs, one with an expired point, snapshots past their time and a point that never entered the vault: the cleanup is run once to
 * count the calls that its handlers make of their ports, then for each call with the handler killed before it, after it, and with its
 * answer lost.
 */
describe('a cleanup whose handler is killed at any call', () => {
  async function crashAt(at: number, moment: CrashGate['moment']): Promise<CrashGate> {
    const gate = new CrashGate();
    const onFailure = (error: unknown): void => {
      if (!(error instanceof Killed) && !isBackupError(error)) throw error;
      gate.revive();
    };
    let active = false;
    const wrapHandlers = (ports: Ports): Ports => {
      const gated = crashing(gate)(ports);
      return new Proxy(ports, { get: (_, name) => Reflect.get(active ? gated : ports, name) as unknown });
    };
    const { world } = await rig({}, { wrapHandlers, onFailure });
    await grow(world, 'a', 0, 1);
    await grow(world, 'b', 1, 1);
    const id = await startBackup(world.ports, VAULT, key('b'), {
      kind: 'onDemand',
      retainUntil: world.clock.now() + DAY_MS,
    });
    await runStep(world.ports, world.queue.take()!.step);
    await cancelJob(world.ports, { vault: VAULT, jobId: id });
    await world.drain();
    world.clock.advance(3 * DAY_MS);
    gate.at = at;
    gate.moment = moment;
    active = true;
    await world.cleanUp();
    for (let round = 0; round < 4; round++) await world.watch();
    active = false;
    const runs = await readRuns(world.ports, VAULT);
    expect(runs.filter(({ endedAt }) => endedAt === undefined)).toEqual([]);
    expect(runs).toHaveLength(1);
    const reports = await reportsOf(world);
    // The newest point in the vault keeps its snapshots.
    expect(statuses(reports)).toEqual({ a: 'done', b: 'done' });
    expect(merged(reports)).toEqual({ a: 0, b: 1 });
    expect([reports['a']!.endedSnapshots, reports['b']!.endedSnapshots]).toEqual([0, 2]);
    expect([reports['a']!.removedPoints, reports['b']!.removedPoints]).toEqual([0, 1]);
    expect(Object.values(reports).map(({ left }) => left.expiredPoints)).toEqual([0, 0]);
    const jobs: Record<string, number> = { a: 0 };
    for await (const { row } of world.ports.catalog.jobs.list(VAULT))
      if (row.operation === 'Merge') jobs[row.vmName] = (jobs[row.vmName] ?? 0) + row.doneBytes;
    expect({ a: reports['a']!.foldedBytes, b: reports['b']!.foldedBytes }).toEqual(jobs);
    expect([await livePoints(world, 'a'), await livePoints(world, 'b')]).toEqual([1, 1]);
    await world.sweep();
    const blobs = world.vaults.blobs(world.vaults.containerNames()[0]!);
    for (const { itemId } of Object.values(reports)) expect(leftovers(blobs, itemId)).toEqual([]);
    return gate;
  }

  it('goes on where it was, and counts everything once', async () => {
    const { calls, trace } = await crashAt(0, 'before');
    for (let at = 1; at <= calls; at++) {
      for (const moment of ['before', 'after', 'lost'] as const) {
        await crashAt(at, moment).catch((cause: unknown) => {
          throw new Error(`killed ${moment} call ${at} (${trace[at - 1]})`, { cause });
        });
      }
    }
  });
});
