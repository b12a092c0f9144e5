import type { ItemRow, PolicyRow, VaultRow } from '../catalog/catalog.ts';
import type { Versioned } from '../catalog/catalog-table.ts';
import { BackupError, isBackupError } from '../domain/errors.ts';
import { type BackupPolicy, lastDue } from '../domain/policy.ts';
import { checkPolicyChange } from '../domain/vault-security.ts';
import { vaultRowKey } from './keys.ts';
import type { Ports } from './ports.ts';
import { always, type Precondition } from './precondition.ts';

/** The policy in force for an item; undefined when protection is stopped. */
export async function policyOf(ports: Ports, vault: string, item: ItemRow): Promise<BackupPolicy | undefined> {
  if (item.protectionState === 'ProtectionStopped' || item.policyName === '') return undefined;
  return (await readPolicy(ports, vault, item.policyName)).rules;
}

/** @throws BackupError ResourceNotFound */
export async function readPolicy(ports: Ports, vault: string, name: string): Promise<PolicyRow> {
  const found = await ports.catalog.policies.get(vault, name.toLowerCase());
  if (found === undefined) throw new BackupError('ResourceNotFound', `there is no backup policy ${name} in this vault`);
  return found.row;
}

/** Creates or replaces a policy. Points that are there already follow it from the next cleanup on. @throws BackupError PreconditionFailed, VaultIsImmutable */
export async function putPolicy(
  ports: Ports,
  vault: string,
  name: string,
  properties: Record<string, unknown>,
  rules: BackupPolicy,
  precondition: Precondition = always,
): Promise<Versioned<PolicyRow>> {
  const now = ports.clock.now();
  for (;;) {
    const found = await ports.catalog.policies.get(vault, name.toLowerCase());
    precondition(found?.etag);
    if (found !== undefined) checkPolicyChange(await propertiesOf(ports, vault), found.row.rules, rules);
    const sameSchedule = found?.row.rules.minuteOfDay === rules.minuteOfDay && found.row.rules.zone === rules.zone;
    const row: PolicyRow = {
      name: found?.row.name ?? name,
      properties,
      rules: { ...rules },
      createdAt: found?.row.createdAt ?? now,
      scheduleFrom: sameSchedule ? found.row.scheduleFrom : lastDue(rules, now),
    };
    try {
      if (found === undefined)
        return { row, etag: await ports.catalog.policies.insert(vault, name.toLowerCase(), row) };
      return { row, etag: await ports.catalog.policies.replace(vault, name.toLowerCase(), row, found.etag) };
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch', 'RowAlreadyExists', 'RowNotFound')) throw error;
    }
  }
}

/** The properties of a vault; none while its row is not there yet. */
async function propertiesOf(ports: Ports, vault: string): Promise<VaultRow['properties']> {
  const at = vaultRowKey(vault);
  return (await ports.catalog.vaults.get(at.partition, at.key))?.row.properties ?? {};
}

/** Deletes a policy; absent is fine. @throws BackupError BMSUserErrorPolicyInUse naming the items, PreconditionFailed */
export async function deletePolicy(
  ports: Ports,
  vault: string,
  name: string,
  precondition: Precondition = always,
): Promise<void> {
  const users: string[] = [];
  for await (const { row } of ports.catalog.items.listColumns(vault, ['policyName', 'vmName'])) {
    if (row.policyName.toLowerCase() === name.toLowerCase()) users.push(row.vmName);
  }
  if (users.length > 0) {
    throw new BackupError(
      'BMSUserErrorPolicyInUse',
      `policy ${name} protects ${users.slice(0, 10).join(', ')}${users.length > 10 ? ` and ${users.length - 10} more` : ''}: give them another policy or stop their protection first`,
    );
  }
  for (;;) {
    // Of a caller who asks for no version whatever is there goes, in one call.
    const found = precondition === always ? undefined : await ports.catalog.policies.get(vault, name.toLowerCase());
    precondition(found?.etag);
    try {
      return await ports.catalog.policies.remove(vault, name.toLowerCase(), found?.etag);
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch')) throw error;
    }
  }
}
