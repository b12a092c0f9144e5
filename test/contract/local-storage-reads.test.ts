import { randomBytes } from 'node:crypto';
import { BlobServiceClient } from '@azure/storage-blob';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Random } from '../simulation/random.ts';
import { startTestStorage } from '../support/azurite.ts';

/* Short ranges come from files that stay open, long ones by Azurite's own streams: of both a blob has the same bytes. */

const MIB = 2 ** 20;
let storage: Awaited<ReturnType<typeof startTestStorage>>;
beforeAll(async () => {
  storage = await startTestStorage('completed');
});
afterAll(() => storage?.stop());

async function container(name: string) {
  const made = new BlobServiceClient(storage.blobServiceUrl, storage.credential).getContainerClient(name);
  await made.createIfNotExists();
  return made;
}

it('a page blob of many small writes, of which each range is what was written last', async () => {
  const random = new Random(7);
  const blob = (await container('pages')).getPageBlobClient('disk');
  const model = Buffer.alloc(4 * MIB);
  await blob.create(model.length);
  for (let i = 0; i < 150; i++) {
    const offset = random.between(0, 8000) * 512;
    const bytes = randomBytes(Math.min(random.between(1, 60) * 512, model.length - offset));
    if (i % 7 === 6) {
      await blob.clearPages(offset, bytes.length);
      model.fill(0, offset, offset + bytes.length);
    } else {
      await blob.uploadPages(bytes, offset, bytes.length);
      bytes.copy(model, offset);
    }
  }
  for (let i = 0; i < 120; i++) {
    const offset = random.between(0, model.length - 1);
    const length = Math.min(random.pick([1, 511, 70_000, MIB, MIB + 1]), model.length - offset);
    const found = await blob.downloadToBuffer(offset, length);
    expect([i, Buffer.compare(found, model.subarray(offset, offset + length))]).toEqual([i, 0]);
  }
});

it('more files than stay open, read at once, and blobs that are gone', async () => {
  const blobs = await container('blocks');
  const bodies = Array.from({ length: 90 }, (_, i) => Buffer.alloc(3000 + i, i));
  const names = await Promise.all(
    bodies.map(async (body, i) => {
      const blob = blobs.getBlockBlobClient(`b${i}`);
      // Of several blocks: a range lies across them.
      const ids = [0, 1, 2].map((part) => Buffer.from(`${part}`).toString('base64'));
      const third = Math.ceil(body.length / 3);
      for (const [part, id] of ids.entries()) {
        const own = body.subarray(part * third, (part + 1) * third);
        await blob.stageBlock(id, own, own.length);
      }
      await blob.commitBlockList(ids);
      return blob.name;
    }),
  );
  for (let round = 0; round < 3; round++) {
    const found = await Promise.all(names.map((name) => blobs.getBlobClient(name).downloadToBuffer(500, 2000)));
    expect(found.every((bytes, i) => bytes.equals(bodies[i]!.subarray(500, 2500)))).toBe(true);
  }
  await blobs.deleteBlob('b3');
  await expect(blobs.getBlobClient('b3').downloadToBuffer(500, 2000)).rejects.toMatchObject({ statusCode: 404 });
});
