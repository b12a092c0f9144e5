import { expect } from 'vitest';
import { vaultCosts } from '../../shared/services/costs.ts';
import { VAULT, type World } from './world.ts';

/**
 * At a quiet moment the cost report explains every byte of the vault's container: what it adds up from manifests and documents equals
 * the sizes of the blobs that lie there, as a look at the storage itself gives them.
 */
export async function assertBilled(world: Pick<World, 'ports' | 'vaults'>): Promise<void> {
  const costs = await vaultCosts(world.ports, VAULT, { listing: true });
  const blobs = [...world.vaults.blobs(costs.containerName)];
  const stored = blobs.reduce((sum, [, { body }]) => sum + body.byteLength, 0);
  const kinds = JSON.stringify(costs.listing?.bytesByKind);
  expect(costs.bytes, `the report explains ${costs.bytes} of ${stored} bytes (${kinds})`).toBe(stored);
  expect(costs.listing).toMatchObject({ objects: blobs.length, bytes: stored, unexplainedBytes: 0 });
}
