import { isBackupError } from '../domain/errors.ts';
import { CLEARED } from '../domain/extent.ts';
import type { Layer, PackUse } from '../domain/layer.ts';
import { type PackedFrame, readPackTail } from '../format/pack.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { Ports } from './ports.ts';

/** The end of a pack that is read in the hope that the whole table is in it: one of 8 MiB and 16 blocks a frame has about 5 KiB. */
const TAIL_BYTES = 16_384;

/**
 * The frames of pack number `pack` of a layer by offset, as its own table tells; undefined where that cannot be used.
 */
export async function framesOfPack(
  ports: Pick<Ports, 'log'>,
  container: VaultContainer,
  layer: Layer,
  pack: number,
): Promise<ReadonlyMap<number, PackedFrame> | undefined> {
  const { name } = layer.packs[pack]!;
  try {
    const table = new Map((await readTable(container, layer.packs[pack]!)).map((frame) => [frame.offset, frame]));
    const problem = contradiction(layer, pack, table);
    if (problem === undefined) return table;
    ports.log(`pack ${name} is left as it is: ${problem}`);
  } catch (error) {
    if (!isBackupError(error, 'PackCorrupt', 'BlobNotFound', 'FormatUnsupported')) throw error;
    ports.log(`pack ${name} is left as it is: ${error.message}`);
  }
  return undefined;
}

async function readTable(container: VaultContainer, { name, totalBytes }: PackUse): Promise<PackedFrame[]> {
  let length = Math.min(TAIL_BYTES, totalBytes);
  for (;;) {
    const table = readPackTail(name, await container.read(name, totalBytes - length, length), totalBytes);
    if (typeof table !== 'number') return table;
    length = table;
  }
}

/** What the layer says of the pack and its own table does not; undefined when they agree. */
function contradiction(layer: Layer, pack: number, table: ReadonlyMap<number, PackedFrame>): string | undefined {
  for (const own of layer.frames) {
    if (own.pack !== pack) continue;
    const frame = table.get(own.offset);
    const same =
      frame?.storedBytes === own.storedBytes && frame.codec === own.codec && frame.blocks.length === own.blocks;
    if (!same) return `its table does not have the frame at ${own.offset} as the layer does`;
  }
  for (const { start, count, frame, slot } of layer.extents) {
    const own = frame === CLEARED ? undefined : layer.frames[frame]!;
    if (own?.pack !== pack) continue;
    const { blocks } = table.get(own.offset)!;
    for (let i = 0; i < count; i++)
      if (blocks[slot + i] !== start + i)
        return `its table has block ${blocks[slot + i]} where the layer has ${start + i}`;
  }
  return undefined;
}
