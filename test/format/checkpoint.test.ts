import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CLEARED } from '../../shared/domain/extent.ts';
import type { AttemptId, PointId } from '../../shared/domain/ids.ts';
import { OwnersBuilder } from '../../shared/domain/known-blocks.ts';
import type { Layer } from '../../shared/domain/layer.ts';
import { ViewBuilder, regionView } from '../../shared/domain/region-view.ts';
import { checkpointOf, decodeCheckpoint, encodeCheckpoint } from '../../shared/format/checkpoint.ts';
import { BLOCKS, layerSaying, said, sayingOf, overlaid } from '../domain/arbitraries.ts';
import { codeOf, flips, truncations } from './failures.ts';

const NAME = 'v1/items/vm/disks/d/000000.0000000000000001.checkpoint';
const stack = fc.array(said, { minLength: 1, maxLength: 6 });

const nameOf = (n: number) => ({
  point: `${n}`.padStart(17, '0') as PointId,
  attempt: `${n}`.padStart(16, '0') as AttemptId,
  ...(n % 2 === 1 && { slab: { number: n, offset: 16 + n, bytes: 99 } }),
});

function known(layers: readonly (Layer & { hashes: Uint8Array })[]) {
  const builder = new OwnersBuilder();
  for (const [number, layer] of [...layers.entries()].toReversed()) builder.add(number, layer);
  return builder.finish();
}

const place = (words: Parameters<typeof overlaid>[0]) =>
  words.map((own, n) => layerSaying(`${n}`, own, 2)) as {
    layer: Layer & { hashes: Uint8Array };
    versions: Map<string, number>;
  }[];

describe('a checkpoint', () => {
  it('of the first layers of a stack gives the view of the whole stack', () => {
    fc.assert(
      fc.property(stack, fc.nat(), (words, pick) => {
        const placed = place(words);
        const layers = placed.map(({ layer }) => layer);
        const depth = 1 + (pick % layers.length);
        const names = layers.slice(0, depth).map((_, n) => nameOf(n));
        const bytes = encodeCheckpoint(NAME, checkpointOf(names, known(layers.slice(0, depth))));
        const checkpoint = decodeCheckpoint(NAME, bytes);
        expect(checkpoint.layers).toEqual(names);

        const builder = new ViewBuilder();
        for (const layer of layers.slice(depth).toReversed()) builder.add(layer);
        for (const [number, runs] of builder.addOwned(checkpoint))
          expect(builder.locate({ ...layers[number]!, hashes: undefined }, runs)).toBe(true);
        const view = builder.finish();
        const versions = new Map(placed.flatMap((own) => [...own.versions]));
        expect(sayingOf(view, versions)).toEqual(overlaid(words));
        const whole = regionView(layers);
        for (let block = 0; block < BLOCKS; block++) {
          const stored = view.extents.some(
            ({ start, count, frame }) => frame !== CLEARED && block >= start && block < start + count,
          );
          if (stored) expect(view.hashOf!(block)).toEqual(whole.hashOf!(block));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('that names blocks which its layer does not have is found out', () => {
    const [one, other] = place([
      Array.from({ length: BLOCKS }, (_, i) => (i < 2 ? 1 : undefined)),
      Array.from({ length: BLOCKS }, (_, i) => (i < 1 ? 2 : undefined)),
    ]);
    const builder = new ViewBuilder();
    const [[, runs]] = [...builder.addOwned(checkpointOf([nameOf(0)], known([one!.layer])))] as [[number, never]];
    expect(builder.locate(other!.layer, runs)).toBe(false);
    expect(builder.locate(one!.layer, runs)).toBe(true);
  });

  it('that is damaged, cut, or lies under another name is refused', () => {
    const placed = place([Array.from({ length: BLOCKS }, (_, i) => (i % 2 === 0 ? 1 : undefined))]);
    const bytes = encodeCheckpoint(NAME, checkpointOf([nameOf(1)], known(placed.map(({ layer }) => layer))));
    expect(codeOf(() => decodeCheckpoint(NAME, bytes))).toBe('none');
    for (const { damaged } of flips(bytes))
      expect(['CheckpointCorrupt', 'FormatUnsupported']).toContain(codeOf(() => decodeCheckpoint(NAME, damaged)));
    for (const cut of truncations(bytes)) expect(codeOf(() => decodeCheckpoint(NAME, cut))).toBe('CheckpointCorrupt');
    expect(codeOf(() => decodeCheckpoint(NAME.replace('000000', '000001'), bytes))).toBe('CheckpointCorrupt');
  });
});
