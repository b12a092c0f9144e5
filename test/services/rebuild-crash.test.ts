import { describe, expect, it } from 'vitest';
import { isBackupError } from '../../shared/domain/errors.ts';
import { startRebuild } from '../../shared/services/rebuild.ts';
import { CrashGate, crashing } from '../support/crash.ts';
import { Killed, gatedPorts } from '../support/gated-ports.ts';
import { ADDRESS, essence, ids, lose, openJobs, rebuild, threeNights } from './rebuild-stage.ts';
import { container, itemOf, live, start, until } from './stage.ts';

describe('a rebuild that is killed', () => {
  /** Three points in the vault and one in its snapshots; then all is lost and rebuilt, with one call of a handler going wrong. */
  async function crashAt(at: number, moment: CrashGate['moment']): Promise<{ trace: string[]; rows: unknown }> {
    const gate = new CrashGate();
    const onFailure = (error: unknown): void => {
      if (!(error instanceof Killed) && !isBackupError(error)) throw error;
      gate.revive();
    };
    const { world, images } = await threeNights({ wrapHandlers: crashing(gate), onFailure });
    await start(world);
    await until(world, 'commit');
    await lose(world);
    gate.calls = 0;
    gate.trace.length = 0;
    gate.at = at;
    gate.moment = moment;
    const { job } = await rebuild(world);
    for (let round = 0; round < 3 && (await openJobs(world)).length > 0; round++) await world.watch();
    const { status, errors } = await world.job(job.jobId);
    expect({ status, errors }).toEqual({ status: 'Completed', errors: [] });
    const ours = [...container(world)].filter(
      ([name, { body }]) => name.includes('/chain/') && Buffer.from(body).includes('"rebuild"'),
    );
    expect(ours).toHaveLength(1);
    gate.at = 0;
    const trace = [...gate.trace];
    const rows = { item: await itemOf(world), points: (await world.points('vm')).map(essence) };
    await world.cleanUp();
    await world.sweep();
    expect(live(world)).toEqual([...images.keys()]);
    const only = (await ids(world)).at(-1)!;
    expect((await world.restore('vm', only)).job.errors).toEqual([]);
    for (const [point, image] of images) {
      const { disks } = await world.restore('vm', point);
      expect(Buffer.compare(disks[0]!, image)).toBe(0);
    }
    // When it was seen first is the clock's to say.
    return { trace, rows: { ...rows, item: { ...rows.item, scheduledUntil: 0 } } };
  }

  it('at any call goes on, and ends the same', async () => {
    const { trace, rows } = await crashAt(0, 'before');
    const calls = trace.length;
    expect(calls).toBeGreaterThan(20);
    for (let at = 1; at <= calls; at++) {
      for (const moment of ['before', 'lost'] as const) {
        const again = await crashAt(at, moment).catch((cause: unknown) => {
          throw new Error(`killed ${moment} call ${at} (${trace[at - 1]})`, { cause });
        });
        expect(again.rows, `killed ${moment} call ${at} (${trace[at - 1]})`).toEqual(rows);
      }
    }
  });

  it('while it starts can be started again', async () => {
    for (let at = 1; ; at++) {
      const { world, images } = await threeNights();
      await lose(world);
      const gate = new CrashGate();
      gate.at = at;
      const ports = gatedPorts(world.ports, gate);
      const died = await startRebuild(ports, ADDRESS, { properties: {} }).then(
        () => false,
        () => true,
      );
      await rebuild(world);
      await world.watch();
      expect(await openJobs(world)).toEqual([]);
      expect(await ids(world)).toEqual([...images.keys()]);
      if (!died) return expect(at).toBeGreaterThan(5);
    }
  });
});
