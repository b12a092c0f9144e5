import { decodeDocument } from '../../shared/format/document.ts';
import { manifest } from '../../shared/format/documents.ts';
import { decodeLayer } from '../../shared/format/layer-file.ts';
import { attemptIn, layerName, slabName } from '../../shared/format/names.ts';
import type { StoredBlob } from './memory-vault.ts';
import { namedIn, newestRecord } from './vault-map.ts';
import { VAULT, type World } from './world.ts';

/*
 * What must hold of everything that is stored at every moment, whoever has died where: a reader may come now, and what runs next may
 * be a sweep or a rebuild. For worlds with one VM named `vm`, whose points all reach the vault.
 */

/** @throws Error saying what is there before what it needs */
export async function checkStored(world: World): Promise<void> {
  const blobs = world.vaults.blobs(world.vaults.containerNames()[0]!);
  namedIn(blobs);
  checkManifests(blobs);
  checkLayers(blobs);
  await checkNoted(world, blobs);
  await checkRows(world, blobs);
  await checkSnapshots(world, blobs);
}

/** Whoever reads a manifest, of an older record too, finds its layers. */
function checkManifests(blobs: ReadonlyMap<string, StoredBlob>): void {
  for (const [name, { body }] of blobs) {
    if (!name.includes('/points/')) continue;
    const { item, disks } = decodeDocument(name, body, manifest);
    for (const { disk, regions } of disks) {
      for (const { region, layers } of regions) {
        for (const { point, attempt, slab } of layers) {
          const blob =
            slab === undefined
              ? layerName({ item, disk, region, point, attempt })
              : slabName(item, disk, point, slab.number, attempt);
          if (!blobs.has(blob)) throw new Error(`manifest ${name} is there, but not its ${blob}`);
        }
      }
    }
  }
}

/** Whoever reads a layer finds its packs. */
function checkLayers(blobs: ReadonlyMap<string, StoredBlob>): void {
  for (const [name, { body }] of blobs) {
    if (!name.endsWith('.layer')) continue;
    for (const pack of decodeLayer(name, body).packs)
      if (!blobs.has(pack.name)) throw new Error(`layer ${name} is there, but not its ${pack.name}`);
  }
}

/** What a plan has made is known to be its job's, or the sweep would take it. */
async function checkNoted(world: World, blobs: ReadonlyMap<string, StoredBlob>): Promise<void> {
  const noted = new Set<string>();
  for await (const { row } of world.ports.catalog.jobs.list(VAULT))
    for (const attempt of row.attempts) noted.add(attempt);
  for (const [name, { body }] of blobs) {
    const attempt = attemptIn(name);
    if (attempt === undefined || noted.has(attempt)) continue;
    // A list of what to delete follows from a commit, and is written down again by whoever finds the commit.
    if (name.includes('/plans/') && Buffer.from(body).includes('"kind":"reclaim"')) continue;
    throw new Error(`${name} is there, but no job has noted its plan`);
  }
}

/** Rows follow the chain: they may lag behind it, and never are ahead. */
async function checkRows(world: World, blobs: ReadonlyMap<string, StoredBlob>): Promise<void> {
  const { seq, points } = newestRecord(blobs);
  const rows = await world.points('vm');
  for (const row of rows)
    if (row.seq > seq) throw new Error(`the row of ${row.point} tells of record ${row.seq}, not written yet`);
  for (const { point } of points)
    if (!rows.some((row) => row.point === point))
      throw new Error(`record ${seq} names ${point}, which has no row any more`);
}

/** A point is found again by its snapshots, so those of a point that was dropped are gone before it is. */
async function checkSnapshots(world: World, blobs: ReadonlyMap<string, StoredBlob>): Promise<void> {
  const { points } = newestRecord(blobs);
  const last = points.at(-1)?.point ?? '';
  for (const url of world.disks.urls()) {
    for await (const { id, tags } of world.ports.snapshots.list(url)) {
      const point = tags['point'];
      if (point === undefined || point > last || points.some((live) => live.point === point)) continue;
      throw new Error(`no record names ${point} any more, but its snapshot ${id} is there`);
    }
  }
}
