import { startRebuild } from '../services/rebuild.ts';
import type { ArmAnswer } from './http.ts';
import type { RebuildBody } from './schemas/strata.ts';
import { acceptedJob } from './strata-jobs.ts';
import { theVault, VAULT_DEFAULTS, type VaultCall } from './vaults.ts';

/** Works too when the vault itself is among what the tables have lost. */
export async function rebuildCatalog(call: VaultCall<unknown, RebuildBody>): Promise<ArmAnswer> {
  const { subscription, group, vault } = call.params;
  const { container } = call.body;
  const job = await startRebuild(
    call.ports,
    { subscriptionId: subscription, resourceGroup: group, vault },
    { container, properties: VAULT_DEFAULTS },
  );
  return acceptedJob(call, (await theVault(call)).address, job);
}
