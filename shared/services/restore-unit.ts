import { isBackupError } from '../domain/errors.ts';
import { touchedBlocks } from '../domain/changes.ts';
import { type RegionStack, stackDigest } from '../domain/point-stack.ts';
import type { RegionView } from '../domain/region-view.ts';
import type { RestoreTarget } from '../disk/restore-targets.ts';
import { BLOCK_BYTES, type ByteRange, HASH_BYTES, blocksIn, regionRange } from '../domain/units.ts';
import { type RestorePlan, restorePlan } from '../format/documents.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { readPieces } from './changed-blocks.ts';
import { readView } from './layers.ts';
import { runningJob } from './jobs.ts';
import { newestStacks } from './newest-stacks.ts';
import { ahead, forEachAtOnce, inOrder } from './pipeline.ts';
import { openUnit } from './open-plan.ts';
import type { Ports } from './ports.ts';
import { type BlockBytes, hashBlock, padded, readBlocks } from './region-bytes.ts';
import { readAhead } from './read-ahead.ts';
import { readBack, RegionHashes } from './read-back.ts';
import { hashesAsCut } from './restored-form.ts';
import { SharedListings, windowsOf } from './shared-listings.ts';
import { withFrameRanges, withSlabRanges } from './slab-ranges.ts';
import { type Probing, stillWanted, UnitUnwanted } from './still-wanted.ts';
import { TargetWriter } from './target-writer.ts';

const READ_BYTES = 8 * 1024 * 1024;
const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/** The key of a unit's mark. */
export const unitRowKey = (unit: number): string => unit.toString().padStart(7, '0');

/** Regions of a unit that are worked on at once: several only where they are small. */
const REGIONS_IN_FLIGHT = 4;

type Target = RestorePlan['targets'][number];
type Unit = RestorePlan['units'][number];
type Region = Unit['regions'][number];
/** A region of a unit, its bytes on the target. */
type Part = Region & { readonly window: ByteRange };

/**
 * A region of one disk, or several small ones, are written to their target under the job's lease, and read back. Writing the same bytes
 * again does no harm; once the target has been handed over the lease is gone and a late write is refused. A finished unit leaves a mark.
 *
 * Memory: what a restore unit of several regions has, 16 MiB by the layout, is read at most twice over, layers and blocks; their
 * hashes take 32 KiB for each block where blocks lie far from each other.
 */
export async function restoreUnit(
  ports: Ports,
  step: { vault: string; jobId: string; attempt: string; unit: number },
): Promise<void> {
  const key = unitRowKey(step.unit);
  const mark = ahead(ports.catalog.units.get(step.attempt, key));
  const open = await openUnit(ports, step, restorePlan);
  // A run that came after the job's end may have died before it took its mark away.
  if (open === undefined) return ports.catalog.units.remove(step.attempt, key);
  const { address, container, plan, unit } = open;
  const target = plan.targets[unit.target];
  if (target === undefined) return;
  if ((await mark) !== undefined) return;

  const { geometry } = ports.settings;
  const parts = unit.regions.map((region): Part => ({
    ...region,
    window: regionRange(region.region, target.sizeBytes, geometry),
  }));
  const windows = windowsOf(
    unit.regions.map(({ region }) => region),
    regionsOfTarget(plan, unit),
    target.sizeBytes,
    geometry,
  );
  // What is read back is compared with the layers' hashes, all but a block that the disk's end cuts: that has another one there.
  const isCut = parts.some(({ window }) => window.end % BLOCK_BYTES !== 0);
  let hashes: ReadonlyMap<Part, RegionHashes>;
  const probe = stillWanted(ports, address, step.attempt);
  const probing = { ...ports, stillWanted: probe };
  try {
    hashes =
      target.source === null
        ? await fromVault(ports, container, plan, target, parts, isCut, ({ window }, blocks) =>
            copy(probing, target, window, blocks),
          )
        : await fromSnapshot(probing, target, target.source, parts, windows);
  } catch (error) {
    if (error instanceof UnitUnwanted) return;
    if (!isBackupError(error, 'UserErrorInstantRpNotFound')) throw error;
    // The snapshots went after the plan was made: the job plans again, from the vault if the point is there.
    return ports.queue.send({ step: 'plan-restore', v: 1, ...address, instead: step.attempt });
  }
  const listings = new SharedListings((window) => ports.targets.allocated(target, window), windows);
  const reading = {
    allocated: (_: RestoreTarget, window: ByteRange) => listings.within(window),
    readBack: ports.targets.readBack.bind(ports.targets),
  };
  try {
    await forEachAtOnce(parts, REGIONS_IN_FLIGHT, (part) => readBack(reading, target, part.window, hashes.get(part)!));
  } catch (error) {
    // Damage in the vault shows on the disk; a second look at the vault's bytes tells whose fault it is.
    if (isBackupError(error, 'RestoreVerificationFailed') && target.source === null)
      await fromVault(ports, container, plan, target, parts, true, async (_, blocks) => {
        for await (const _run of blocks) void _run;
      });
    throw error;
  }
  await ports.catalog.units.upsert(plan.attempt, key, { bytes: unit.bytes });
  // The job's end takes the marks away: one that came later than that goes too.
  if ((await runningJob(ports, address, step.attempt)) === undefined)
    await ports.catalog.units.remove(plan.attempt, key);
}

/** All regions of a unit's target in the plan's part. */
const regionsOfTarget = (plan: RestorePlan, unit: Unit): Set<number> =>
  new Set(
    plan.units
      .filter((own) => own.target === unit.target)
      .flatMap(({ regions }) => regions.map(({ region }) => region)),
  );

/**
 * Hands the blocks that a unit restores to `use`, which may be asked twice.
 * @param check whether each block is compared with its hash
 */
async function fromVault<Result>(
  ports: Ports,
  container: VaultContainer,
  plan: RestorePlan,
  target: Target,
  parts: readonly Part[],
  check: boolean,
  use: (part: Part, blocks: AsyncIterable<BlockBytes>) => Promise<Result>,
): Promise<ReadonlyMap<Part, Result>> {
  for (let stacks: readonly Region[] = parts; ;) {
    try {
      const views = await viewsOf(ports, container, plan, target, stacks);
      const frames = views.length > 1 ? withFrameRanges(container, views) : container;
      return await eachPart(parts, (part, i) => use(part, readBlocks(frames, views[i]!, { check })));
    } catch (error) {
      if (!isBackupError(error, 'VaultObjectMissing')) throw error;
      // Merges below a pinned point go on: it starts again with the stacks as the newest record has them.
      const regions = parts.map(({ region }) => region);
      const newest = await newestStacks(container, plan.item, target.disk, plan.point, regions);
      const moved = newest && regions.map((region): Region => stackAt(newest, region));
      const isSame = moved?.every(({ stack }, i) => stackDigest(stack) === stackDigest(stacks[i]!.stack));
      if (moved === undefined || isSame === true) throw error; // nothing has moved: this is damage
      stacks = moved;
    }
  }
}

function stackAt(stacks: ReadonlyMap<number, RegionStack>, region: number): Region {
  const { layers, checkpoint } = stacks.get(region) ?? { layers: [] };
  return { region, stack: [...layers], checkpoint };
}

/** What the regions' stacks show. A slab in which several of them lie is read once. */
async function viewsOf(
  ports: Ports,
  container: VaultContainer,
  { item }: RestorePlan,
  { disk }: Target,
  regions: readonly Region[],
): Promise<RegionView[]> {
  const blocks = ports.settings.geometry.regionBytes / BLOCK_BYTES;
  const placed = regions.map((region) => ({ ...region, at: { item, disk, region: region.region, blocks } }));
  const wanted = placed.flatMap(({ at, stack }) => stack.map((layer) => ({ at, layer })));
  const layers = placed.length > 1 ? withSlabRanges(container, wanted, { frames: false }) : container;
  const views: RegionView[] = [];
  for await (const { result } of inOrder(placed, REGIONS_IN_FLIGHT, ({ at, stack, checkpoint }) =>
    readView(layers, at, stack, checkpoint),
  ))
    views.push(result);
  return views;
}

function fromSnapshot(
  { snapshots, targets, stillWanted: probe }: Pick<Ports, 'snapshots' | 'targets'> & Probing,
  target: Target,
  source: { url: string; id: string },
  parts: readonly Part[],
  windows: readonly ByteRange[],
): Promise<ReadonlyMap<Part, RegionHashes>> {
  const listings = new SharedListings((window) => snapshots.allocated(source, window), windows);
  return eachPart(parts, ({ window }) => {
    const read = (range: ByteRange, into: Uint8Array): Promise<Uint8Array> => snapshots.read(source, range, into);
    return copy({ targets, stillWanted: probe }, target, window, snapshotBlocks(listings.within(window), read, window));
  });
}

async function eachPart<Result>(
  parts: readonly Part[],
  work: (part: Part, index: number) => Promise<Result>,
): Promise<ReadonlyMap<Part, Result>> {
  const results = new Map<Part, Result>();
  for await (const { item, result } of inOrder(parts.entries(), REGIONS_IN_FLIGHT, ([i, part]) => work(part, i)))
    results.set(item[1], result);
  return results;
}

/** Writes runs of blocks to the target, cut at the disk's end; answers the hashes of what was written. */
async function copy(
  { targets, stillWanted: probe }: Pick<Ports, 'targets'> & Probing,
  target: Target,
  window: ByteRange,
  blocks: AsyncIterable<BlockBytes>,
): Promise<RegionHashes> {
  const hashes = new RegionHashes(blocksIn(window.end - window.start));
  const writer = new TargetWriter(targets, target, window.end);
  for await (const run of blocks) {
    const { start, bytes } = run;
    await probe?.();
    hashes.set(start, hashesAsCut(window, run));
    await writer.write(window.start + start * BLOCK_BYTES, bytes);
  }
  await writer.finish();
  return hashes;
}

/** The blocks of a snapshot's region that hold anything but zeros. */
async function* snapshotBlocks(
  ranges: AsyncIterable<ByteRange>,
  read: (range: ByteRange, into: Uint8Array) => Promise<Uint8Array>,
  window: ByteRange,
): AsyncGenerator<BlockBytes> {
  const allocated: ByteRange[] = [];
  for await (const range of ranges) allocated.push(range);
  const pieces = readPieces(touchedBlocks(allocated, window), window, READ_BYTES);
  for await (const { piece, bytes: found } of readAhead(pieces, read)) {
    const bytes = padded(found);
    let from = 0;
    for (let at = 0; at <= bytes.length; at += BLOCK_BYTES) {
      const zero = at === bytes.length || ZERO_BLOCK.equals(bytes.subarray(at, at + BLOCK_BYTES));
      if (!zero) continue;
      if (at > from) yield hashed(piece.block + from / BLOCK_BYTES, bytes.subarray(from, at));
      from = at + BLOCK_BYTES;
    }
  }
}

function hashed(start: number, bytes: Uint8Array): BlockBytes {
  const hashes = Buffer.allocUnsafe((bytes.length / BLOCK_BYTES) * HASH_BYTES);
  for (let i = 0; i * BLOCK_BYTES < bytes.length; i++) {
    hashes.set(hashBlock(bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)), i * HASH_BYTES);
  }
  return { start, bytes, hashes };
}
