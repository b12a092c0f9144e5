import { createHash } from 'node:crypto';
import { decodeDocument } from '../../shared/format/document.ts';
import type { Layer } from '../../shared/domain/layer.ts';
import {
  type ChainRecord,
  type LayerRef,
  type Manifest,
  type ManifestDisk,
  chainRecord,
  manifest,
  manifestPart,
} from '../../shared/format/documents.ts';
import { decodeLayer } from '../../shared/format/layer-file.ts';
import type { StoredBlob } from './memory-vault.ts';

/*
 * Looks at a vault's container from outside, by its names and bytes alone: what is there, what the newest record leads to, and what
 * is left over. It shares nothing with the services but the readers of the formats.
 */

type Blobs = ReadonlyMap<string, Pick<StoredBlob, 'body'>>;

/** The newest chain record of an item, by default of the only one in the container. */
export function newestRecord(blobs: Blobs, item = ''): ChainRecord {
  const name = [...blobs.keys()]
    .filter((each) => each.includes(`${item}/chain/`))
    .sort()
    .at(-1)!;
  return decodeDocument(name, blobs.get(name)!.body, chainRecord);
}

/** The bytes of what is named. @throws Error when it is not there */
function bodyOf(blobs: Blobs, name: string): Uint8Array {
  const found = blobs.get(name);
  if (found === undefined) throw new Error(`${name} is named, but not there`);
  return found.body;
}

/** The manifests that the newest record names, in snapshot order. */
export function liveManifests(blobs: Blobs, item?: string): Manifest[] {
  return newestRecord(blobs, item).points.map((entry) => {
    const head = decodeDocument(entry.manifest, bodyOf(blobs, entry.manifest), manifest, entry.sha256);
    return { ...head, disks: head.disks.map((own) => ({ ...own, regions: allRegions(blobs, own) })) };
  });
}

/** What a manifest and its parts say of the regions of a disk. */
function allRegions(blobs: Blobs, { regions, parts = [] }: ManifestDisk): ManifestDisk['regions'] {
  return [
    ...regions,
    ...parts.flatMap(({ name, sha256 }) => decodeDocument(name, bodyOf(blobs, name), manifestPart, sha256).regions),
  ];
}

/** A stored block: its number on the disk and its hash. */
export interface OwnedBlock {
  readonly disk: number;
  readonly block: number;
  readonly hash: string;
}

/** For each live point the blocks that are its own, by the layers that its manifest lists. */
export function ownedBlocks(blobs: Blobs, regionBlocks: number): OwnedBlock[][] {
  return liveManifests(blobs).map((point) =>
    point.disks.flatMap((disk, index) =>
      disk.regions.flatMap(({ region, layers }) =>
        layers.flatMap((ref) => {
          const { layer } = openLayer(blobs, point, disk.disk, region, ref);
          let at = 0;
          return layer.extents.flatMap((extent) =>
            extent.frame < 0
              ? []
              : Array.from({ length: extent.count }, (_, i) => ({
                  disk: index,
                  block: region * regionBlocks + extent.start + i,
                  hash: Buffer.from(layer.hashes.subarray(at, (at += 32))).toString('hex'),
                })),
          );
        }),
      ),
    ),
  );
}

/** The layer that a manifest names, and the blob that it lies in. */
export function openLayer(
  blobs: Blobs,
  { item }: Manifest,
  disk: string,
  region: number,
  { point, attempt, slab }: LayerRef,
): { blob: string; layer: Layer & { hashes: Uint8Array } } {
  const folder = `v1/items/${item}/disks/${disk}/${point}/`;
  const numbered = (number: number, kind: string): string =>
    `${folder}${String(number).padStart(6, '0')}.${attempt}.${kind}`;
  const file = numbered(region, 'layer');
  if (slab === undefined) return { blob: file, layer: decodeLayer(file, bodyOf(blobs, file)) };
  const blob = numbered(slab.number, 'slab');
  const body = bodyOf(blobs, blob);
  return { blob, layer: decodeLayer(file, body.subarray(slab.offset, slab.offset + slab.bytes)) };
}

/** Everything that the newest record of an item leads to. Throws where something of it is missing or damaged. */
export function namedIn(blobs: Blobs, item?: string): Set<string> {
  const named = new Set<string>();
  for (const { manifest: name } of newestRecord(blobs, item).points) named.add(name);
  for (const point of liveManifests(blobs, item)) {
    for (const disk of point.disks) {
      for (const { name } of disk.parts ?? []) named.add(name);
      for (const { region, layers, checkpoint } of disk.regions) {
        for (const ref of layers) {
          const { blob, layer } = openLayer(blobs, point, disk.disk, region, ref);
          named.add(blob);
          for (const pack of layer.packs) named.add(pack.name);
        }
        if (checkpoint !== undefined)
          named.add(
            `v1/items/${point.item}/disks/${disk.disk}/${String(region).padStart(6, '0')}.${checkpoint.attempt}.checkpoint`,
          );
      }
    }
  }
  for (const name of named) if (!blobs.has(name)) throw new Error(`${name} is named, but not there`);
  return named;
}

/** The names in the folder of an item (by default the only one) that nothing leads to: besides the chain, all that the newest record does not name. */
export function leftovers(blobs: Blobs, item?: string): string[] {
  const named = namedIn(blobs, item);
  const folder = item === undefined ? 'v1/items/' : `v1/items/${item}/`;
  return [...blobs.keys()].filter((name) => name.startsWith(folder) && !named.has(name) && !name.includes('/chain/'));
}

/** The SHA-256 of a block, as the map tells blocks apart. */
export const hashOf = (block: Uint8Array): string => createHash('sha256').update(block).digest('hex');
