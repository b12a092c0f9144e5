/**
 * Lets Get Account Information tell a premium account from a standard one.
 *
 * Azurite has one kind of account and answers `Standard_RAGRS` for all. Azure answers the account's own SKU; whoever paces
 * reads by the kind of an account learns it there.
 */
import type { Azurite } from './azurite-modules.ts';
import type { StorageAccount } from './server.ts';

export function answerAccountKinds(azurite: Azurite, accounts: readonly StorageAccount[]): void {
  const premium = new Set(accounts.filter(({ kind }) => kind === 'premium').map(({ account }) => account));
  for (const { prototype } of azurite.accountInfoHandlers) {
    const original = prototype.getAccountInfo;
    prototype.getAccountInfo = async function (context) {
      const answer = await original.call(this, context);
      const { account } = new azurite.BlobStorageContext(context);
      return premium.has(account) ? { ...answer, skuName: 'Premium_LRS' } : answer;
    };
  }
}
