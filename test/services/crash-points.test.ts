import { expect, it } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { isBackupError } from '../../shared/domain/errors.ts';
import { CrashGate, crashing } from '../support/crash.ts';
import { Killed } from '../support/gated-ports.ts';
import { leftovers } from '../support/vault-map.ts';
import { DAY_MS, type World, createWorld } from '../support/world.ts';

/*
 * A life of one disk: three backups, the expiry and merge of the first, a restore. It is run once to count the calls that handlers
 * make of their ports, then for each call once with the handler killed right before it, once right after it, and once with only
 * the answer lost. The message comes again, the watch looks after the rest: in the end every job has ended and every point restores exactly.
 */

const block = (fill: number, blocks = 1): Buffer => Buffer.alloc(blocks * BLOCK_BYTES, fill);

async function live(world: World): Promise<Map<PointId, Uint8Array>> {
  const [disk] = await world.createVm('vm', [6 * BLOCK_BYTES]);
  await world.protect('vm');
  const images = new Map<PointId, Uint8Array>();
  const backUp = async (days: number): Promise<void> => {
    const image = await world.disks.read(disk!, { start: 0, end: 6 * BLOCK_BYTES });
    const { point, jobId } = await world.backup('vm', world.clock.now() + days * DAY_MS);
    await settled(world);
    images.set(point!, image);
    const { status, errors } = await world.job(jobId);
    expect({ status, errors }).toEqual({ status: 'Completed', errors: [] });
  };
  await world.disks.write(disk!, 0, block(1, 5));
  await backUp(2);
  await world.disks.write(disk!, BLOCK_BYTES, block(2));
  await world.disks.clear(disk!, { start: 4 * BLOCK_BYTES, end: 5 * BLOCK_BYTES });
  await backUp(30);
  await world.disks.write(disk!, 2 * BLOCK_BYTES, block(3, 2));
  await backUp(30);
  world.clock.advance(3 * DAY_MS);
  await world.cleanUp();
  await settled(world);
  return images;
}

/** A killed handler's job goes on by redelivery; what lost its messages is woken by the watch. */
async function settled(world: World): Promise<void> {
  for (let round = 0; round < 4; round++) {
    let open = 0;
    for await (const _ of world.ports.catalog.openJobs.listAll()) open++;
    if (open === 0) return;
    await world.watch();
  }
  throw new Error('a job does not end');
}

async function snapshotsOf(world: World): Promise<string[]> {
  const ids: string[] = [];
  for (const url of world.disks.urls()) for await (const { id } of world.ports.snapshots.list(url)) ids.push(id);
  return ids;
}

async function crashAt(at: number, moment: CrashGate['moment']): Promise<CrashGate> {
  const gate = new CrashGate();
  const onFailure = (error: unknown): void => {
    if (!(error instanceof Killed) && !isBackupError(error)) throw error;
    gate.revive();
  };
  const world = await createWorld({ wrapHandlers: crashing(gate), onFailure });
  gate.at = at;
  gate.moment = moment;
  const images = await live(world);
  await world.cleanUp(); // a merge that gave way is taken up by the next cleanup
  await world.sweep();
  expect(leftovers(world.vaults.blobs(world.vaults.containerNames()[0]!))).toEqual([]);
  const points = await world.points('vm');
  expect(await snapshotsOf(world)).toEqual(
    points.flatMap(({ set, instant }) => (instant === 'Valid' ? [set.disks[0]!.snapshot] : [])),
  );
  expect(points.map(({ point }) => point)).toEqual([...images.keys()].slice(1));
  for (const { point, set, instant } of points) {
    if (instant === 'Valid')
      for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
    const { job, disks } = await world.restore('vm', point);
    await settled(world);
    expect((await world.job(job.jobId)).status).toBe('Completed');
    if (disks.length > 0) expect(Buffer.compare(disks[0]!, images.get(point)!)).toBe(0);
  }
  return gate;
}

it('a handler killed at any call loses nothing', async () => {
  const { calls, trace } = await crashAt(0, 'before');
  for (let at = 1; at <= calls; at++) {
    for (const moment of ['before', 'after', 'lost'] as const) {
      await crashAt(at, moment).catch((cause: unknown) => {
        throw new Error(`killed ${moment} call ${at} (${trace[at - 1]})`, { cause });
      });
    }
  }
});
