import type { PolicyRow } from '../catalog/catalog.ts';
import type { Versioned } from '../catalog/catalog-table.ts';
import { deletePolicy, putPolicy } from '../services/policies.ts';
import type { VaultAddress } from '../services/keys.ts';
import { resourceNotFound } from './errors.ts';
import { etagOf, withEtag } from './etag.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import { policyId, VAULT_TYPE } from './ids.ts';
import { VM_MANAGEMENT } from './kinds.ts';
import { page, type Sorted } from './paging.ts';
import { parsePolicy } from './policy-wire.ts';
import type { Call } from './route.ts';
import type { PoliciesQuery, PolicyBody } from './schemas/policy.ts';
import { type FoundVault, listLink, theVault, type VaultCall } from './vaults.ts';

type PolicyCall<Body = unknown> = Call<'subscription' | 'group' | 'vault' | 'policy', unknown, Body>;

/** The ARM view of a policy. The count must be a number: clients compare it. */
export function policyView(
  vault: VaultAddress,
  { row, etag }: Versioned<PolicyRow>,
  protectedItemsCount: number,
): Record<string, unknown> {
  return {
    id: policyId(vault, row.name),
    name: row.name,
    type: `${VAULT_TYPE}/backupPolicies`,
    eTag: etagOf(etag),
    properties: { ...row.properties, protectedItemsCount },
  };
}

/** How many items each policy of a vault protects, by its name in lower case. */
async function countItems(call: VaultCall, vault: FoundVault): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for await (const { row } of call.ports.catalog.items.listColumns(vault.key, ['policyName'])) {
    const name = row.policyName.toLowerCase();
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

async function answer(call: VaultCall, vault: FoundVault, policy: Versioned<PolicyRow>): Promise<ArmAnswer> {
  const counts = await countItems(call, vault);
  const count = counts.get(policy.row.name.toLowerCase()) ?? 0;
  return withEtag(ok(policyView(vault.address, policy, count)), policy.etag);
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
  return answer(call, vault, found);
}

/** Always 200 with the policy: items that have it follow it from now on, without a job. */
export async function putPolicyCall(call: PolicyCall<PolicyBody>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const { properties, rules } = parsePolicy(call.body);
  const { policy } = call.params;
  return answer(call, vault, await putPolicy(call.ports, vault.key, policy, properties, rules, call.precondition));
}

export async function deletePolicyCall(call: PolicyCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const there = (await call.ports.catalog.policies.get(vault.key, call.params.policy.toLowerCase())) !== undefined;
  await deletePolicy(call.ports, vault.key, call.params.policy, call.precondition);
  return there ? { status: 200 } : noContent;
}

export async function listPolicies(call: VaultCall<PoliciesQuery>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const { backupManagementType = VM_MANAGEMENT, workloadType = 'VM' } = call.query.$filter;
  const isVm = backupManagementType === VM_MANAGEMENT && workloadType === 'VM';
  const policies: Sorted<Record<string, unknown>>[] = [];
  if (isVm) {
    const counts = await countItems(call, vault);
    for await (const { key, row, etag } of call.ports.catalog.policies.list(vault.key)) {
      policies.push({ sortKey: key, entry: policyView(vault.address, { row, etag }, counts.get(key) ?? 0) });
    }
  }
  return ok(page(policies, call.query, (token) => listLink(call, vault, 'backupPolicies', token)));
}
