import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { type ItemId, itemId } from '../../shared/domain/ids.ts';
import { stacksOf } from '../../shared/domain/point-stack.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { decodeDocument } from '../../shared/format/document.ts';
import { vaultDocument } from '../../shared/format/documents.ts';
import { Chain } from '../../shared/services/chain.ts';
import { readView } from '../../shared/services/layers.ts';
import { readBlocks } from '../../shared/services/region-bytes.ts';
import type { VaultContainer } from '../../shared/vault/vault-container.ts';
import { memoryVault } from '../support/memory-vault.ts';
import { leftovers } from '../support/vault-map.ts';
import { GOLDEN, goldenBlobs } from './golden-vault.ts';

async function goldenContainer(): Promise<VaultContainer> {
  const container = await memoryVault().open('golden');
  for (const [name, bytes] of goldenBlobs()) await container.put(name, bytes);
  return container;
}

/** The bytes of each disk of a point, by the code that restores use. */
async function restore(container: VaultContainer, item: ItemId, index: number) {
  const { regionBytes } = decodeDocument('v1/vault.json', await container.readWhole('v1/vault.json'), vaultDocument);
  const chain = new Chain(container, item);
  const manifests = (await chain.manifests(await chain.newest())).slice(0, index + 1);
  return Promise.all(
    manifests.at(-1)!.disks.map(async ({ disk, lun, sizeBytes }) => {
      const bytes = Buffer.alloc(Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES);
      for (const [region, { layers, checkpoint }] of stacksOf(disk, manifests)) {
        const view = await readView(container, { item, disk, region }, layers, checkpoint);
        for await (const run of readBlocks(container, view)) {
          bytes.set(run.bytes, region * regionBytes + run.start * BLOCK_BYTES);
        }
      }
      return { lun, sizeBytes, sha256: createHash('sha256').update(bytes.subarray(0, sizeBytes)).digest('hex') };
    }),
  );
}

it('every disk of every point of the golden vault restores to the known bytes', async () => {
  const container = await goldenContainer();
  const item = itemId(GOLDEN.item);
  for (const [i, { disks }] of GOLDEN.points.entries()) expect(await restore(container, item, i)).toEqual(disks);
});

it('its newest record leads to everything in it', () => {
  const blobs = new Map([...goldenBlobs()].map(([name, body]) => [name, { body }]));
  expect(leftovers(blobs)).toEqual([]);
});
