import type { SnapshotSet } from '../../shared/catalog/catalog.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { liveManifests } from '../support/vault-map.ts';
import { type DiskImage, storedBlocks } from './model.ts';
import { type Scene, blobsOf } from './scene.ts';

/** What the manifests of an item say is stored is what the model says is still visible, to the block. */
export function checkBill(scene: Scene, itemId: string, sets: ReadonlyMap<PointId, readonly SnapshotSet[]>): void {
  const blobs = blobsOf(scene);
  const manifests = liveManifests(blobs, itemId);
  const lists = manifests.flatMap(({ disks }) => disks.flatMap(({ regions }) => regions.map(({ layers }) => layers)));
  const billed = lists.flat().reduce((sum, { dataBlocks }) => sum + dataBlocks, 0);
  const live = new Set(manifests.map(({ point }) => point));
  const chains = new Map<string, (DiskImage & { point: PointId })[]>();
  const records = [...blobs]
    .filter(([name]) => name.startsWith(`v1/items/${itemId}/chain/`))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { body }]) => JSON.parse(Buffer.from(body).toString()) as { kind: string; points: { point: PointId }[] });
  for (const { kind, points } of records) {
    if (kind !== 'backup') continue;
    const point = points.at(-1)!.point;
    const before = new Set(points.slice(0, -1).map((each) => each.point));
    for (const { disk, url, snapshot } of sets.get(point)!.at(-1)!.disks) {
      const chain = chains.get(disk) ?? [];
      chains.set(disk, chain);
      const base = chain.findLastIndex((image) => before.has(image.point));
      chain.push({
        point,
        bytes: scene.images.get(`${url}?${snapshot}`)!,
        base: base < 0 ? undefined : base,
        live: live.has(point),
      });
    }
  }
  const expected = [...chains.values()].reduce((sum, chain) => sum + storedBlocks(chain), 0);
  const overwritten = lists.reduce((sum, layers) => sum + mostOverwritten(layers), 0);
  if (billed < expected || billed > expected + overwritten)
    throw new Error(`${billed} blocks are billed, the model has ${expected}; at most ${overwritten} wait for a fold`);
}

/** Blocks of a point's own list that may be overwritten by later ones of the list, since their fold was put off. */
function mostOverwritten(layers: readonly { dataBlocks: number; clearedBlocks: number }[]): number {
  let above = 0;
  let most = 0;
  for (const { dataBlocks, clearedBlocks } of layers.toReversed()) {
    most += Math.min(dataBlocks, above);
    above += dataBlocks + clearedBlocks;
  }
  return most;
}
