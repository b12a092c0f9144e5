import { runsOf } from '../domain/compaction.ts';
import { isBackupError } from '../domain/errors.ts';
import { runId } from '../domain/ids.ts';
import type { Frame, Layer, PackUse } from '../domain/layer.ts';
import { PACK_BYTES } from '../domain/units.ts';
import type { CompactPlan, CompactUnit } from '../format/compact-plan.ts';
import { type LayerKey, layerName, packName } from '../format/names.ts';
import { PACK_HEADER_BYTES, type PackedFrame, packHeader, packTail } from '../format/pack.ts';
import type { Assembly, VaultContainer } from '../vault/vault-container.ts';
import { storeLayer } from './layer-writer.ts';
import { readLayer } from './layers.ts';
import { framesOfPack } from './pack-tables.ts';
import { forEachAtOnce } from './pipeline.ts';
import type { Ports } from './ports.ts';

/** Packs put together at once, and tables read at once. */
const IN_FLIGHT = 4;

/*
 * One unit of a compaction: a layer is written anew that says the same, block for block and hash for hash, but has the frames in use
 * of its sparse packs in new packs. Frames are copied as they are stored, by the storage itself where it can, and nobody looks
 * at them: a damaged frame is copied damaged, and its hashes go on telling.
 *
 * The frame table of a new pack tells the blocks of each frame, those that are dead included; the old pack's table knows them. A
 * pack whose table is gone, does not read, or contradicts the layer stays where it is: it is evidence, and verify's business.
 */

/** Does one unit. Its one object is the new layer; the first of twins stands, the other's packs are leftovers. */
export async function compactRegion(
  ports: Pick<Ports, 'ids' | 'log'>,
  container: VaultContainer,
  plan: CompactPlan,
  unit: CompactUnit,
): Promise<void> {
  const at = { item: plan.item, disk: unit.disk, region: unit.region };
  const key: LayerKey = { ...at, point: unit.layer.point, attempt: plan.attempt };
  if ((await container.stat(layerName(key))) !== undefined) return;
  const layer = await readLayer(container, at, unit.layer);
  const wanted = new Set(unit.packs);
  const tables = new Map<number, ReadonlyMap<number, PackedFrame>>();
  const sparse = [...layer.packs.keys()].filter((pack) => wanted.has(layer.packs[pack]!.name));
  await forEachAtOnce(sparse, IN_FLIGHT, async (pack) => {
    const table = await framesOfPack(ports, container, layer, pack);
    if (table !== undefined) tables.set(pack, table);
  });

  const groups = packsFrom(layer.frames, tables);
  const run = runId(ports.ids.hex(8));
  const made: PackUse[] = groups.map(({ frames }, n) => {
    const name = packName(key, run, n);
    const bytes = frames.reduce((sum, { storedBytes }) => sum + storedBytes, PACK_HEADER_BYTES);
    return { name, totalBytes: bytes + packTail(name, frames).length };
  });
  const ways: Assembly[] = [];
  await forEachAtOnce(groups.entries(), IN_FLIGHT, async ([n, { numbers, frames }]) => {
    const { name } = made[n]!;
    const copies = runsOf(numbers.map((number) => layer.frames[number]!)).map(({ pack, offset, bytes }) => ({
      from: layer.packs[pack]!.name,
      offset,
      length: bytes,
    }));
    const parts = [{ bytes: packHeader() }, ...copies, { bytes: packTail(name, frames) }];
    ways.push(...(await assembleOnce(container, name, parts)));
  });
  await storeLayer(container, key, { ...layer, ...replaced(layer, groups, made, new Set(tables.keys())) });
  report(ports, key, ways);
}

/** The new layer's packs and frames; extents and hashes stay, as frames keep their numbers. */
function replaced(
  layer: Layer,
  groups: readonly PackGroup[],
  made: readonly PackUse[],
  gone: ReadonlySet<number>,
): Pick<Layer, 'packs' | 'frames'> {
  const kept = [...layer.packs.keys()].filter((pack) => !gone.has(pack));
  const newNumber = new Map(kept.map((pack, index) => [pack, index]));
  const frames = layer.frames.map((frame): Frame =>
    gone.has(frame.pack) ? frame : { ...frame, pack: newNumber.get(frame.pack)! },
  );
  for (const [n, group] of groups.entries()) {
    for (const [i, number] of group.numbers.entries())
      frames[number] = { ...layer.frames[number]!, pack: kept.length + n, offset: group.frames[i]!.offset };
  }
  return { packs: [...kept.map((pack) => layer.packs[pack]!), ...made], frames };
}

/** The frames of a new pack: their numbers in the layer, and what the new pack's table says of them. */
interface PackGroup {
  readonly numbers: number[];
  readonly frames: PackedFrame[];
}

/** Puts the frames in use of the packs in `tables` into new packs, in the order in which they lie now, so that neighbours stay neighbours. */
function packsFrom(
  frames: readonly Frame[],
  tables: ReadonlyMap<number, ReadonlyMap<number, PackedFrame>>,
): PackGroup[] {
  const moving = [...frames.entries()]
    .filter(([, { pack }]) => tables.has(pack))
    .sort(([, a], [, b]) => a.pack - b.pack || a.offset - b.offset);
  const groups: PackGroup[] = [];
  let end = Infinity;
  for (const [number, { pack, offset, storedBytes, codec }] of moving) {
    if (end >= PACK_BYTES) {
      groups.push({ numbers: [], frames: [] });
      end = PACK_HEADER_BYTES;
    }
    const group = groups.at(-1)!;
    group.numbers.push(number);
    group.frames.push({ offset: end, storedBytes, codec, blocks: tables.get(pack)!.get(offset)!.blocks });
    end += storedBytes;
  }
  return groups;
}

/** The name holds this run's nonce: where it exists already, a retry inside the client has made it. */
async function assembleOnce(
  container: VaultContainer,
  ...args: Parameters<VaultContainer['assemble']>
): Promise<Assembly[]> {
  try {
    return [await container.assemble(...args)];
  } catch (error) {
    if (isBackupError(error, 'BlobAlreadyExists')) return [];
    throw error;
  }
}

function report(ports: Pick<Ports, 'log'>, { disk, region, point }: LayerKey, ways: readonly Assembly[]): void {
  const sum = (of: (way: Assembly) => number): number => ways.reduce((all, way) => all + of(way), 0);
  const moved = sum(({ bytesMoved }) => bytesMoved);
  const how =
    moved === 0 ? 'copied by the storage' : `the storage refused to copy, ${moved} bytes went through this process`;
  const requests = `${sum(({ blockRequests }) => blockRequests)} writes, ${sum(({ readRequests }) => readRequests)} reads`;
  ports.log(
    `compacted region ${region} of disk ${disk} at ${point}: ${ways.length} packs, ${how} (${requests})`,
    'info',
  );
}
