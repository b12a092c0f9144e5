import { expect } from 'vitest';
import type { ItemRow, JobRow } from '../../shared/catalog/catalog.ts';
import type { JobId, PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import type { Step } from '../../shared/queue/steps.ts';
import { startBackup } from '../../shared/services/backup.ts';
import { itemKey } from '../../shared/services/keys.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { runStep } from '../../shared/services/run-step.ts';
import type { QueuedMessage } from '../support/memory-queue.ts';
import { putBy } from '../support/put-by.ts';
import { newestRecord } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';

/* One VM with one disk of six blocks, and the means to stop its handlers where a race is to be lost. */

export const B = BLOCK_BYTES;
export const block = (fill: number, blocks = 1): Buffer => Buffer.alloc(blocks * B, fill);
export const KEY = itemKey('app', 'vm');

export interface Stage {
  readonly world: World;
  readonly disk: string;
  readonly images: Map<PointId, Uint8Array>;
  /** Backs up; the point is kept for `days`. */
  readonly backUp: (days: number) => Promise<PointId>;
}

export async function stage(options: Parameters<typeof createWorld>[0] = {}): Promise<Stage> {
  const world = await createWorld(options);
  const disk = (await world.createVm('vm', [6 * B]))[0]!;
  await world.protect('vm');
  const images = new Map<PointId, Uint8Array>();
  return {
    world,
    disk,
    images,
    backUp: backUpOf(world, disk, images),
  };
}

/** What backs up the VM `vm`, notes in `images` what its one disk was then, and lets a minute pass. */
export function backUpOf(world: World, disk: string, images: Map<PointId, Uint8Array>): Stage['backUp'] {
  return async (days) => {
    const image = await world.disks.read(disk, { start: 0, end: world.disks.sizeBytes(disk) });
    const job = await world.backup('vm', world.clock.now() + days * DAY_MS);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    images.set(job.point!, image);
    world.clock.advance(60_000);
    return job.point!;
  };
}

export const container = (world: World) => world.vaults.blobs(world.vaults.containerNames()[0]!);
export const live = (world: World): string[] => newestRecord(container(world)).points.map(({ point }) => point);

/** The row of the VM `vm`'s item. */
export const itemOf = async (world: World): Promise<ItemRow> => (await world.ports.catalog.items.get(VAULT, KEY))!.row;

export async function jobsOf(world: World): Promise<JobRow[]> {
  const rows: JobRow[] = [];
  for await (const { row } of world.ports.catalog.jobs.list(VAULT)) rows.push(row);
  return rows;
}

/** Handles messages until one of this kind is next, and takes that one. */
export async function until(world: World, wanted: Step['step']): Promise<QueuedMessage> {
  for (let taken = 0; taken < 1000; taken++) {
    const message = world.queue.take();
    if (message?.step.step === wanted) return message;
    if (message !== undefined) await runStep(world.ports, message.step);
    else world.clock.advance(Math.max(0, world.queue.waiting()[0]!.dueMs - world.clock.now()));
  }
  throw new Error(`no message ${wanted} comes`);
}

/** Lets so much time pass, and handles each message when it is due. */
export async function letPass(world: World, ms: number): Promise<void> {
  const end = world.clock.now() + ms;
  for (let [next] = world.queue.waiting(); next !== undefined && next.dueMs <= end; [next] = world.queue.waiting()) {
    world.clock.advance(Math.max(0, next.dueMs - world.clock.now()));
    await runStep(world.ports, world.queue.take()!.step);
  }
  world.clock.advance(end - world.clock.now());
}

export const start = (world: World, days = 30): Promise<JobId> =>
  startBackup(world.ports, VAULT, KEY, { kind: 'onDemand', retainUntil: world.clock.now() + days * DAY_MS });

/** Takes the snapshots of all points away, so that restores come from the vault. */
export async function vaultOnly(world: World): Promise<void> {
  for (const { set } of await world.points('vm')) {
    for (const { url, snapshot } of set.disks) await world.ports.snapshots.remove({ url, id: snapshot });
  }
}

export async function restoresExactly(world: World, images: ReadonlyMap<PointId, Uint8Array>): Promise<void> {
  await vaultOnly(world);
  for (const { point } of await world.points('vm')) {
    const { job, disks } = await world.restore('vm', point);
    expect(job.errors).toEqual([]);
    expect(Buffer.compare(disks[0]!, images.get(point)!), `point ${point}`).toBe(0);
  }
}

/** Ports whose vault holds every write of a name like `pattern` back until it is let go. */
export function holding(ports: Ports, pattern: RegExp): { ports: Ports; reached: Promise<void>; letGo: () => void } {
  const released = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  const held = putBy(ports, async (real, blob, body, summary) => {
    if (pattern.test(blob)) {
      reached.resolve();
      await released.promise;
    }
    return real.put(blob, body, summary);
  });
  return { ports: held, reached: reached.promise, letGo: released.resolve };
}
