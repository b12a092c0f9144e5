import { expect } from 'vitest';
import type { JobId, PointId } from '../../../shared/domain/ids.ts';
import { cleanUp } from '../../../shared/services/clean-up-run.ts';
import { runStep } from '../../../shared/services/run-step.ts';
import type { QueuedMessage } from '../../support/memory-queue.ts';
import { namedIn } from '../../support/vault-map.ts';
import { DAY_MS, type World } from '../../support/world.ts';
import { B, type Stage, block, container, live, stage, start, until, vaultOnly } from '../../services/stage.ts';

/* What the stories of the thirteen rules begin and end with. Each is the shortest one that goes wrong without its rule. */

/** All that the newest record leads to is there, its points are those of `images`, and each restores from the vault, byte for byte. */
export async function whole({ world, images }: Pick<Stage, 'world' | 'images'>): Promise<void> {
  namedIn(container(world));
  await vaultOnly(world);
  for (const point of live(world) as PointId[]) {
    const { job, disks } = await world.restore('vm', point);
    expect(job.errors).toEqual([]);
    expect(Buffer.compare(disks[0]!, images.get(point)!), `point ${point}`).toBe(0);
  }
}

/** The bytes of the stage's disk now. */
export const imageOf = ({ world, disk }: Stage): Promise<Uint8Array> =>
  world.disks.read(disk, { start: 0, end: world.disks.sizeBytes(disk) });

/** One point in the vault, and a backup of one changed block whose next message is `commit`. */
export async function backingUp(): Promise<Stage & { id: JobId; commit: QueuedMessage; image: Uint8Array }> {
  const told = await stage();
  await told.world.disks.write(told.disk, 0, block(1, 6));
  await told.backUp(30);
  await told.world.disks.write(told.disk, B, block(2));
  const image = await imageOf(told);
  const id = await start(told.world);
  return { ...told, id, commit: await until(told.world, 'commit'), image };
}

/** A first backup of four blocks whose next message is its one unit. */
export async function transferring(): Promise<Stage & { id: JobId; unit: QueuedMessage; image: Uint8Array }> {
  const told = await stage();
  await told.world.disks.write(told.disk, 0, block(1, 4));
  const image = await imageOf(told);
  const id = await start(told.world);
  return { ...told, id, unit: await until(told.world, 'transfer-unit'), image };
}

/** The backup `id` has made a point, and its image is what the disk was. */
export async function completed(
  { world, images, image }: Pick<Stage, 'world' | 'images'> & { image: Uint8Array },
  id: JobId,
): Promise<PointId> {
  const { status, point } = await world.job(id);
  expect(status).toBe('Completed');
  images.set(point!, image);
  return point!;
}

/** Two points that both wrote block 1; the first has expired, and the next message plans its merge. */
export async function merging(): Promise<Stage & { first: PointId; second: PointId; plan: QueuedMessage }> {
  const told = await stage();
  await told.world.setPolicy({ instantRetentionDays: 5 }); // the first point still has its snapshots
  await told.world.disks.write(told.disk, 0, block(1, 6));
  const first = await told.backUp(1);
  await told.world.disks.write(told.disk, B, block(2));
  const second = await told.backUp(60);
  told.world.clock.advance(2 * DAY_MS);
  await cleanUp(told.world.ports);
  return { ...told, first, second, plan: await until(told.world, 'plan-merge') };
}

/** Messages that the longest of the stories needs. */
const MOST_MESSAGES = 400;

/** As `world.drain`, for stories that would go round in circles without their rule. */
export async function drainSoon({ queue, clock, ports }: World): Promise<void> {
  for (let taken = 0; taken < MOST_MESSAGES;) {
    const message = queue.take();
    const next = queue.waiting()[0];
    if (message === undefined && next === undefined) return;
    if (message === undefined) clock.advance(Math.max(0, next!.dueMs - clock.now()));
    else {
      taken++;
      await runStep(ports, message.step);
    }
  }
  throw new Error(
    `after ${MOST_MESSAGES} messages there are still more: ${queue
      .waiting()
      .map(({ step }) => step.step)
      .join(', ')}`,
  );
}
