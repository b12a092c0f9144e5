import { createHash } from 'node:crypto';
import { BlobServiceClient } from '@azure/storage-blob';
import { expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import { vaultCosts } from '../../shared/services/costs.ts';
import { azureVaultContainers } from '../../shared/vault/azure-blobs.ts';
import { startTestStorage } from '../support/azurite.ts';
import { DAY_MS, VAULT, createWorld } from '../support/world.ts';

const B = BLOCK_BYTES;

const noise = (seed: string, blocks: number): Buffer =>
  createHash('shake256', { outputLength: blocks * B })
    .update(seed)
    .digest();

it('the cost report equals what the storage itself lists: after backups, merges, resizes and a sweep', async () => {
  const storage = await startTestStorage('completed');
  try {
    const world = await createWorld({
      regionBytes: 80 * B,
      layout: { thinBytes: 4 * B },
      wrap: (ports) => ({ ...ports, vaults: azureVaultContainers(storage) }),
    });
    const [disk, thin] = (await world.createVm('vm', [200 * B, 10 * 80 * B])) as [string, string];
    await world.protect('vm');
    const service = new BlobServiceClient(storage.blobServiceUrl, storage.credential);
    const isBilled = async (): Promise<void> => {
      const costs = await vaultCosts(world.ports, VAULT, { listing: true });
      let listed = 0;
      let objects = 0;
      for await (const { properties } of service.getContainerClient(costs.containerName).listBlobsFlat()) {
        listed += properties.contentLength ?? 0;
        objects++;
      }
      expect(costs.bytes).toBe(listed);
      expect(costs.listing).toMatchObject({ bytes: listed, objects, unexplainedBytes: 0 });
    };
    const backUp = async (days: number): Promise<void> => {
      const job = await world.backup('vm', world.clock.now() + days * DAY_MS);
      expect(job).toMatchObject({ status: 'Completed', errors: [] });
      world.clock.advance(60_000);
      await isBilled();
    };
    await isBilled();
    await world.disks.write(disk, 0, noise('all', 200));
    for (let region = 0; region < 10; region++) await world.disks.write(thin, region * 80 * B, noise(`r${region}`, 1));
    await backUp(1);
    await world.disks.write(disk, 3 * B, noise('some', 120));
    await world.disks.write(thin, 4 * 80 * B, noise('thin', 2));
    await backUp(2);
    await world.disks.resize(disk, 90 * B);
    await backUp(30);
    await world.disks.resize(disk, 300 * B);
    await world.disks.write(disk, 250 * B, noise('end', 50));
    await backUp(60);
    for (const days of [2, 2, 40]) {
      world.clock.advance(days * DAY_MS);
      await world.cleanUp();
      await isBilled();
    }
    await world.sweep();
    await isBilled();
  } finally {
    await storage.stop();
  }
});
