import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import type { CompactionRules } from '../../shared/domain/compaction.ts';
import type { JobId, PointId } from '../../shared/domain/ids.ts';
import { startCompaction } from '../../shared/services/compact.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { liveManifests } from '../support/vault-map.ts';
import { DAY_MS, VAULT, type World, type WorldOptions, createWorld } from '../support/world.ts';
import { B, KEY, backUpOf, container } from './stage.ts';

/** Blocks of a region: enough that what changes in it is no thin region, whose layer would lie in a slab. */
export const REGION = 128;
/** Bytes of a frame that does not compress. */
export const FRAME = 16 * B;

/** Bytes that do not compress. */
export const noise = (seed: number | string, blocks: number): Buffer =>
  createHash('shake256', { outputLength: blocks * B })
    .update(`${seed}`)
    .digest();

/** Everything pays, down to the last byte. */
export const EAGER: Partial<CompactionRules> = {
  liveBelow: 0.99,
  leastWasteBytes: 1,
  prices: { gibMonth: 1, write: 0, read: 0, gibRead: 0 },
};
/** Nothing does. */
const NEVER: Partial<CompactionRules> = { liveBelow: 0 };

export interface SparseStage {
  readonly world: World;
  readonly disk: string;
  readonly images: Map<PointId, Uint8Array>;
  readonly backUp: (days: number) => Promise<PointId>;
  /** Whether compaction pays in this world; at first it does not. */
  readonly allow: (rules?: Partial<CompactionRules>) => void;
}

/**
 * A disk of `regions` regions whose only layers are folds: of each region's first pack, frames 3, 6 and 7 of eight are in use, and of
 * frame 3 one block is dead; its second pack is all alive. A third point with a little change stands above.
 */
export async function sparse(regions = 1, options: WorldOptions = {}): Promise<SparseStage> {
  const settings = { compaction: NEVER };
  const world = await createWorld({
    regionBytes: REGION * B,
    ...options,
    wrap: (ports: Ports) => {
      const own = (options.wrap ?? ((same: Ports) => same))(ports);
      return { ...own, settings: Object.assign(settings, { ...own.settings, compaction: NEVER }) };
    },
  });
  const disk = (await world.createVm('vm', [regions * REGION * B]))[0]!;
  await world.protect('vm');
  const images = new Map<PointId, Uint8Array>();
  const backUp = backUpOf(world, disk, images);
  for (let r = 0; r < regions; r++) await world.disks.write(disk, r * REGION * B, noise(r, REGION));
  const first = await backUp(1);
  for (let r = 0; r < regions; r++) {
    const at = r * REGION;
    await world.disks.write(disk, at * B, noise(`${r} a`, 48));
    await world.disks.write(disk, (at + 50) * B, noise(`${r} b`, 1));
    await world.disks.write(disk, (at + 64) * B, noise(`${r} c`, 32));
  }
  await backUp(60);
  await world.disks.write(disk, 5 * B, noise('little', 1));
  await backUp(90);
  world.clock.advance(2 * DAY_MS);
  await world.cleanUp();
  images.delete(first);
  expect((await world.points('vm')).map(({ point }) => point)).toEqual([...images.keys()]);
  return { world, disk, images, backUp, allow: (rules = EAGER) => Object.assign(settings, { compaction: rules }) };
}

/** Starts a compaction; its job. */
export async function compact(world: World, budgetBytes = Infinity): Promise<JobId> {
  expect(await startCompaction(world.ports, VAULT, KEY, budgetBytes)).toMatchObject({ started: true });
  return (await world.ports.catalog.items.get(VAULT, KEY))!.row.mergeJob!;
}

/** Bytes of everything of one kind that lies in the vault. */
export const bytesOf = (world: World, ending: string): number =>
  [...container(world)].reduce((sum, [name, { body }]) => sum + (name.endsWith(ending) ? body.length : 0), 0);

export const namesOf = (world: World, ending: string): string[] =>
  [...container(world).keys()].filter((name) => name.endsWith(ending)).sort();

/** What manifests say that the layers take up, and what of it is live. */
export function counted(world: World): { storedBytes: number; liveBytes: number } {
  const layers = liveManifests(container(world)).flatMap(({ disks }) =>
    disks.flatMap(({ regions }) => regions.flatMap((region) => region.layers)),
  );
  return {
    storedBytes: layers.reduce((sum, layer) => sum + layer.storedBytes, 0),
    liveBytes: layers.reduce((sum, layer) => sum + layer.liveBytes, 0),
  };
}
