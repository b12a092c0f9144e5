import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CLEARED, type Extent } from '../../shared/domain/extent.ts';
import { type DiskId, type ItemId, type JobId, attemptId, pointId, runId } from '../../shared/domain/ids.ts';
import { regionView } from '../../shared/domain/region-view.ts';
import { BLOCK_BYTES, FRAME_BLOCKS } from '../../shared/domain/units.ts';
import type { CompactPlan } from '../../shared/format/compact-plan.ts';
import { type LayerKey, layerName } from '../../shared/format/names.ts';
import { compactRegion } from '../../shared/services/compact-region.ts';
import { PackSink, RegionWriter, storeLayer } from '../../shared/services/layer-writer.ts';
import { readLayer } from '../../shared/services/layers.ts';
import { hashBlock, readBlocks } from '../../shared/services/region-bytes.ts';
import { azureVaultContainers } from '../../shared/vault/azure-blobs.ts';
import { metered } from '../../shared/vault/metered.ts';
import type { VaultContainer } from '../../shared/vault/vault-container.ts';
import { type TestStorage, startTestStorage } from '../support/azurite.ts';

/* A layer of which little is left, compacted by a real server: it copies the frames, and nothing of them passes through here. */

const BLOCKS = 640;
const POINT = pointId('20260101000000000');
const OLD = attemptId('00000000000000aa');
const AT = { item: 'vm' as ItemId, disk: 'os' as DiskId, region: 3 };
const block = (n: number): Buffer => createHash('shake256', { outputLength: BLOCK_BYTES }).update(`${n}`).digest();
/** Live are every third frame, and of it all blocks but one. */
const isLive = (n: number): boolean => Math.floor(n / FRAME_BLOCKS) % 3 === 0 && n % FRAME_BLOCKS !== 5;

let storage: TestStorage;
let container: VaultContainer;

beforeAll(async () => {
  storage = await startTestStorage('stock');
  container = await azureVaultContainers(storage).open('vault-one');
});
afterAll(() => storage?.stop());

/** Writes a layer of all blocks, and in its place one that only speaks of the live ones, as a fold leaves it; its packs. */
async function sparseLayer(key: LayerKey): Promise<string[]> {
  const sink = new PackSink(container, key, runId('01234567'));
  const writer = new RegionWriter(sink);
  for (let n = 0; n < BLOCKS; n++) await writer.data(n, block(n), hashBlock(block(n)));
  const { frames, extents, hashes } = await writer.finish();
  const packs = await sink.close();
  const places = extents.flatMap(({ start, count, frame, slot }) =>
    Array.from({ length: count }, (_, i): Extent => ({ start: start + i, count: 1, frame, slot: slot + i })),
  );
  const used = [...new Set(places.filter(({ start }) => isLive(start)).map(({ frame }) => frame))];
  const live = places
    .filter(({ start }) => isLive(start))
    .map((place) => ({ ...place, frame: used.indexOf(place.frame) }));
  await storeLayer(container, key, {
    packs,
    frames: used.map((frame) => frames[frame]!),
    extents: [...live, { start: BLOCKS, count: 2, frame: CLEARED, slot: 0 }],
    hashes: Buffer.concat(live.map(({ start }) => hashes.subarray(start * 32, start * 32 + 32))),
  });
  return packs.map(({ name }) => name);
}

it('the server copies the frames in use', async () => {
  const key: LayerKey = { ...AT, point: POINT, attempt: OLD };
  const packs = await sparseLayer(key);
  expect(packs.length).toBeGreaterThan(1);
  const attempt = attemptId('00000000000000bb');
  const unit = {
    disk: AT.disk,
    region: AT.region,
    owner: POINT,
    layer: { point: POINT, attempt: OLD },
    packs,
    movedBytes: 0,
  };
  const plan: CompactPlan = {
    format: 1,
    kind: 'compact',
    item: AT.item,
    attempt,
    job: 'j' as JobId,
    seq: 1,
    units: [unit],
  };
  const log: string[] = [];
  const counted = metered(container);
  const ids = { hex: () => 'abcdef01', guid: () => '' };
  await compactRegion({ ids, log: (line) => log.push(line) }, counted.container, plan, unit);
  expect(log).toEqual([expect.stringMatching(/^compacted region 3 of disk os at \d+: 1 packs, copied by the storage/)]);

  // The layer, the ends of two packs, and nothing of the frames, of which there are more than 3 MiB.
  expect(counted.totals().bytesRead).toBeLessThan(100_000);
  const old = await readLayer(container, AT, { point: POINT, attempt: OLD });
  const fresh = await readLayer(container, AT, { point: POINT, attempt });
  expect(fresh.extents).toEqual(old.extents);
  expect(fresh.hashes).toEqual(old.hashes);
  expect(fresh.packs).toHaveLength(1);
  const total = fresh.frames.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
  expect((await container.stat(fresh.packs[0]!.name))!.sizeBytes).toBe(fresh.packs[0]!.totalBytes);
  expect(fresh.packs[0]!.totalBytes - total).toBeLessThan(2_000);
  for (const name of packs) await container.delete(name);
  await container.delete(layerName(key));

  // Every block is there and hashes to what its layer says.
  const read: number[] = [];
  for await (const { start, bytes } of readBlocks(container, regionView([fresh]))) {
    for (let i = 0; i * BLOCK_BYTES < bytes.length; i++) {
      read.push(start + i);
      expect(Buffer.compare(bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), block(start + i))).toBe(0);
    }
  }
  expect(read).toEqual(Array.from({ length: BLOCKS }, (_, n) => n).filter(isLive));
});
