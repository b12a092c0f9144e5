import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import type { AttemptId, DiskId, PointId } from '../../shared/domain/ids.ts';
import type { Layer } from '../../shared/domain/layer.ts';
import { PRODUCTION_LAYOUT } from '../../shared/domain/layout.ts';
import { type WeighedLayer, decideMerge } from '../../shared/domain/merge.ts';
import { type DiskLayers, type LayerName, type LayeredPoint, stacksOf } from '../../shared/domain/point-stack.ts';
import { foldLayers } from '../../shared/domain/fold.ts';
import { regionView } from '../../shared/domain/region-view.ts';
import { BLOCKS, type Said, layerSaying, said, sayingOf, seen } from './arbitraries.ts';

/*
 * Points of several disks with several regions, merged away one after another in any order. The model is one plain array of blocks
 * for each disk of each point: whatever merges, the views at the points that are left are those arrays.
 */

const DISKS = ['a', 'b', 'c'] as const;
const REGIONS = [0, 1] as const;

/** What one point changed: for each disk that it includes, for each region what it says. */
const change = fc.record(
  Object.fromEntries(
    DISKS.map((name) => [
      name,
      fc.record({ 0: fc.option(said, { nil: undefined }), 1: fc.option(said, { nil: undefined }) }),
    ]),
  ),
  { requiredKeys: [] },
);
type Change = Readonly<Record<string, Readonly<Record<number, Said[] | undefined>> | undefined>>;
const history = fc.array(change, { minLength: 2, maxLength: 7 });

class Model {
  points: LayeredPoint<DiskLayers<WeighedLayer>>[] = [];
  readonly layers = new Map<string, Layer>();
  readonly versions = new Map<string, number>();
  /** Point, disk and region to what must be seen there. */
  readonly images = new Map<string, Said[]>();
  #attempts = 0;
  folds = 0;
  partly = 0;

  constructor(changes: readonly Change[]) {
    const now = new Map<string, Said[]>();
    for (const [n, own] of changes.entries()) {
      const point = String(n).padStart(17, '0') as PointId;
      const disks: DiskLayers<WeighedLayer>[] = [];
      for (const disk of Object.keys(own)) {
        const regions: { region: number; layers: WeighedLayer[] }[] = [];
        for (const region of REGIONS) {
          const words = own[disk]![region];
          const at = `${disk} ${region}`;
          const before = now.get(at) ?? Array.from<Said>({ length: BLOCKS });
          now.set(
            at,
            before.map((word, block) => words?.[block] ?? word),
          );
          this.images.set(`${point} ${at}`, now.get(at)!);
          if (words?.some((word) => word !== undefined) !== true) continue;
          const placed = layerSaying(`${point}.${at}`, words, 2);
          placed.versions.forEach((version, place) => this.versions.set(place, version));
          regions.push({ region, layers: [this.#store(disk, region, point, placed.layer)] });
        }
        disks.push({ disk: disk as DiskId, sizeBytes: 512, regions });
      }
      this.points.push({ point, disks });
    }
  }

  #store(disk: string, region: number, point: PointId, layer: Layer): WeighedLayer {
    const attempt = String(this.#attempts++).padStart(16, '0') as AttemptId;
    this.layers.set(`${disk} ${region} ${point} ${attempt}`, layer);
    // Weights as of larger regions, so that some folds are put off.
    const dataBlocks = 4 ** (layer.extents.length + (this.#attempts % 3));
    return { point, attempt, dataBlocks, clearedBlocks: 0 };
  }

  stack(disk: string, region: number, names: readonly LayerName[]): Layer[] {
    return names.map(({ point, attempt }) => this.layers.get(`${disk} ${region} ${point} ${attempt}`)!);
  }

  merge(expired: PointId): void {
    const made = decideMerge(expired, this.points, PRODUCTION_LAYOUT).map(
      ({ disk, region, into, kept, folded, bottom }) => {
        if (folded.length === 0) return { disk, region, into, layers: kept };
        this.folds++;
        if (kept.length > 0) this.partly++;
        const layer = foldLayers(this.stack(disk, region, folded), bottom);
        const fold = layer.extents.length === 0 ? [] : [this.#store(disk, region, into, layer)];
        return { disk, region, into, layers: [...kept, ...fold] };
      },
    );
    this.points = this.points
      .filter(({ point }) => point !== expired)
      .map(({ point, disks }) => ({
        point,
        disks: disks.map((own) => {
          const mine = made.filter(({ disk, into }) => disk === own.disk && into === point);
          const regions = [
            ...own.regions.filter(({ region }) => !mine.some((each) => each.region === region)),
            ...mine,
          ];
          return {
            ...own,
            regions: regions.filter(({ layers }) => layers.length > 0).sort((a, b) => a.region - b.region),
          };
        }),
      }));
  }

  check(): void {
    for (const [n, { point, disks }] of this.points.entries()) {
      for (const { disk } of disks) {
        const stacks = stacksOf(disk, this.points.slice(0, n + 1));
        for (const region of REGIONS) {
          const view = regionView(this.stack(disk, region, stacks.get(region)?.layers ?? []));
          expect(seen(sayingOf(view, this.versions))).toEqual(seen(this.images.get(`${point} ${disk} ${region}`)!));
        }
      }
    }
  }

  /** Each stored block belongs to one layer, so to one point: no layer is named twice. */
  checkOwners(): void {
    const named = this.points.flatMap(({ disks }) =>
      disks.flatMap(({ disk, regions }) =>
        regions.flatMap(({ region, layers }) =>
          layers.map(({ point, attempt }) => `${disk} ${region} ${point} ${attempt}`),
        ),
      ),
    );
    expect(new Set(named).size).toBe(named.length);
  }
}

it('after any merges in any order, the view at every point that is left is what it was', () => {
  const made = { folds: 0, partly: 0 };
  fc.assert(
    fc.property(history, fc.array(fc.nat(), { maxLength: 6 }), (changes, picks) => {
      const model = new Model(changes);
      model.check();
      for (const pick of picks) {
        // The newest point always stays.
        if (model.points.length < 2) break;
        model.merge(model.points[pick % (model.points.length - 1)]!.point);
        model.check();
        model.checkOwners();
      }
      made.folds += model.folds;
      made.partly += model.partly;
    }),
    { numRuns: 300 },
  );
  expect(made.folds).toBeGreaterThan(made.partly);
  expect(made.partly).toBeGreaterThan(0);
});

it('every layer of the expired point is kept or folded, once, or its disk is in no later point', () => {
  fc.assert(
    fc.property(history, fc.nat(), (changes, pick) => {
      const { points } = new Model(changes);
      const at = pick % points.length;
      const gone = points[at]!;
      const later = new Set(points.slice(at + 1).flatMap(({ disks }) => disks.map(({ disk }) => disk)));
      const key = (disk: string, region: number, { attempt }: LayerName): string => `${disk} ${region} ${attempt}`;
      const own = gone.disks
        .filter(({ disk }) => later.has(disk))
        .flatMap(({ disk, regions }) =>
          regions.flatMap(({ region, layers }) => layers.map((layer) => key(disk, region, layer))),
        );
      const handled = decideMerge(gone.point, points, PRODUCTION_LAYOUT).flatMap(({ disk, region, kept, folded }) =>
        [...kept, ...folded].filter(({ point }) => point === gone.point).map((layer) => key(disk, region, layer)),
      );
      expect(handled.sort()).toEqual(own.sort());
    }),
  );
});
