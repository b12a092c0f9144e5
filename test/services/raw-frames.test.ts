import { createCipheriv } from 'node:crypto';
import { setImmediate as soon } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { attemptId, diskId, itemId, pointId, runId } from '../../shared/domain/ids.ts';
import { ViewBuilder } from '../../shared/domain/region-view.ts';
import { BLOCK_BYTES, FRAME_BLOCKS, PACK_BYTES } from '../../shared/domain/units.ts';
import { PackSink, RegionWriter, SlabWriter } from '../../shared/services/layer-writer.ts';
import { hashBlock, readBlocks } from '../../shared/services/region-bytes.ts';
import type { VaultContainer } from '../../shared/vault/vault-container.ts';
import { memoryVault } from '../support/memory-vault.ts';

const FRAME_BYTES = FRAME_BLOCKS * BLOCK_BYTES;
const KEY = {
  item: itemId('vm-00000001'),
  disk: diskId('00000001'),
  point: pointId('00000000000000001'),
  region: 0,
  attempt: attemptId('00000000000000aa'),
};

it('bytes that nothing compresses come back through packs that are gathered and read in memory used again', async () => {
  const vault = await memoryVault().open('vault-one');
  const packs = 5;
  const blocks = (packs * PACK_BYTES) / BLOCK_BYTES;
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(
    Buffer.alloc(blocks * BLOCK_BYTES),
  );
  const block = (n: number): Buffer => noise.subarray(n * BLOCK_BYTES, (n + 1) * BLOCK_BYTES);
  // The bytes of a put are taken when it ends, as a slow upload would take them; meanwhile two packs more are gathered.
  const slow: VaultContainer = {
    ...vault,
    async put(name, body, summary) {
      for (let wait = 0; wait < 1500; wait++) await soon();
      return vault.put(name, body, summary);
    },
  };
  const sink = new PackSink(slow, KEY, runId('01234567'));
  const writer = new RegionWriter(sink);
  for (let n = 0; n < blocks; n++) {
    await writer.data(n, block(n), hashBlock(block(n)));
    await soon();
  }
  const columns = await writer.finish();
  const builder = new ViewBuilder();
  builder.add({ ...columns, packs: await sink.close() });
  let next = 0;
  for await (const { start, bytes } of readBlocks(vault, builder.finish())) {
    expect(start).toBe(next);
    expect(Buffer.compare(bytes, noise.subarray(start * BLOCK_BYTES, start * BLOCK_BYTES + bytes.length))).toBe(0);
    next += bytes.length / BLOCK_BYTES;
  }
  expect(next).toBe(blocks);
});

it('a slab keeps the bytes of each frame, though the next one is gathered where they were', async () => {
  const vault = await memoryVault().open('vault-one');
  const name = 'slab';
  const slab = new SlabWriter(name);
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16)).update(
    Buffer.alloc(4 * FRAME_BYTES),
  );
  await slab.region(KEY, async (writer) => {
    for (let n = 0; n * BLOCK_BYTES < noise.length; n++) {
      const bytes = noise.subarray(n * BLOCK_BYTES, (n + 1) * BLOCK_BYTES);
      await writer.data(n, bytes, hashBlock(bytes));
    }
  });
  await slab.store(vault);
  const stored = Buffer.from(await vault.readWhole(name));
  for (let at = 0; at < noise.length; at += FRAME_BYTES)
    expect(stored.includes(noise.subarray(at, at + FRAME_BYTES))).toBe(true);
});
