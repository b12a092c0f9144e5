import { resourceNotFound } from './errors.ts';
import { PLATFORM_GROUP } from './resource-groups.ts';

const STORAGE_ACCOUNT_TYPE = 'Microsoft.Storage/storageAccounts';

/** A storage account of the platform, with its endpoints as clients reach them. */
export interface StorageAccountEndpoints {
  account: string;
  kind: 'standard' | 'premium';
  blob: string;
  queue?: string;
  table?: string;
}

/** The ARM view of a storage account. Its id always names the platform's own group, whichever group it was asked in. */
export function storageAccountView(
  account: StorageAccountEndpoints,
  place: { subscriptionId: string; location: string },
): object {
  const tier = account.kind === 'premium' ? 'Premium' : 'Standard';
  const endpoint = (url: string | undefined) => (url === undefined ? undefined : `${url.replace(/\/$/, '')}/`);
  return {
    id: `/subscriptions/${place.subscriptionId}/resourceGroups/${PLATFORM_GROUP}/providers/${STORAGE_ACCOUNT_TYPE}/${account.account}`,
    name: account.account,
    type: STORAGE_ACCOUNT_TYPE,
    location: place.location,
    kind: 'StorageV2',
    sku: { name: `${tier}_LRS`, tier },
    tags: {},
    properties: {
      provisioningState: 'Succeeded',
      primaryLocation: place.location,
      statusOfPrimary: 'available',
      supportsHttpsTrafficOnly: false,
      primaryEndpoints: {
        blob: endpoint(account.blob),
        queue: endpoint(account.queue),
        table: endpoint(account.table),
      },
    },
  };
}

/** @throws ArmError ResourceNotFound */
export function findStorageAccount(
  accounts: readonly StorageAccountEndpoints[],
  name: string,
  resourceGroup: string,
): StorageAccountEndpoints {
  const found = accounts.find((account) => account.account.toLowerCase() === name.toLowerCase());
  if (found === undefined) throw resourceNotFound(STORAGE_ACCOUNT_TYPE, name, resourceGroup);
  return found;
}
