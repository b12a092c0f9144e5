import { pointsShowing } from '../domain/findings.ts';
import type { DiskId } from '../domain/ids.ts';
import { HASH_BYTES } from '../domain/units.ts';
import type { CountedLayer } from '../format/documents.ts';
import { LAYER_HEADER_BYTES } from '../format/layer-file.ts';
import { checkpointName, itemPrefix } from '../format/names.ts';
import type { OwnedLayer, VerifyPlan } from '../format/verify-plan.ts';
import type { BlobInfo } from '../vault/vault-container.ts';
import type { Found } from './findings.ts';
import { blobOf } from './layers.ts';
import { countsOf } from './layer-writer.ts';
import { wholeRegion } from './region-bytes.ts';
import { readCovers } from './verify-region.ts';
import { type LiveDisk, type LiveRegion, liveDisks, livePoints, owned } from './verify-points.ts';
import type { VerifyWork } from './verify-work.ts';

/** One object that the manifests name, and where. */
interface Named {
  readonly region: LiveRegion;
  /** The layer in it; undefined: a checkpoint. */
  readonly layer: OwnedLayer | undefined;
  readonly counted: CountedLayer | undefined;
}

/**
 * Compares one listing of a disk's folder with what the manifests name: every layer, slab and checkpoint is there, as large as it must
 * be, and says of itself what the manifest says of it. Nothing is read, except maps of layers above one that is gone. Packs are
 * known only to layers: reading in depth looks at them. Answers what was found and how many objects nobody names.
 */
export async function takeInventory(
  work: VerifyWork,
  disk: VerifyPlan['disks'][number],
): Promise<{ found: Found[]; leftovers: number }> {
  for (let live = await livePoints(work.chain); ;) {
    const own = liveDisks(live.manifests, disk.disk).get(disk.disk);
    const named = own === undefined ? new Map<string, Named[]>() : namesIn(work, own);
    const listed = await list(work, disk.disk, named);
    const found = [...listed.wrong];
    if (listed.missing.size > 0) {
      const now = await livePoints(work.chain);
      if (now.record.seq !== live.record.seq) {
        live = now; // what is missing may have been merged away
        continue;
      }
      for (const [name, uses] of listed.missing)
        for (const use of uses)
          found.push(...(await damage(work, disk, own!, name, use, 'VaultObjectMissing', `${name} is gone`)));
    }
    for (const { name, use, message } of listed.cut)
      found.push(...(await damage(work, disk, own!, name, use, 'LayerCorrupt', message)));
    return { found, leftovers: listed.leftovers };
  }
}

/** Everything of a disk that its manifests name, by name. A slab is named by each of its regions. */
function namesIn({ item }: VerifyWork, live: LiveDisk): Map<string, Named[]> {
  const named = new Map<string, Named[]>();
  const add = (name: string, use: Named): void => {
    const uses = named.get(name);
    if (uses === undefined) named.set(name, [use]);
    else uses.push(use);
  };
  for (const region of live.regions.values()) {
    const at = { item, disk: live.disk, region: region.region };
    for (const own of region.layers) add(blobOf(at, own.layer), { region, layer: owned(own), counted: own.layer });
    for (const { attempt } of region.checkpoints)
      add(checkpointName(item, live.disk, region.region, attempt), {
        region,
        layer: undefined,
        counted: undefined,
      });
  }
  return named;
}

interface Listed {
  readonly missing: ReadonlyMap<string, Named[]>;
  /** Counts that do not fit. */
  readonly wrong: Found[];
  /** Layer files and slabs too short for what they must hold. */
  readonly cut: { name: string; use: Named; message: string }[];
  readonly leftovers: number;
}

async function list(work: VerifyWork, disk: DiskId, named: ReadonlyMap<string, Named[]>): Promise<Listed> {
  const missing = new Map(named);
  const wrong: Found[] = [];
  const cut: Listed['cut'] = [];
  let leftovers = 0;
  for await (const info of work.container.list(`${itemPrefix(work.item)}disks/${disk}/`)) {
    const uses = named.get(info.name);
    missing.delete(info.name);
    if (uses === undefined) {
      if (!info.name.endsWith('.pack')) leftovers++;
      continue;
    }
    for (const use of uses) {
      const short = tooShort(info, use);
      if (short !== undefined) cut.push({ name: info.name, use, message: short });
      else wrong.push(...otherCounts(info, use, disk));
    }
  }
  return { missing, wrong, cut, leftovers };
}

/** A layer file has at least its header and a hash for each block; a slab has its layers. */
function tooShort({ name, sizeBytes }: BlobInfo, { layer, counted }: Named): string | undefined {
  if (layer === undefined || counted === undefined) return undefined;
  const least =
    layer.slab === undefined
      ? LAYER_HEADER_BYTES + counted.dataBlocks * HASH_BYTES
      : layer.slab.offset + layer.slab.bytes;
  return sizeBytes >= least ? undefined : `${name} has ${sizeBytes} bytes; what it holds takes at least ${least}`;
}

function otherCounts({ name, summary }: BlobInfo, { region, layer, counted }: Named, disk: DiskId): Found[] {
  if (layer === undefined || counted === undefined || layer.slab !== undefined) return [];
  const said = countsOf(summary);
  const { dataBlocks, clearedBlocks, storedBytes } = counted;
  if (said.dataBlocks === dataBlocks && said.clearedBlocks === clearedBlocks && said.storedBytes === storedBytes)
    return [];
  const manifest = `${dataBlocks} blocks, ${clearedBlocks} cleared, ${storedBytes} bytes`;
  const own = `${said.dataBlocks}, ${said.clearedBlocks}, ${said.storedBytes}`;
  const message = `${name} says of itself ${own}; its manifest says ${manifest}. No block is lost`;
  return [
    {
      kind: 'index',
      object: name,
      code: 'LayerCorrupt',
      message,
      disk: { disk },
      region: region.region,
      runs: [],
      points: [],
    },
  ];
}

/** What it means that an object is gone or cut: a checkpoint is only a cache, a layer is somebody's data. */
async function damage(
  work: VerifyWork,
  disk: VerifyPlan['disks'][number],
  live: LiveDisk,
  object: string,
  { region, layer }: Named,
  code: string,
  message: string,
): Promise<Found[]> {
  const place = { object, code, message, disk, region: region.region, runs: [], newest: live.points.at(-1)?.point };
  if (layer === undefined) return [{ ...place, kind: 'index', points: [] }];
  const at = { item: work.item, disk: live.disk, region: region.region };
  const layers = region.layers.map(owned);
  const index = layers.findIndex((each) => blobOf(at, each) === object);
  const whole = [wholeRegion(work.ports)];
  const { covers } = await readCovers(work, at, layers.slice(index + 1), whole);
  const points = pointsShowing(whole, layer.owner, covers, live.points);
  if (points.length > 0) return [{ ...place, kind: 'layer', points }];
  return [{ ...place, message: `${message}; no live point shows it`, kind: 'index', points }];
}
