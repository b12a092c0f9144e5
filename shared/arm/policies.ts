import type { PolicyRow } from '../catalog/catalog.ts';
import { deletePolicy, putPolicy } from '../services/policies.ts';
import type { VaultAddress } from '../services/keys.ts';
import { resourceNotFound } from './errors.ts';
import { oneOf, parseFilter } from './filter.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import { policyId, VAULT_TYPE } from './ids.ts';
import { MANAGEMENT_TYPES, VM_MANAGEMENT, WORKLOAD_TYPES } from './kinds.ts';
import { page, type Sorted } from './paging.ts';
import { parsePolicy } from './policy-wire.ts';
import type { Call } from './route.ts';
import { type FoundVault, listLink, theVault, type VaultCall } from './vaults.ts';

type PolicyCall = Call<'subscription' | 'group' | 'vault' | 'policy'>;

/** The ARM view of a policy. The count must be a number: clients compare it. */
export function policyView(vault: VaultAddress, row: PolicyRow, protectedItemsCount: number): Record<string, unknown> {
  return {
    id: policyId(vault, row.name),
    name: row.name,
    type: `${VAULT_TYPE}/backupPolicies`,
    properties: { ...row.properties, protectedItemsCount },
  };
}

/** How many items each policy of a vault protects, by its name in lower case. */
async function countItems(call: VaultCall, vault: FoundVault): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for await (const { row } of call.ports.catalog.items.list(vault.key)) {
    const name = row.policyName.toLowerCase();
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

async function view(call: VaultCall, vault: FoundVault, row: PolicyRow): Promise<Record<string, unknown>> {
  const counts = await countItems(call, vault);
  return policyView(vault.address, row, counts.get(row.name.toLowerCase()) ?? 0);
}

export async function getPolicy(call: PolicyCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const found = await call.ports.catalog.policies.get(vault.key, call.params.policy.toLowerCase());
  if (found === undefined)
    throw resourceNotFound(
      `${VAULT_TYPE}/backupPolicies`,
      `${vault.row.name}/${call.params.policy}`,
      vault.row.resourceGroup,
    );
  return ok(await view(call, vault, found.row));
}

/** Always 200 with the policy: items that have it follow it from now on, without a job. */
export async function putPolicyCall(call: PolicyCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const { properties, rules } = parsePolicy(await call.body());
  return ok(await view(call, vault, await putPolicy(call.ports, vault.key, call.params.policy, properties, rules)));
}

export async function deletePolicyCall(call: PolicyCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const there = (await call.ports.catalog.policies.get(vault.key, call.params.policy.toLowerCase())) !== undefined;
  await deletePolicy(call.ports, vault.key, call.params.policy);
  return there ? { status: 200 } : noContent;
}

export async function listPolicies(call: VaultCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const filter = parseFilter(call.query.get('$filter'), ['backupManagementType', 'workloadType']);
  const isVm =
    (oneOf(filter, 'backupManagementType', MANAGEMENT_TYPES) ?? VM_MANAGEMENT) === VM_MANAGEMENT &&
    (oneOf(filter, 'workloadType', WORKLOAD_TYPES) ?? 'VM') === 'VM';
  const policies: Sorted<Record<string, unknown>>[] = [];
  if (isVm) {
    const counts = await countItems(call, vault);
    for await (const { key, row } of call.ports.catalog.policies.list(vault.key)) {
      policies.push({ sortKey: key, entry: policyView(vault.address, row, counts.get(key) ?? 0) });
    }
  }
  return ok(page(policies, call.query, (token) => listLink(call, vault, 'backupPolicies', token)));
}
