import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CLEARED } from '../../shared/domain/extent.ts';
import type { Layer } from '../../shared/domain/layer.ts';
import { foldLayers } from '../../shared/domain/fold.ts';
import { regionView } from '../../shared/domain/region-view.ts';
import { type Said, hashOfVersion, layerSaying, overlaid, said, sayingOf, seen } from './arbitraries.ts';

const stack = fc.array(said, { minLength: 1, maxLength: 6 });

/** The layers of a stack, each with packs of its own, and what lies in them. */
function place(words: readonly (readonly Said[])[]): { layers: Layer[]; versions: Map<string, number> } {
  const placed = words.map((own, i) => layerSaying(`p${i}`, own, 1 + (i % 3), 1 + (i % 2)));
  return {
    layers: placed.map(({ layer }) => layer),
    versions: new Map(placed.flatMap(({ versions }) => [...versions])),
  };
}

/** Each stored block's hash is that of the version at its place. */
function hashesFollow(layer: Layer, versions: ReadonlyMap<string, number>): void {
  const words = sayingOf(layer, versions).filter((word) => typeof word === 'number');
  expect(Buffer.from(layer.hashes!)).toEqual(Buffer.concat(words.map((word) => hashOfVersion(word))));
}

describe('the view of a region', () => {
  it("is the newest word on each block, with that word's place and hash", () => {
    fc.assert(
      fc.property(stack, (words) => {
        const { layers, versions } = place(words);
        const view = regionView(layers);
        const expected = overlaid(words);
        expect(sayingOf(view, versions)).toEqual(expected);
        for (const [block, word] of expected.entries()) {
          if (typeof word === 'number')
            expect(Buffer.from(view.hashOf!(block))).toEqual(Buffer.from(hashOfVersion(word)));
        }
      }),
    );
  });

  it('has no hashes where a layer was read without them', () => {
    const { layers } = place([[1], [2]]);
    expect(regionView([layers[0]!, { ...layers[1]!, hashes: undefined }]).hashOf).toBeUndefined();
    expect(() => foldLayers([{ ...layers[0]!, hashes: undefined }], true)).toThrow(TypeError);
  });
});

describe('a fold', () => {
  it('anywhere in a stack changes no view at or above it, nor below', () => {
    fc.assert(
      fc.property(stack, fc.nat(), fc.nat(), (words, a, b) => {
        const { layers, versions } = place(words);
        const from = Math.min(a % layers.length, b % layers.length);
        const to = Math.max(a % layers.length, b % layers.length) + 1;
        const layer = foldLayers(layers.slice(from, to), from === 0);
        const folded = layers.toSpliced(from, to - from, layer);
        for (let n = 1; n <= from; n++)
          expect(sayingOf(regionView(folded.slice(0, n)), versions)).toEqual(overlaid(words.slice(0, n)));
        for (let n = to; n <= layers.length; n++) {
          const after = sayingOf(regionView(folded.slice(0, n - (to - from) + 1)), versions);
          expect(seen(after)).toEqual(seen(overlaid(words.slice(0, n))));
          // Not at the bottom the words themselves stay, not only what they show: something below may be cleared by them.
          if (from > 0) expect(after).toEqual(overlaid(words.slice(0, n)));
        }
        hashesFollow(layer, versions);
      }),
      { numRuns: 500 },
    );
  });

  it('step by step is the same as at once', () => {
    fc.assert(
      fc.property(stack, fc.boolean(), (words, bottom) => {
        const { layers, versions } = place(words);
        const once = foldLayers(layers, bottom);
        const steps = layers
          .slice(1)
          .reduce((below, layer) => foldLayers([below, layer], bottom), foldLayers([layers[0]!], bottom));
        expect(steps.extents.map(({ start, count }) => [start, count])).toEqual(
          once.extents.map(({ start, count }) => [start, count]),
        );
        expect(sayingOf(regionView([steps]), versions)).toEqual(sayingOf(regionView([once]), versions));
        expect(steps.hashes).toEqual(once.hashes);
      }),
    );
  });

  it('keeps exactly those packs in which a block lives', () => {
    fc.assert(
      fc.property(stack, fc.boolean(), (words, bottom) => {
        const { layers, versions } = place(words);
        const layer = foldLayers(layers, bottom);
        const before = layers.flatMap(({ packs }) => packs.map(({ name }) => name));
        const view = regionView(layers);
        const alive = new Set(
          view.extents.flatMap(({ frame }) => (frame === CLEARED ? [] : [view.packs[view.frames[frame]!.pack]!.name])),
        );
        expect(layer.packs.map(({ name }) => name).sort()).toEqual(before.filter((name) => alive.has(name)).sort());
        hashesFollow(layer, versions);
      }),
    );
  });

  it('keeps no frame or pack in its tables that no extent uses', () => {
    fc.assert(
      fc.property(stack, fc.boolean(), (words, bottom) => {
        const layer = foldLayers(place(words).layers, bottom);
        const frames = new Set(layer.extents.filter(({ frame }) => frame !== CLEARED).map(({ frame }) => frame));
        expect([...frames].sort((a, b) => a - b)).toEqual([...layer.frames.keys()]);
        expect([...new Set(layer.frames.map(({ pack }) => pack))].sort((a, b) => a - b)).toEqual([
          ...layer.packs.keys(),
        ]);
      }),
    );
  });
});
