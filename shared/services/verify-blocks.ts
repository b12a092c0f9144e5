import { isBackupError } from '../domain/errors.ts';
import { type BlockRun, CLEARED, type Extent } from '../domain/extent.ts';
import type { Frame, Layer, PackUse } from '../domain/layer.ts';
import { BLOCK_BYTES, HASH_BYTES } from '../domain/units.ts';
import { decodeFrame } from '../format/frame.ts';
import { readPackTable } from '../format/pack.ts';
import { readSlabDirectory } from '../format/slab.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import { inOrder } from './pipeline.ts';
import { hashBlock } from './region-bytes.ts';

/** Packs read at once: each is up to about 9 MiB. */
const PACKS_IN_FLIGHT = 2;
/** Most bytes of a slab that are read together, and dead bytes between two wanted frames that are read along. */
const READ_BYTES = 8 * 1024 * 1024;
const GAP_BYTES = 64 * 1024;

/** Slabs begin and end with the same eight bytes. */
const SLAB_MAGIC_BYTES = 8;

/** What is wrong with one pack or slab. Without runs no block is lost. */
export interface PackDamage {
  readonly pack: string;
  readonly code: 'PackCorrupt' | 'VaultObjectMissing';
  readonly message: string;
  readonly runs: readonly BlockRun[];
}

/** A stored extent with the place of its first hash in the layer's column. */
interface Stored extends Extent {
  readonly hashAt: number;
}

/**
 * Reads every pack of a layer whole (of a slab only the layer's frames), and compares each stored block with its hash. Damage
 * is gathered, not stopped at. Memory: the layer and two packs.
 */
export async function checkBlocks(
  container: VaultContainer,
  layer: Layer & { hashes: Uint8Array },
): Promise<PackDamage[]> {
  const byFrame = new Map<number, Stored[]>();
  let hashAt = 0;
  for (const extent of layer.extents) {
    if (extent.frame === CLEARED) continue;
    const own = byFrame.get(extent.frame);
    const stored = { ...extent, hashAt };
    if (own === undefined) byFrame.set(extent.frame, [stored]);
    else own.push(stored);
    hashAt += extent.count * HASH_BYTES;
  }
  const byPack = layer.packs.map((): PackFrame[] => []);
  for (const [number, frame] of layer.frames.entries())
    byPack[frame.pack]!.push({ frame, extents: byFrame.get(number) ?? [] });
  const found: PackDamage[] = [];
  for await (const { result } of inOrder(layer.packs.entries(), PACKS_IN_FLIGHT, ([index, pack]) =>
    checkPack(container, pack, byPack[index]!, layer.hashes),
  ))
    if (result !== undefined) found.push(result);
  return found;
}

interface PackFrame {
  readonly frame: Frame;
  readonly extents: readonly Stored[];
}

async function checkPack(
  container: VaultContainer,
  pack: PackUse,
  frames: readonly PackFrame[],
  hashes: Uint8Array,
): Promise<PackDamage | undefined> {
  const lost: Lost = { runs: [], reasons: [] };
  try {
    if (pack.name.endsWith('.slab')) {
      for (const piece of pieces(frames)) await checkPiece(container, pack.name, piece, hashes, lost);
      return damageOfPack(pack.name, lost);
    }
    const bytes = await container.readWhole(pack.name);
    for (const own of frames) checkFrame(pack.name, own, bytes, 0, hashes, lost);
    return damageOfPack(pack.name, lost) ?? checkTable(pack, bytes);
  } catch (error) {
    if (!isBackupError(error, 'BlobNotFound')) throw error;
    const runs = frames.flatMap(({ extents }) => extents);
    return { pack: pack.name, code: 'VaultObjectMissing', message: `${pack.name} is gone`, runs };
  }
}

/** What a restore does not need: the pack's size and the table by which it can be read alone. */
function checkTable({ name, totalBytes }: PackUse, bytes: Uint8Array): PackDamage | undefined {
  const damage = (message: string): PackDamage => ({ pack: name, code: 'PackCorrupt', message, runs: [] });
  if (bytes.length !== totalBytes)
    return damage(`${name} has ${bytes.length} bytes, its layer says ${totalBytes}; no block is lost`);
  try {
    readPackTable(name, bytes);
    return undefined;
  } catch (error) {
    if (isBackupError(error, 'PackCorrupt', 'FormatUnsupported')) return damage(`${error.message}; no block is lost`);
    throw error;
  }
}

/** What a slab says of itself: its header, and its directory. Restores need neither. */
export async function checkSlab(container: VaultContainer, name: string): Promise<PackDamage | undefined> {
  try {
    const bytes = await container.readWhole(name);
    readSlabDirectory(name, bytes);
    const footer = bytes.subarray(bytes.length - SLAB_MAGIC_BYTES);
    if (Buffer.compare(bytes.subarray(0, SLAB_MAGIC_BYTES), footer) === 0) return undefined;
    return {
      pack: name,
      code: 'PackCorrupt',
      message: `${name} does not begin as a slab does; no block is lost`,
      runs: [],
    };
  } catch (error) {
    if (!isBackupError(error, 'SlabCorrupt', 'BlobNotFound')) throw error;
    const isGone = error.code === 'BlobNotFound';
    const message = isGone ? `${name} is gone` : `${error.message}; no block is lost`;
    return { pack: name, code: isGone ? 'VaultObjectMissing' : 'PackCorrupt', message, runs: [] };
  }
}

interface Lost {
  runs: BlockRun[];
  /** The first few. */
  reasons: string[];
}

function lose(lost: Lost, runs: readonly BlockRun[], reason: string): void {
  lost.runs.push(...runs);
  if (lost.reasons.length < 3) lost.reasons.push(reason);
}

function damageOfPack(pack: string, { runs, reasons }: Lost): PackDamage | undefined {
  return runs.length === 0 ? undefined : { pack, code: 'PackCorrupt', message: reasons.join('; '), runs };
}

/** Frames of a slab that are read together. */
function pieces(frames: readonly PackFrame[]): PackFrame[][] {
  const sorted = frames.toSorted((a, b) => a.frame.offset - b.frame.offset);
  const groups: PackFrame[][] = [];
  for (const own of sorted) {
    const group = groups.at(-1);
    const first = group?.[0]!.frame;
    const last = group?.at(-1)!.frame;
    const fits =
      first !== undefined &&
      last !== undefined &&
      own.frame.offset - (last.offset + last.storedBytes) <= GAP_BYTES &&
      own.frame.offset + own.frame.storedBytes - first.offset <= READ_BYTES;
    if (fits) group!.push(own);
    else groups.push([own]);
  }
  return groups;
}

async function checkPiece(
  container: VaultContainer,
  name: string,
  group: readonly PackFrame[],
  hashes: Uint8Array,
  lost: Lost,
): Promise<void> {
  const from = group[0]!.frame.offset;
  const last = group.at(-1)!.frame;
  try {
    const bytes = await container.read(name, from, last.offset + last.storedBytes - from);
    for (const own of group) checkFrame(name, own, bytes, from, hashes, lost);
  } catch (error) {
    if (!isBackupError(error, 'PackCorrupt')) throw error;
    // The slab is cut: what of it is there is looked at frame by frame.
    if (group.length > 1) for (const own of group) await checkPiece(container, name, [own], hashes, lost);
    else lose(lost, group[0]!.extents, error.message);
  }
}

function checkFrame(
  name: string,
  { frame, extents }: PackFrame,
  bytes: Uint8Array,
  from: number,
  hashes: Uint8Array,
  lost: Lost,
): void {
  const at = frame.offset - from;
  let raw: Uint8Array;
  try {
    const stored = bytes.subarray(at, at + frame.storedBytes);
    raw = decodeFrame(stored, frame.codec, frame.blocks, () => `frame at ${frame.offset} of ${name}`, name);
  } catch (error) {
    if (!isBackupError(error, 'PackCorrupt')) throw error;
    return lose(lost, extents, error.message);
  }
  for (const { start, count, slot, hashAt } of extents) {
    for (let i = 0; i < count; i++) {
      const actual = hashBlock(raw.subarray((slot + i) * BLOCK_BYTES, (slot + i + 1) * BLOCK_BYTES));
      const expected = hashes.subarray(hashAt + i * HASH_BYTES, hashAt + (i + 1) * HASH_BYTES);
      if (!actual.equals(expected))
        lose(lost, [{ start: start + i, count: 1 }], `block ${start + i} in ${name} does not match its layer's hash`);
    }
  }
}
