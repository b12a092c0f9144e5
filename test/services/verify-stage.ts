import type { JobRow } from '../../shared/catalog/catalog.ts';
import type { FindingRow } from '../../shared/catalog/finding-row.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { openFindings } from '../../shared/services/findings.ts';
import type { Step } from '../../shared/queue/steps.ts';
import { pointsPartition } from '../../shared/services/keys.ts';
import { type VerifyRequest, startVerify } from '../../shared/services/verify.ts';
import type { StoredBlob } from '../support/memory-vault.ts';
import { DAY_MS, VAULT, type World, type WorldOptions, createWorld } from '../support/world.ts';
import { KEY } from './stage.ts';

/* A small vault, and the means to verify it. */

/** Reads everything that there is. */
export const ALL: VerifyRequest = { deepPercent: 100 };

export interface SmallVault {
  readonly world: World;
  readonly disk: string;
  /** The disk as it was at each point that lives. */
  readonly images: Map<PointId, Uint8Array>;
  readonly blobs: Map<string, StoredBlob>;
  readonly partition: string;
}

/** How a small vault comes to be. */
interface Shape {
  readonly regionBlocks: number;
  readonly blocks: number;
  /** The run of blocks that is written before each backup. */
  readonly runs: readonly (readonly [at: number, count: number])[];
  readonly layout: NonNullable<WorldOptions['layout']>;
}

const RUNS = [
  [0, 30],
  [3, 14],
  [14, 5],
] as const;
/** All layers lie in slabs. */
export const SLABS: Shape = { regionBlocks: 16, blocks: 30, runs: RUNS, layout: { thinBytes: 2 ** 20 } };
/** All layers are files of their own, with packs of their own. */
export const PACKS: Shape = { regionBlocks: 16, blocks: 30, runs: RUNS, layout: { thinBytes: -1 } };
/** The same with checkpoints, as deep as their stacks. */
export const CHECKPOINTS: Shape = { ...PACKS, layout: { thinBytes: -1, checkpointDepth: 1 } };
/** One point. */
export const ONE: Shape = { regionBlocks: 4, blocks: 6, runs: [[0, 6]], layout: { thinBytes: 2 ** 20 } };

/** Numbers that look random, the same in every run. */
function seeded(seed: number): () => number {
  let state = seed + 1;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) >>> 16;
}

/** Three points over two regions, the first of them merged away. */
export async function smallVault(
  options: WorldOptions = {},
  { regionBlocks, blocks, runs, layout }: Shape = SLABS,
): Promise<SmallVault> {
  const world = await createWorld({ regionBytes: regionBlocks * BLOCK_BYTES, layout, ...options });
  const size = blocks * BLOCK_BYTES;
  const disk = (await world.createVm('vm', [size]))[0]!;
  await world.protect('vm');
  const images = new Map<PointId, Uint8Array>();
  for (const [number, [at, count]] of runs.entries()) {
    const fill = 2 * number + 3;
    // What the second backup takes cannot be compressed: its frames lie in packs as they are.
    const random = seeded(number);
    const bytes = Buffer.from(
      Array.from({ length: count * BLOCK_BYTES }, (_, i) => (number === 1 ? random() : i * fill + (i >> 8)) & 0xff),
    );
    await world.disks.write(disk, at * BLOCK_BYTES, bytes);
    const image = await world.disks.read(disk, { start: 0, end: size });
    const days = number === 0 ? 2 : 30;
    images.set((await world.backup('vm', world.clock.now() + days * DAY_MS)).point!, image);
    world.clock.advance(60_000);
  }
  world.clock.advance(3 * DAY_MS);
  await world.cleanUp();
  const living = new Set((await world.points('vm')).map(({ point }) => point));
  for (const point of images.keys()) if (!living.has(point)) images.delete(point);
  const container = world.vaults.containerNames()[0]!;
  const item = (await world.ports.catalog.items.get(VAULT, KEY))!.row.itemId;
  return { world, disk, images, blobs: world.vaults.blobs(container), partition: pointsPartition(container, item) };
}

/** Verifies, and runs all that follows from it. */
export async function verify(world: World, request: VerifyRequest = ALL): Promise<JobRow> {
  world.clock.advance(1000);
  const id = await startVerify(world.ports, VAULT, KEY, request, true);
  await world.drain();
  return world.job(id);
}

export async function findings({ world, partition }: Pick<SmallVault, 'world' | 'partition'>): Promise<FindingRow[]> {
  return (await openFindings(world.ports, partition)).map(({ row }) => row);
}

/** Flips a bit in the middle of the last object whose name fits; answers its name, and what mends it. */
export function harm({ blobs }: Pick<SmallVault, 'blobs'>, pattern: RegExp): { name: string; mend: () => void } {
  const [name, blob] = [...blobs].findLast(([each]) => pattern.test(each))!;
  const body = Uint8Array.from(blob.body);
  body[body.length >> 1]! ^= 0x40;
  blobs.set(name, { ...blob, body });
  return { name, mend: () => void blobs.set(name, blob) };
}

/** Takes the messages of one kind that are due out of the queue: to be lost, or so that something else can happen before them. */
export function takeSteps(world: World, kind: Step['step']): Step[] {
  const taken: Step[] = [];
  const others: Step[] = [];
  for (let message = world.queue.take(); message !== undefined; message = world.queue.take())
    (message.step.step === kind ? taken : others).push(message.step);
  for (const step of others) void world.ports.queue.send(step);
  return taken;
}
