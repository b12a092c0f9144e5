import { pointsPartition } from '../services/keys.ts';
import { type ArmAnswer, ok } from './http.ts';
import type { UsageSummariesQuery } from './schemas/discovery.ts';
import { theVault, type VaultCall } from './vaults.ts';

/** How much of something there is. Nothing here has a quota, so none is told. */
function usage(unit: 'Count' | 'Bytes', name: string, localized: string, currentValue: number): object {
  return { unit, currentValue, name: { value: name, localizedValue: localized } };
}

/** What a vault has: items, policies, and the bytes of its recovery points by their rows. Reads all of these rows. */
export async function listUsages(call: VaultCall): Promise<ArmAnswer> {
  const vault = await theVault(call);
  const { items, points, policies } = call.ports.catalog;
  let [itemCount, pointCount, bytes, policyCount] = [0, 0, 0, 0];
  for await (const { row } of items.list(vault.key)) {
    itemCount++;
    const partition = pointsPartition(vault.row.containerName, row.itemId);
    for await (const { row: point } of points.listColumns(partition, ['storedBytes'])) {
      pointCount++;
      bytes += point.storedBytes ?? 0;
    }
  }
  for await (const _policy of policies.listColumns(vault.key, ['name'])) policyCount++;
  return ok({
    value: [
      usage('Count', 'ProtectedItemCount', 'Protected items', itemCount),
      usage('Count', 'RecoveryPointCount', 'Recovery points', pointCount),
      usage('Count', 'BackupPolicyCount', 'Backup policies', policyCount),
      usage('Bytes', 'VaultStorage', 'Bytes of recovery points in the vault', bytes),
    ],
  });
}

/** An item has one container, so that there are as many of the one as of the other; what is deleted softly is in neither. */
export async function listUsageSummaries(call: VaultCall<UsageSummariesQuery>): Promise<ArmAnswer> {
  const vault = await theVault(call);
  let count = 0;
  for await (const { row } of call.ports.catalog.items.list(vault.key)) if (row.deferredDelete === undefined) count++;
  return ok({ value: [usage('Count', 'AzureIaasVM', 'Azure virtual machines', count)], nextLink: null });
}
