import type { z } from 'zod';
import type { DiskId } from '../domain/ids.ts';
import type { Layer } from '../domain/layer.ts';
import type { Layout } from '../domain/layout.ts';
import type { LayerName } from '../domain/point-stack.ts';
import { restorePlan, transferPlan, mergePlan } from '../format/documents.ts';
import type { ChainRecord, Manifest, ManifestRegion } from '../format/documents.ts';
import { checkpointName, planName, placeOfObject } from '../format/names.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { JobRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import type { Chain } from './chain.ts';
import { DAMAGE_CODES } from './findings.ts';
import { type RegionOf, blobOf, readLayerMap } from './layers.ts';
import { forEachAtOnce } from './pipeline.ts';
import { type PartedPlan, namesOfPlan, partsOf, readPlan } from './plans.ts';
import { type Span, spansOf, within } from './spans.ts';

/*
 * Whether somebody names an object. Asked of some names at a time, since all that an item names is too much to be held: what manifests
 * say of a span is read where one of its regions is asked for, and a layer's map where packs of its region are that nothing else has
 * explained. Layers and checkpoints are named by their own region, and so are packs, since no layer names another region's. Slabs are called
 * by a region of their span; but in old vaults they were not, so for one that seems to be nobody's all spans are asked.
 */

/** Regions whose layers are read at once: a map takes some megabytes where a region is full. */
const REGIONS_IN_FLIGHT = 4;

/** What of some names has been found named so far. */
class Names {
  readonly named = new Set<string>();
  readonly #open: Set<string>;

  constructor(names: readonly string[]) {
    this.#open = new Set(names);
  }

  add(name: string): void {
    if (this.#open.delete(name)) this.named.add(name);
  }

  isOpen(name: string): boolean {
    return this.#open.has(name);
  }

  /** Those that nobody has been found to name. */
  get open(): ReadonlySet<string> {
    return this.#open;
  }
}

/** What of a disk is asked for: packs by their regions, and the numbers of slabs by their names. */
interface Asked {
  readonly regions: Set<number>;
  readonly packs: Map<number, string[]>;
  readonly slabs: Map<string, number>;
}

/**
 * Those of `names` that `record` leads to (its manifests and their parts, their layers, slabs and checkpoints, and the layers' packs), or that the
 * plan of one of `jobs`, which have not ended, names. Where a layer cannot be read nobody knows which packs it names: then all of its
 * region's count as named.
 * @throws BackupError VaultObjectMissing, DocumentCorrupt where a manifest that has to be asked is lost
 */
export async function namedAmong(
  container: VaultContainer,
  chain: Chain,
  record: ChainRecord,
  layout: Pick<Layout, 'spanRegions'>,
  names: readonly string[],
  jobs: readonly JobRow[],
): Promise<ReadonlySet<string>> {
  const found = new Names(names);
  if (names.length === 0) return found.named;
  const manifests = await chain.manifests(record);
  for (const { manifest } of record.points) found.add(manifest);
  for (const { disks } of manifests) for (const { parts = [] } of disks) for (const { name } of parts) found.add(name);
  for (const [disk, asked] of askedOf(found.open))
    await askDisk({ container, chain, manifests, layout, found, disk }, asked);
  for (const job of jobs) {
    if (found.open.size === 0) break;
    for await (const named of namedByPlan(container, job)) for (const name of named) found.add(name);
  }
  return found.named;
}

function askedOf(names: ReadonlySet<string>): Map<DiskId, Asked> {
  const byDisk = new Map<DiskId, Asked>();
  for (const name of names) {
    const place = placeOfObject(name);
    if (place === undefined) continue;
    const { disk, region, kind } = place;
    const asked = byDisk.get(disk) ?? { regions: new Set(), packs: new Map(), slabs: new Map() };
    byDisk.set(disk, asked);
    asked.regions.add(region);
    if (kind === 'slab') asked.slabs.set(name, region);
    const packs = asked.packs.get(region);
    if (kind !== 'pack') continue;
    if (packs === undefined) asked.packs.set(region, [name]);
    else packs.push(name);
  }
  return byDisk;
}

interface Asking {
  readonly container: VaultContainer;
  readonly chain: Chain;
  readonly manifests: readonly Manifest[];
  readonly layout: Pick<Layout, 'spanRegions'>;
  readonly found: Names;
  readonly disk: DiskId;
}

async function askDisk(asking: Asking, asked: Asked): Promise<void> {
  const { chain, manifests, layout, found, disk } = asking;
  const spans = Map.groupBy(spansOf(disk, manifests, layout), (span) => hasAny(span, asked.regions));
  const entriesIn = async (span: Span): Promise<ManifestRegion[]> =>
    (await within(chain, manifests, disk, span)).flatMap(({ disks }) => disks.flatMap(({ regions }) => regions));
  for (const span of spans.get(true) ?? []) {
    const entries = await entriesIn(span);
    addDocuments(asking, entries);
    const ofRegion = Map.groupBy(entries, ({ region }) => region);
    const wanted = [...ofRegion].filter(([region]) => asked.packs.has(region));
    await forEachAtOnce(wanted, REGIONS_IN_FLIGHT, ([region, own]) =>
      addPacks(
        asking,
        region,
        own.flatMap(({ layers }) => layers),
        asked.packs.get(region)!,
      ),
    );
  }
  for (const span of spans.get(false) ?? []) {
    if (![...asked.slabs.keys()].some((name) => found.isOpen(name))) return;
    addDocuments(asking, await entriesIn(span));
  }
}

function hasAny({ from, to }: Span, regions: ReadonlySet<number>): boolean {
  for (const region of regions) if (region >= from && region < to) return true;
  return false;
}

/** What manifests name themselves. */
function addDocuments({ chain, disk, found }: Asking, entries: readonly ManifestRegion[]): void {
  for (const { region, layers, checkpoint } of entries) {
    if (checkpoint !== undefined) found.add(checkpointName(chain.item, disk, region, checkpoint.attempt));
    for (const layer of layers) found.add(blobOf({ item: chain.item, disk, region }, layer));
  }
}

/** The packs of a region's layers, until all that are asked for have been found. */
async function addPacks(
  { container, chain, disk, found }: Asking,
  region: number,
  layers: readonly LayerName[],
  packs: readonly string[],
): Promise<void> {
  const at = { item: chain.item, disk, region };
  let isUnread = false;
  for (const layer of layers) {
    if (!packs.some((name) => found.isOpen(name))) return;
    if (layer.slab !== undefined) continue; // it has its bytes there too
    const own = await packsOf(container, at, layer);
    isUnread ||= own === undefined;
    for (const { name } of own ?? []) found.add(name);
  }
  if (isUnread) for (const name of packs) found.add(name);
}

/** Undefined where the layer is damaged: that must not keep the leftovers of all other regions. */
async function packsOf(container: VaultContainer, at: RegionOf, layer: LayerName): Promise<Layer['packs'] | undefined> {
  try {
    return (await readLayerMap(container, at, layer)).packs;
  } catch (error) {
    if (isBackupError(error, ...DAMAGE_CODES)) return undefined;
    throw error;
  }
}

/** The plan of a job that has not ended, and the layers that it reads from, a part of the plan at a time. */
export async function* namedByPlan(container: VaultContainer, job: JobRow): AsyncGenerator<string[]> {
  const { itemId: item, attempt } = job;
  if (attempt === undefined) return;
  yield [planName(item, attempt)];
  async function* parts<Plan extends PartedPlan>(
    schema: z.ZodType<Plan>,
    layersOf: (part: Plan) => string[],
  ): AsyncGenerator<string[]> {
    const plan = await readPlan(container, item, attempt!, schema);
    yield namesOfPlan(plan);
    for await (const { part } of partsOf(container, plan, schema)) yield layersOf(part);
  }
  const blobs = (disk: DiskId, region: number, layers: readonly LayerName[]): string[] =>
    layers.map((layer) => blobOf({ item, disk, region }, layer));
  try {
    if (job.operation === 'Backup') {
      yield* parts(transferPlan, ({ disks, units }) =>
        units.flatMap(({ disk, regions }) =>
          regions.flatMap(({ region, stack }) => blobs(disks[disk]!.disk, region, stack)),
        ),
      );
    } else if (job.operation === 'Restore') {
      yield* parts(restorePlan, ({ targets, units }) =>
        units.flatMap(({ target, regions }) =>
          regions.flatMap(({ region, stack }) => blobs(targets[target]!.disk, region, stack)),
        ),
      );
    } else if (job.operation === 'Merge') {
      yield* parts(mergePlan, ({ units }) =>
        units.flatMap(({ disk, folds }) => folds.flatMap(({ region, layers }) => blobs(disk, region, layers))),
      );
    }
  } catch (error) {
    if (!isBackupError(error, 'VaultObjectMissing')) throw error; // noted, but not stored yet
  }
}
