import { expect } from 'vitest';
import type { PointId } from '../../shared/domain/ids.ts';
import type { Layout } from '../../shared/domain/layout.ts';
import type { Manifest } from '../../shared/format/documents.ts';
import { assertBilled } from '../support/assert-billed.ts';
import { leftovers, liveManifests } from '../support/vault-map.ts';
import { DAY_MS, type World, type WorldOptions, createWorld } from '../support/world.ts';
import { B, type Stage, backUpOf, block, container, live, restoresExactly } from './stage.ts';

/*
 * Small spans, so that plans and manifests have parts. Regions are of one block: by default the disk of six blocks has six spans.
 */

export const parted = (layout: Partial<Layout> = {}): WorldOptions => ({
  regionBytes: B,
  layout: { spanRegions: 1, inlineRegions: 0, thinBytes: -1, checkpointDepth: 99, ...layout },
});

/** As `stage`, with a disk of 16 regions. `change` gives the world another layout from then on. */
export async function wide(layout: Partial<Layout>): Promise<Stage & { change: (layout: Partial<Layout>) => void }> {
  const world = await createWorld(parted(layout));
  const disk = (await world.createVm('vm', [16 * B]))[0]!;
  await world.protect('vm');
  const images = new Map<PointId, Uint8Array>();
  const change = (next: Partial<Layout>): void => void Object.assign(world.ports.settings.layout, next);
  return { world, disk, images, backUp: backUpOf(world, disk, images), change };
}

/** A vault without parts, in which one slab had all regions of the first of two points; then spans got small, and that point was merged. */
export async function mergedAcross(): Promise<Stage> {
  const set = await wide({ spanRegions: 16, inlineRegions: 256, thinBytes: 16 * B });
  const { world, disk, backUp, change } = set;
  await world.disks.write(disk, 0, block(1, 16));
  await backUp(2);
  await world.disks.write(disk, 0, block(2, 3));
  await backUp(30);
  change({ spanRegions: 2, inlineRegions: 0 });
  world.clock.advance(3 * DAY_MS);
  await world.cleanUp();
  expect(live(world)).toHaveLength(1);
  return set;
}

/** Of each live point, oldest first, the parts of its manifest. */
export const partsOf = (world: World): NonNullable<Manifest['disks'][number]['parts']>[] =>
  liveManifests(container(world)).map(({ disks }) => disks.flatMap(({ parts = [] }) => parts));

/** Of each live point the first regions of its manifest's parts. */
export const firsts = (world: World): number[][] => partsOf(world).map((parts) => parts.map(({ first }) => first));

/** The documents of all plans that there are. */
export const planNames = (world: World): string[] =>
  [...container(world).keys()].filter((name) => name.includes('/plans/')).sort();

/** Nothing is left over, every byte is explained, and every point restores exactly. */
export async function isSound(world: World, images: ReadonlyMap<PointId, Uint8Array>): Promise<void> {
  expect(leftovers(container(world))).toEqual([]);
  await assertBilled(world);
  await restoresExactly(world, images);
}
