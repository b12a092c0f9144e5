import { isBackupError } from '../domain/errors.ts';
import { without } from '../domain/changes.ts';
import { type BlockRun, normalise, within } from '../domain/extent.ts';
import { type ChainPoint, type Cover, type FindingKind, isInChain, pointsShowing } from '../domain/findings.ts';
import type { AttemptId, PointId } from '../domain/ids.ts';
import { regionRange } from '../domain/units.ts';
import { decodeCheckpoint } from '../format/checkpoint.ts';
import { checkpointName } from '../format/names.ts';
import type { OwnedLayer, VerifyPlan } from '../format/verify-plan.ts';
import { type Found, DAMAGE_CODES } from './findings.ts';
import { type RegionOf, blobOf, readLayer, readLayerMap, readView } from './layers.ts';
import { checkBlocks, checkSlab } from './verify-blocks.ts';
import { wholeRegion } from './region-bytes.ts';
import { differences, viewHashes } from './verify-compare.ts';
import { liveWithin, owned, spanAround } from './verify-points.ts';
import type { VerifyWork } from './verify-work.ts';

/** A region as it is looked at: its layers, oldest first, and the live points of its disk, as of one record. */
interface Seen {
  readonly seq: number;
  readonly layers: readonly OwnedLayer[];
  /** Attempts of the checkpoints that the points name. */
  readonly checkpoints: readonly AttemptId[];
  readonly points: readonly ChainPoint[];
}

/** Everything about one unit's region that does not change. */
export interface RegionWork extends VerifyWork {
  readonly disk: VerifyPlan['disks'][number];
  readonly region: number;
}

const sameLayer =
  (a: OwnedLayer) =>
  (b: OwnedLayer): boolean =>
    a.point === b.point && a.attempt === b.attempt && a.slab?.number === b.slab?.number;

/**
 * Reads some of a region's layers in depth: each layer whole, each of its stored blocks against its hash; and, for the first unit of a
 * region, its checkpoints, and its view against the living snapshot. What is gone while another record has become the newest has been merged away:
 * then the region is looked at again as the newest record has it.
 */
export async function checkRegion(
  work: RegionWork,
  plan: VerifyPlan,
  { layers: planned, checkpoints }: VerifyPlan['regions'][number],
  mine: readonly OwnedLayer[],
  isFirst: boolean,
): Promise<Found[]> {
  const points = work.disk.points.map((point, i) => ({ point, begins: work.disk.begins?.[i] ?? undefined }));
  let seen: Seen = { seq: plan.seq, layers: planned, checkpoints, points };
  let own = mine;
  for (;;) {
    const look = new Look(work, seen);
    for (const layer of own) await look.into(layer);
    if (isFirst) await look.atCheckpoints();
    if (isFirst) await look.compare(plan.compared);
    if (!look.missed) return look.found;
    const newest = await work.chain.newest();
    if (newest.seq === seen.seq) return look.found; // nothing has moved: this is damage
    seen = await asNow(work);
    // What others look at stays theirs; what is new is looked at here.
    own = seen.layers.filter((layer) => mine.some(sameLayer(layer)) || !planned.some(sameLayer(layer)));
  }
}

async function asNow({ chain, disk, region, ports }: RegionWork): Promise<Seen> {
  const { record, live } = await liveWithin(chain, disk.disk, (manifests) =>
    spanAround(region, disk.disk, manifests, ports.settings.layout),
  );
  return {
    seq: record.seq,
    layers: live?.regions.get(region)?.layers.map(owned) ?? [],
    checkpoints: live?.regions.get(region)?.checkpoints.map(({ attempt }) => attempt) ?? [],
    points: live?.points ?? [],
  };
}

/** One look at a region under one record. */
class Look {
  readonly found: Found[] = [];
  /** Something that the record names was not there. */
  missed = false;
  readonly #work: RegionWork;
  readonly #seen: Seen;
  readonly #at: RegionOf;

  constructor(work: RegionWork, seen: Seen) {
    this.#work = work;
    this.#seen = seen;
    this.#at = { item: work.item, disk: work.disk.disk, region: work.region };
  }

  /** Reads one layer and all its blocks. */
  async into(named: OwnedLayer): Promise<void> {
    const { container } = this.#work;
    let layer: Awaited<ReturnType<typeof readLayer>>;
    try {
      layer = await readLayer(container, this.#at, named);
    } catch (error) {
      if (!isBackupError(error, ...DAMAGE_CODES)) throw error;
      const whole = [wholeRegion(this.#work.ports)];
      return this.#add('layer', blobOf(this.#at, named), error, { runs: whole, listed: [] }, named);
    }
    for (const damage of await checkBlocks(container, layer)) {
      const runs = normalise(damage.runs);
      await this.#add(runs.length === 0 ? 'index' : 'blocks', damage.pack, damage, { runs, listed: runs }, named);
    }
    const damage = named.leads === true ? await checkSlab(container, blobOf(this.#at, named)) : undefined;
    if (damage !== undefined) await this.#add('index', damage.pack, damage, { runs: [], listed: [] }, named);
  }

  /** A checkpoint is a cache: where it is damaged readers do without it. */
  async atCheckpoints(): Promise<void> {
    const { item, disk, region } = this.#at;
    for (const attempt of this.#seen.checkpoints) {
      const name = checkpointName(item, disk, region, attempt);
      try {
        decodeCheckpoint(name, await this.#work.container.readWhole(name));
      } catch (error) {
        if (!isBackupError(error, 'BlobNotFound', 'CheckpointCorrupt', 'FormatUnsupported')) throw error;
        const isGone = error.code === 'BlobNotFound';
        this.missed ||= isGone;
        const code = isGone ? 'VaultObjectMissing' : error.code;
        this.found.push(this.#finding('index', name, code, `${error.message}; no block is lost`, [], []));
      }
    }
  }

  async #add(
    kind: FindingKind,
    object: string,
    { code, message }: { code: string; message: string },
    { runs, listed }: { runs: readonly BlockRun[]; listed: readonly BlockRun[] },
    named: OwnedLayer,
  ): Promise<void> {
    this.missed ||= code === 'VaultObjectMissing';
    const above = this.#seen.layers.slice(this.#seen.layers.findIndex(sameLayer(named)) + 1);
    const covers = await readCovers(this.#work, this.#at, above, runs);
    this.missed ||= covers.missed;
    const points = pointsShowing(runs, named.owner, covers.covers, this.#seen.points);
    // What a later layer of the same point hides, since their fold was put off, no point shows.
    const hiding = covers.covers.filter(({ owner }) => owner === named.owner);
    const shown = hiding.reduce<readonly BlockRun[]>((left, { extents }) => without(left, extents ?? []), listed);
    if (points.length > 0 || kind === 'index')
      this.found.push(this.#finding(kind, object, code, message, shown, points));
    else this.found.push(this.#finding('index', object, code, `${message}; no live point shows it`, [], []));
  }

  #finding(
    kind: FindingKind,
    object: string,
    code: string,
    message: string,
    runs: readonly BlockRun[],
    points: readonly PointId[],
  ): Found {
    const { disk, region } = this.#work;
    return { kind, object, code, message, disk, region, runs, points, newest: this.#seen.points.at(-1)?.point };
  }

  /** Compares the view at `compared` with its living snapshot. What cannot be compared is left out. */
  async compare(compared: PointId | null): Promise<void> {
    const { container, disk, region, ports } = this.#work;
    const snapshot = disk.compare;
    const at = this.#seen.points.find(({ point }) => point === compared);
    if (snapshot === null || compared === null || at === undefined) return;
    const stack = this.#seen.layers.filter(({ owner }) => isInChain(owner, at));
    const window = regionRange(region, snapshot.sizeBytes, ports.settings.geometry);
    if (window.start === window.end) return;
    let expected: ReturnType<typeof viewHashes>;
    try {
      expected = viewHashes(
        await readView(container, { ...this.#at, blocks: wholeRegion(ports).count }, stack),
        window,
      );
    } catch (error) {
      if (!isBackupError(error, ...DAMAGE_CODES)) throw error;
      this.missed ||= error.code === 'VaultObjectMissing';
      return; // the layers are looked at on their own
    }
    const runs = await differences(ports.snapshots, snapshot, window, expected);
    if (runs === undefined || runs.length === 0) return;
    const above = this.#seen.layers.filter(({ owner }) => owner > compared);
    const covers = await readCovers(this.#work, this.#at, above, runs);
    this.missed ||= covers.missed;
    const message = `the vault shows other bytes at point ${compared} than snapshot ${snapshot.id} of ${snapshot.url} has`;
    const points = pointsShowing(runs, compared, covers.covers, this.#seen.points);
    const object = `${snapshot.url}?snapshot=${snapshot.id}`;
    this.found.push(this.#finding('view', object, 'ViewDiffers', message, runs, points));
  }
}

/** What of `runs` each of the layers `above` speaks of. Only read where something has been found. */
export async function readCovers(
  { container }: Pick<VerifyWork, 'container'>,
  at: RegionOf,
  above: readonly OwnedLayer[],
  runs: readonly BlockRun[],
): Promise<{ covers: Cover[]; missed: boolean }> {
  const covers: Cover[] = [];
  let missed = false;
  for (const named of runs.length === 0 ? [] : above) {
    try {
      const { extents } = await readLayerMap(container, at, named);
      covers.push({ owner: named.owner, extents: within(extents, runs) });
    } catch (error) {
      if (!isBackupError(error, ...DAMAGE_CODES)) throw error;
      missed ||= error.code === 'VaultObjectMissing';
      covers.push({ owner: named.owner, extents: undefined });
    }
  }
  return { covers, missed };
}
