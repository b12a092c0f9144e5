import { containerPath } from './ids.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import { parseContainerName } from './names.ts';
import { resultAnswer, statusAnswer, theOperation } from './operations.ts';
import { getPolicy } from './policies.ts';
import type { Call } from './route.ts';
import { theVault, vaultView } from './vaults.ts';

/* Operations asked for where they worked: at the vault itself, at a policy, at a container. */

type VaultOperationCall = Call<'subscription' | 'group' | 'vault' | 'operation'>;

/** Clients take 200 and 202 here, never 204: the vault is what any operation on it comes to. */
export async function getOperationResultOfVault(call: VaultOperationCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  return resultAnswer(call, await theOperation(call, vault), async () => ok(vaultView(vault)));
}

type PolicyOperationCall = Call<'subscription' | 'group' | 'vault' | 'policy' | 'operation'>;

export async function getPolicyOperation(call: PolicyOperationCall): Promise<ArmAnswer> {
  const { operation, policy } = call.params;
  return statusAnswer(operation, await theOperation(call, await theVault(call), `backupPolicies/${policy}`));
}

export async function getPolicyOperationResult(call: PolicyOperationCall): Promise<ArmAnswer> {
  const row = await theOperation(call, await theVault(call), `backupPolicies/${call.params.policy}`);
  return resultAnswer(call, row, () => getPolicy(call));
}

/** The container need not be there any more. */
export async function getContainerOperationResult(
  call: Call<'subscription' | 'group' | 'vault' | 'container' | 'operation'>,
): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const row = await theOperation(call, vault, containerPath(parseContainerName(call.params.container)));
  return resultAnswer(call, row, async () => noContent);
}
