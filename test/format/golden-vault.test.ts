import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type DiskId, itemId } from '../../shared/domain/ids.ts';
import { stacksOf } from '../../shared/domain/point-stack.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { decodeCheckpoint } from '../../shared/format/checkpoint.ts';
import { decodeDocument } from '../../shared/format/document.ts';
import { type Manifest, manifestPart, vaultDocument } from '../../shared/format/documents.ts';
import { readSlabDirectory } from '../../shared/format/slab.ts';
import { Chain } from '../../shared/services/chain.ts';
import { readView } from '../../shared/services/layers.ts';
import { sumOfLayers } from '../../shared/services/spans.ts';
import { whole } from '../services/manifests.ts';
import { readBlocks } from '../../shared/services/region-bytes.ts';
import type { VaultContainer } from '../../shared/vault/vault-container.ts';
import { memoryVault } from '../support/memory-vault.ts';
import { leftovers } from '../support/vault-map.ts';
import { unspaced } from './failures.ts';
import { type GoldenVault, V1, V2, V3, goldenBlob, goldenBlobs } from './golden-vault.ts';

async function goldenContainer(vault: GoldenVault): Promise<VaultContainer> {
  const container = await memoryVault().open('golden');
  for (const [name, bytes] of goldenBlobs(vault)) await container.put(name, bytes);
  return container;
}

/** The bytes of each disk of the `index`th point, by the code that restores use. */
async function restore(container: VaultContainer, vault: GoldenVault, index: number, useCheckpoints: boolean) {
  const item = itemId(vault.item);
  const { regionBytes } = decodeDocument('v1/vault.json', await container.readWhole('v1/vault.json'), vaultDocument);
  const chain = new Chain(container, item);
  const live = (await chain.manifests(await chain.newest())).slice(0, index + 1);
  const manifests = await Promise.all(live.map((own) => whole(chain, own)));
  return Promise.all(
    manifests.at(-1)!.disks.map(async ({ disk, lun, sizeBytes }) => {
      const bytes = Buffer.alloc(Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES);
      for (const [region, { layers, checkpoint }] of stacksOf(disk, manifests)) {
        const cached = useCheckpoints ? checkpoint : undefined;
        const view = await readView(container, { item, disk, region }, layers, cached);
        for await (const run of readBlocks(container, view)) {
          bytes.set(run.bytes, region * regionBytes + run.start * BLOCK_BYTES);
        }
      }
      return { lun, sizeBytes, sha256: createHash('sha256').update(bytes.subarray(0, sizeBytes)).digest('hex') };
    }),
  );
}

describe.each([V1, V2, V3])('the golden vault of version $version', (golden) => {
  it('restores every disk of every point to the known bytes, with and without checkpoints', async () => {
    const container = await goldenContainer(golden);
    for (const [i, { disks }] of golden.points.entries()) {
      expect(await restore(container, golden, i, true)).toEqual(disks);
      expect(await restore(container, golden, i, false)).toEqual(disks);
    }
  });

  it('has nothing that its newest record does not lead to', () => {
    const blobs = new Map([...goldenBlobs(golden)].map(([name, body]) => [name, { body }]));
    expect(leftovers(blobs)).toEqual([]);
  });
});

describe('in the golden vault of version 2', () => {
  it('one checkpoint counts and one does not', async () => {
    const chain = new Chain(await goldenContainer(V2), itemId(V2.item));
    const stacks = stacksOf('e7f6c011' as DiskId, await chain.manifests(await chain.newest()));
    expect(stacks.get(0)!.checkpoint).toEqual({
      attempt: '9f14025af0065b30',
      depth: 3,
      stack: '7938641d07fb8f20960dd53dc9f88e13',
    });
    expect(stacks.get(0)!.layers).toHaveLength(5);
    expect(stacks.get(1)!.checkpoint).toBeUndefined();
  });

  it('a slab says of itself what it holds, byte by byte', () => {
    const { name, bytes } = goldenBlob(V2, 'e7f6c011/17675280000000000/000000.0b918943df0962bc.slab');
    expect(readSlabDirectory(name, bytes)).toEqual([
      { region: 1, place: { offset: 111, bytes: 249 }, dataBlocks: 1, clearedBlocks: 1, storedBytes: 373 },
      { region: 2, place: { offset: 360, bytes: 310 }, dataBlocks: 3, clearedBlocks: 0, storedBytes: 393 },
    ]);
    expect(bytes.subarray(0, 16).toString('hex')).toBe(unspaced('535452415441534c 0100 000000000000'));
    for (const offset of [111, 360]) expect(bytes.toString('latin1', offset, offset + 8)).toBe('STRATALY');
    const directory = bytes.subarray(670, 718);
    expect(directory.toString('hex')).toBe(
      unspaced(
        '01000000 6f000000 f9000000 01000000 01000000 75010000 02000000 68010000 36010000 03000000 00000000 89010000',
      ),
    );
    const footer = bytes.subarray(718);
    expect(footer.subarray(0, 8).toString('hex')).toBe(unspaced('02000000 00000000'));
    const digest = createHash('sha256').update(`${name}\n`).update(directory).digest();
    expect(footer.subarray(8, 40).equals(digest)).toBe(true);
    expect(footer.subarray(40).toString('latin1')).toBe('STRATASL');
  });

  it('a checkpoint says for each block which layer has it', () => {
    const { name, bytes } = goldenBlob(V2, 'e7f6c011/000001.9f14025af0065b30.checkpoint');
    const { layers, extents, hashes } = decodeCheckpoint(name, bytes);
    expect(layers).toEqual([
      {
        point: '17673552000000000',
        attempt: 'e629fa6598d73276',
        slab: { number: 1, offset: 16_885, bytes: 285 },
      },
      expect.objectContaining({ point: '17674416000000000', attempt: '785f3ec7eb32f30b' }),
      expect.objectContaining({ point: '17675280000000000', attempt: '35135aaa6cc23891' }),
    ]);
    expect(extents).toEqual([
      { start: 0, count: 1, frame: 2, slot: 0 },
      { start: 1, count: 1, frame: -1, slot: 0 },
    ]);
    expect(hashes).toHaveLength(32);
    expect(bytes.subarray(0, 12).toString('hex')).toBe(unspaced('5354524154414350 0100 0000'));
    const digest = createHash('sha256').update(`${name}\n`).update(bytes.subarray(0, 32)).update(bytes.subarray(64));
    expect(bytes.subarray(32, 64).equals(digest.digest())).toBe(true);
  });
});

describe('in the golden vault of version 3', () => {
  const manifests = async () => {
    const chain = new Chain(await goldenContainer(V3), itemId(V3.item));
    return chain.manifests(await chain.newest());
  };

  it('one record names manifests with parts and without', async () => {
    expect(
      (await manifests()).map(({ format, disks }) => [format, ...disks.map(({ parts }) => parts?.length)]),
    ).toEqual([
      [3, 3, 2],
      [2, undefined, undefined],
      [3, 2, 1],
    ]);
  });

  it('one manifest has parts that three attempts have written', async () => {
    const [{ attempt, disks }] = (await manifests()) as [Manifest];
    expect(attempt).toBe('86e5014965866131');
    expect(disks.flatMap(({ parts }) => parts!.map(({ name }) => name.split('/').at(-1)))).toEqual([
      '17673552000000000.624b60c58c9d8bfb.e7f6c011.000000.json',
      '17673552000000000.624b60c58c9d8bfb.e7f6c011.000002.json',
      '17673552000000000.4523540f1504cd17.e7f6c011.000004.json',
      '17673552000000000.86e5014965866131.7902699b.000000.json',
      '17673552000000000.624b60c58c9d8bfb.7902699b.000002.json',
    ]);
  });

  it('a manifest says of its parts what they are', async () => {
    for (const { disks } of await manifests()) {
      for (const { disk, parts = [] } of disks) {
        for (const ref of parts) {
          const { bytes } = goldenBlob(V3, ref.name);
          const part = decodeDocument(ref.name, bytes, manifestPart, ref.sha256);
          const { name: _, sha256: __, ...counts } = ref;
          const numbers = part.regions.map(({ region }) => region);
          const [first, last] = [numbers[0], numbers.at(-1)];
          expect(part.disk).toBe(disk);
          expect(counts).toEqual({
            bytes: bytes.length,
            first,
            last,
            regions: numbers.length,
            ...sumOfLayers(part.regions),
          });
        }
      }
    }
  });
});
