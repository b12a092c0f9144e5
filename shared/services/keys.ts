import type { ItemId } from '../domain/ids.ts';

/** Where a vault's rows lie: subscription, resource group and name in lower case, as resource ids are compared without case. */
export interface VaultAddress {
  readonly subscriptionId: string;
  readonly resourceGroup: string;
  readonly vault: string;
}

/** The partition of everything that belongs to a vault; also the `vault` of queue messages. */
export function vaultKey({ subscriptionId, resourceGroup, vault }: VaultAddress): string {
  return `${subscriptionId}|${resourceGroup}|${vault}`.toLowerCase();
}

/** The vault row's own partition and key, from a vault key. */
export function vaultRowKey(key: string): { partition: string; key: string } {
  const at = key.indexOf('|');
  return { partition: key.slice(0, at), key: key.slice(at + 1) };
}

/** An item's key: the service identifies an item by resource group and VM name. */
export function itemKey(resourceGroup: string, vmName: string): string {
  return `${resourceGroup};${vmName}`.toLowerCase();
}

/** The partition of an item's recovery points. An item id is never used again, so points of a removed item cannot come back. */
export function pointsPartition(containerName: string, item: ItemId): string {
  return `${containerName}|${item}`;
}
