import type { DiskId, ItemId } from '../domain/ids.ts';
import { type Geometry, regionsIn } from '../domain/units.ts';
import { disksPrefix, itemPrefix, regionsUnder } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { listRegions } from './disk-listing.ts';

/*
 * The folder of an item with a disk of 32 TiB has millions of names. A sweep goes through it in pieces that can be held: first it tries
 * the whole folder; where that has too many names, the disks one by one, the plans and the manifests; of a disk with too many the
 * regions whose numbers begin with 0, with 00, and so on until the names are few. In a small vault that is one listing, as if there
 * were no pieces.
 */

/**
 * What begins so in an item's folder: '' is all of it. In a disk's folder the rest are the first digits of regions: `disks/<disk>/001`
 * is everything of regions 1000 to 1999, whatever point wrote it. The same form stands in messages.
 */
export type Place = string;

/** Some places that follow each other, and every name that lies in them. */
export interface Batch {
  readonly places: readonly Place[];
  readonly names: readonly string[];
  /** Nothing comes after them. */
  readonly isLast: boolean;
}

/** Places of one batch, however empty: each takes a few listings. */
const MOST_PLACES = 64;

/** No disk of Azure is larger: 64 TiB is the most of an Ultra Disk or a Premium SSD v2. */
const LARGEST_DISK_BYTES = 64 * 2 ** 40;

const DECIMAL = '0123456789'.split('');
const HEXADECIMAL = '0123456789abcdef'.split('');

/** How a folder's names begin, and how many of their first characters tell them apart. */
const WAYS = {
  plans: { characters: HEXADECIMAL, most: 16 },
  points: { characters: DECIMAL, most: 17 },
  disks: { characters: DECIMAL, most: 6 },
} as const;

const DISK_FOLDER = /^disks\/([0-9a-z-]{1,40})\/$/;

/** The folder that a place lies in, and what its names begin with there. */
function partsOf(place: Place): { folder: string; begins: string } {
  const end = place.lastIndexOf('/') + 1;
  return { folder: place.slice(0, end), begins: place.slice(end) };
}

const parentOf = (place: Place): Place => {
  const { folder, begins } = partsOf(place);
  return begins === '' ? '' : `${folder}${begins.slice(0, -1)}`;
};

/** A walk through everything in an item's folder but the chain, in ascending order of places. */
export class SweepWalk {
  readonly #container: VaultContainer;
  readonly #item: ItemId;
  readonly #namesAtOnce: number;
  readonly #mostRegions: number;

  /** A batch has at most `namesAtOnce` names, or those of one region. */
  constructor(container: VaultContainer, item: ItemId, namesAtOnce: number, geometry: Geometry) {
    this.#container = container;
    this.#item = item;
    this.#namesAtOnce = namesAtOnce;
    this.#mostRegions = regionsIn(LARGEST_DISK_BYTES, geometry);
  }

  /** The names that come after the place `after`; undefined: from the start. */
  async batch(after: Place | undefined): Promise<Batch> {
    const places: Place[] = [];
    const names: string[] = [];
    let place = after === undefined ? '' : await this.#next(after);
    while (place !== undefined) {
      let found = await this.#list(place, this.#namesAtOnce - names.length);
      if (found === undefined) {
        if (places.length > 0) break; // a batch of its own
        const [first] = await this.#within(place);
        if (first !== undefined) {
          place = first;
          continue;
        }
        found = (await this.#list(place, Infinity))!;
      }
      places.push(place);
      for (const name of found) names.push(name);
      place = await this.#next(place);
      if (2 * names.length >= this.#namesAtOnce || places.length >= MOST_PLACES) break;
    }
    return { places, names, isLast: place === undefined };
  }

  /** The ids of all disks that have a folder. */
  async disks(): Promise<DiskId[]> {
    const prefix = itemPrefix(this.#item);
    const disks: DiskId[] = [];
    for await (const folder of this.#container.folders(disksPrefix(this.#item))) {
      const disk = DISK_FOLDER.exec(folder.slice(prefix.length))?.[1];
      if (disk !== undefined) disks.push(disk as DiskId);
    }
    return disks;
  }

  /** The places that a place consists of, ascending; none where it is not parted. */
  async #within(place: Place): Promise<Place[]> {
    if (place === '') return [...(await this.disks()).map((disk) => `disks/${disk}/`), 'plans/', 'points/'];
    const { folder, begins } = partsOf(place);
    const kind = folder.slice(0, folder.indexOf('/')) as keyof typeof WAYS;
    const { characters, most } = WAYS[kind];
    if (begins.length >= most) return [];
    const further = characters.map((character) => `${begins}${character}`);
    const there = kind === 'disks' ? further.filter((own) => regionsUnder(own).from < this.#mostRegions) : further;
    return there.map((own) => `${folder}${own}`);
  }

  /** The place after `place` and all that it consists of. */
  async #next(place: Place): Promise<Place | undefined> {
    for (let at = place; at !== ''; at = parentOf(at)) {
      const next = (await this.#within(parentOf(at))).find((own) => own > at);
      if (next !== undefined) return next;
    }
    return undefined;
  }

  /** The names in a place; undefined when there are more than `most`. */
  async #list(place: Place, most: number): Promise<string[] | undefined> {
    const names: string[] = [];
    for await (const { name } of this.#blobs(place)) {
      if (name.startsWith(`${itemPrefix(this.#item)}chain/`)) continue;
      if (names.length >= most) return undefined;
      names.push(name);
    }
    return names;
  }

  #blobs(place: Place): AsyncIterable<{ name: string }> {
    const { folder, begins } = partsOf(place);
    const disk = DISK_FOLDER.exec(folder)?.[1];
    return disk === undefined
      ? this.#container.list(`${itemPrefix(this.#item)}${place}`)
      : listRegions(this.#container, this.#item, disk as DiskId, begins);
  }
}
