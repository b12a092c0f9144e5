import * as fc from 'fast-check';
import { CLEARED, type BlockRun, type Extent, append, normalise } from '../../shared/domain/extent.ts';
import type { Frame, Layer, PackUse } from '../../shared/domain/layer.ts';

/** Blocks of the small regions that properties are tried on: few, so that runs meet. */
export const BLOCKS = 12;

/** Runs of blocks, ascending without overlap. */
export const runs: fc.Arbitrary<BlockRun[]> = fc
  .array(fc.record({ start: fc.nat(BLOCKS - 1), count: fc.integer({ min: 1, max: 4 }) }), { maxLength: 5 })
  .map((some) => normalise(some));

/** What a layer says of each block of a region: nothing, cleared, or a version (a number that tells what its bytes are). */
export type Said = undefined | 'cleared' | number;

/** What one layer says of a region's blocks; versions are small numbers, so that layers may repeat each other. */
export const said: fc.Arbitrary<Said[]> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.constant('cleared' as const) },
    { weight: 2, arbitrary: fc.nat(250) },
  ),
  { minLength: BLOCKS, maxLength: BLOCKS },
);

/** The 32-byte hash that stands for a version. */
export const hashOfVersion = (version: number): Uint8Array => new Uint8Array(32).fill(version + 1);

/**
 * A layer that says so. Where its bytes lie tells what they are: frame f of pack p holds up to `frameBlocks` blocks, packs hold
 * `packFrames` frames, and `locate` finds the version at a place. Names begin with `prefix`.
 */
export interface PlacedLayer {
  readonly layer: Layer;
  /** The version at `<pack name> <frame offset> <slot>`. */
  readonly versions: ReadonlyMap<string, number>;
}

export const placeOf = (pack: PackUse, frame: Frame, slot: number): string => `${pack.name} ${frame.offset} ${slot}`;

export function layerSaying(prefix: string, words: readonly Said[], frameBlocks = 3, packFrames = 2): PlacedLayer {
  const packs: PackUse[] = [];
  const frames: Frame[] = [];
  const extents: Extent[] = [];
  const hashes: Uint8Array[] = [];
  const versions = new Map<string, number>();
  let slot = frameBlocks;
  for (const [block, word] of words.entries()) {
    if (word === undefined) continue;
    if (word === 'cleared') {
      append(extents, { start: block, count: 1, frame: CLEARED, slot: 0 });
      continue;
    }
    if (slot === frameBlocks) {
      if (frames.length % packFrames === 0) packs.push({ name: `${prefix}.${packs.length}`, totalBytes: 10_000 });
      frames.push({
        pack: packs.length - 1,
        offset: 16 + (frames.length % packFrames) * 100,
        storedBytes: 100,
        blocks: frameBlocks,
        codec: 0,
      });
      slot = 0;
    }
    append(extents, { start: block, count: 1, frame: frames.length - 1, slot });
    versions.set(placeOf(packs.at(-1)!, frames.at(-1)!, slot), word);
    hashes.push(hashOfVersion(word));
    slot++;
  }
  return { layer: { packs, frames, extents, hashes: Buffer.concat(hashes) }, versions };
}

/** What a map says, block by block, by the versions at the places that it names. */
export function sayingOf(
  { packs, frames, extents }: Pick<Layer, 'packs' | 'frames' | 'extents'>,
  versions: ReadonlyMap<string, number>,
): Said[] {
  const words: Said[] = Array.from({ length: BLOCKS }, () => undefined);
  for (const { start, count, frame, slot } of extents) {
    for (let i = 0; i < count; i++) {
      const table = frames[frame];
      words[start + i] = table === undefined ? 'cleared' : versions.get(placeOf(packs[table.pack]!, table, slot + i));
    }
  }
  return words;
}

/** The model of a view: newest word first. */
export function overlaid(stack: readonly (readonly Said[])[]): Said[] {
  return Array.from({ length: BLOCKS }, (_, block) => stack.findLast((words) => words[block] !== undefined)?.[block]);
}

/** What anybody can see of it: cleared and unspoken blocks read the same. */
export const seen = (words: readonly Said[]): (number | 'zeros')[] =>
  words.map((word) => (typeof word === 'number' ? word : 'zeros'));
