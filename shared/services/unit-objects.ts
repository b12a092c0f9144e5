import type { AttemptId, DiskId, ItemId, PointId } from '../domain/ids.ts';
import type { CountedLayer } from '../format/documents.ts';
import { layerName, layersPrefix, slabName } from '../format/names.ts';
import { readSlabDirectory, slabTailBytes } from '../format/slab.ts';
import type { BlobInfo, VaultContainer } from '../vault/vault-container.ts';
import { countsOf } from './layer-writer.ts';

/** What a unit of a plan writes: the layer of its one region, or a slab with the layers of several. */
export interface UnitObject {
  readonly item: ItemId;
  readonly attempt: AttemptId;
  readonly disk: DiskId;
  readonly point: PointId;
  readonly slab: number | null;
  readonly regions: readonly number[];
}

/** The name of the unit's one object. */
export function objectName({ item, attempt, disk, point, slab, regions }: UnitObject): string {
  return slab === null
    ? layerName({ item, disk, point, region: regions[0]!, attempt })
    : slabName(item, disk, point, slab, attempt);
}

/** The objects that are there, by name. What is in the container is the truth; there are no counters. */
export async function finishedObjects(
  container: VaultContainer,
  units: readonly UnitObject[],
): Promise<Map<string, BlobInfo>> {
  const found = new Map<string, BlobInfo>();
  const byFolder = Map.groupBy(units, ({ item, disk, point }) => layersPrefix(item, disk, point));
  for (const own of byFolder.values()) {
    const wanted = new Set(own.map(objectName));
    for await (const blob of container.list(commonPrefix([...wanted]))) {
      if (wanted.has(blob.name)) found.set(blob.name, blob);
    }
  }
  return found;
}

/** What all `names` begin with: numbers in them are padded, so that few others do. */
function commonPrefix(names: readonly string[]): string {
  const first = names[0]!;
  let length = first.length;
  for (const name of names) while (!name.startsWith(first.slice(0, length))) length--;
  return first.slice(0, length);
}

/** The layers in a finished object, by region, as a manifest counts them: those that say nothing are left out. */
export async function layersIn(
  container: VaultContainer,
  unit: UnitObject,
  { name, sizeBytes, summary }: BlobInfo,
): Promise<Map<number, CountedLayer>> {
  const { point, attempt } = unit;
  if (unit.slab === null) {
    const counts = countsOf(summary);
    const empty = counts.dataBlocks === 0 && counts.clearedBlocks === 0;
    return new Map(empty ? [] : [[unit.regions[0]!, { point, attempt, ...counts }]]);
  }
  const tail = slabTailBytes(Number(summary['regions']));
  const entries = readSlabDirectory(name, await container.read(name, sizeBytes - tail, tail));
  return new Map(
    entries.map(({ region, place, storedBytes, ...counts }) => [
      region,
      { point, attempt, slab: { number: unit.slab!, ...place }, ...counts, storedBytes, liveBytes: storedBytes },
    ]),
  );
}
