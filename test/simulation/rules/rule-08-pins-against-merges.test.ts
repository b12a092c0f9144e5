import { describe, expect, it } from 'vitest';
import { isBackupError } from '../../../shared/domain/errors.ts';
import { cleanUp } from '../../../shared/services/clean-up-run.ts';
import type { Ports } from '../../../shared/services/ports.ts';
import { startRestore } from '../../../shared/services/restore.ts';
import { runStep } from '../../../shared/services/run-step.ts';
import { watchJobs } from '../../../shared/services/watch.ts';
import { atEachCall, callNumber, fallAsleep, itsRecord } from '../../support/sleeper.ts';
import { DAY_MS, VAULT } from '../../support/world.ts';
import { KEY, type Stage, block, live, stage, until, vaultOnly } from '../../services/stage.ts';
import type { PointId } from '../../../shared/domain/ids.ts';
import { merging, whole } from './story.ts';

const restoring = (point: PointId) => (ports: Ports) =>
  startRestore(ports, VAULT, KEY, point, { accountId: '/x/restored' });

/** Two points that are in the vault alone; the first has expired, and nothing has been cleaned up yet. */
async function expired(): Promise<Stage & { first: PointId }> {
  const told = await stage();
  await told.world.disks.write(told.disk, 0, block(1, 6));
  const first = await told.backUp(1);
  await told.world.disks.write(told.disk, 0, block(2, 6));
  await told.backUp(60);
  await vaultOnly(told.world);
  told.world.clock.advance(2 * DAY_MS);
  return { ...told, first };
}

describe('rule 8: pins against merges', () => {
  it('a point that is read from does not begin to go', async () => {
    const { world, images, first } = await expired();
    await restoring(first)(world.ports);
    const reading = await until(world, 'plan-restore');
    await world.cleanUp();
    expect(live(world)).toEqual([...images.keys()]);
    world.queue.putBack(reading);
    await world.drain();
    await world.cleanUp();
    expect(live(world)).toEqual([...images.keys()].slice(1));
  });

  it('a point that begins to go can no longer be pinned', async () => {
    const { world, first } = await merging();
    await expect(restoring(first)(world.ports)).rejects.toSatisfy((error) =>
      isBackupError(error, 'UserErrorRecoveryPointLeaving'),
    );
  });

  it('a pin that comes while cleanup looks for pins keeps the point', async () => {
    const calls = await atEachCall(async (n) => {
      const { world, images, first } = await expired();
      await cleanUp(world.ports);
      const clean = await until(world, 'clean-item');
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, clean.step), callNumber(n));
      const id = await restoring(first)(world.ports).catch((error: unknown) => {
        expect(isBackupError(error, 'UserErrorRecoveryPointLeaving')).toBe(true);
      });
      const reading = id === undefined ? undefined : await until(world, 'plan-restore');
      await sleeper.wake();
      await world.drain();
      expect(live(world).includes(first)).toBe(id !== undefined);
      if (reading !== undefined) world.queue.putBack(reading);
      await world.drain();
      if (id !== undefined) expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
      await whole({ world, images });
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(5);
  });

  it('a reader reads the record after it has pinned: what goes before is refused, not found damaged', async () => {
    const calls = await atEachCall(async (n) => {
      const { world, first } = await expired();
      // The request dies before it has pinned the point; the watch takes its job on.
      const request = await fallAsleep(world.ports, restoring(first), ({ call }) => call === 'items.replace');
      expect(request.asleep).toBe(true);
      await request.die();
      world.clock.advance(20 * 60_000);
      await watchJobs(world.ports);
      const plan = await until(world, 'plan-restore');
      const sleeper = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), callNumber(n));
      await world.cleanUp();
      await sleeper.wake();
      await world.drain();
      const [job] = (await restores(world)).slice(-1);
      if (job!.status === 'Completed') expect(job!.errors).toEqual([]);
      else
        expect(['UserErrorRecoveryPointLeaving', 'ResourceNotFound', 'UserErrorInstantRpNotFound']).toContain(
          job!.errors[0]?.code,
        );
      return sleeper.asleep;
    });
    expect(calls).toBeGreaterThan(10);
  });

  it('a point may be pinned again when its merge has ended in the chain, and not before', async () => {
    const { world, images, first, plan } = await merging();
    await vaultOnly(world);
    const merge = await fallAsleep(world.ports, (ports) => runStep(ports, plan.step), itsRecord);
    world.clock.advance(15 * DAY_MS);
    const ending = await fallAsleep(world.ports, watchJobs, itsRecord);
    expect([merge.asleep, ending.asleep]).toEqual([true, true]);
    await expect(restoring(first)(world.ports)).rejects.toSatisfy((error) =>
      isBackupError(error, 'UserErrorRecoveryPointLeaving'),
    );
    await ending.wake();
    const id = await restoring(first)(world.ports);
    await merge.wake();
    await world.drain();
    expect(await world.job(id)).toMatchObject({ status: 'Completed', errors: [] });
    await whole({ world, images });
  });
});

async function restores({ ports }: Stage['world']) {
  const jobs = [];
  for await (const { row } of ports.catalog.jobs.list(VAULT)) if (row.operation === 'Restore') jobs.push(row);
  return jobs;
}
