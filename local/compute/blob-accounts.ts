import {
  BlobSASPermissions,
  BlobServiceClient,
  StorageSharedKeyCredential,
  generateBlobSASQueryParameters,
  type ContainerClient,
  type PageBlobClient,
} from '@azure/storage-blob';
import { invalidParameter } from '../arm/errors.ts';

/** A storage account of the platform. `blob` is its endpoint, such as http://127.0.0.1:10000/stratadisks1. */
export interface StorageAccount {
  account: string;
  kind: 'standard' | 'premium';
  blob: string;
  key: string;
}

/** A blob that a request named by its URL. `snapshot` is the time that names a snapshot of it. */
export interface BlobLocation {
  account: string;
  container: string;
  blob: string;
  snapshot: string | undefined;
}

/** The platform's storage accounts, by key. */
export interface BlobAccounts {
  /** The account that holds the bytes of managed disks. */
  readonly managedDiskAccount: string;
  credential(account: string): StorageSharedKeyCredential;
  container(account: string, container: string): ContainerClient;
  blob(location: Omit<BlobLocation, 'snapshot'> & { snapshot?: string | undefined }): PageBlobClient;
  /** A URL by which storage itself can read the blob, from any account, for some minutes. */
  readableUrl(location: BlobLocation): string;
  /** @throws ArmError naming `what` unless the URL is that of a blob in one of the accounts. */
  locate(what: string, url: string): BlobLocation;
}

const READABLE_MS = 10 * 60_000;

export function openBlobAccounts(accounts: readonly StorageAccount[]): BlobAccounts {
  const first = accounts[0];
  if (first === undefined) throw new Error('the compute emulator needs at least one storage account');
  const byName = new Map(
    accounts.map((account) => {
      const credential = new StorageSharedKeyCredential(account.account, account.key);
      return [account.account, { credential, service: new BlobServiceClient(account.blob, credential) }];
    }),
  );
  const get = (name: string) => {
    const found = byName.get(name);
    if (found === undefined)
      throw new Error(`no storage account '${name}'; there are ${[...byName.keys()].join(', ')}`);
    return found;
  };
  const container = (account: string, name: string) => get(account).service.getContainerClient(name);
  const blob: BlobAccounts['blob'] = (location) => {
    const client = container(location.account, location.container).getPageBlobClient(location.blob);
    return location.snapshot === undefined ? client : client.withSnapshot(location.snapshot);
  };
  return {
    managedDiskAccount: first.account,
    credential: (account) => get(account).credential,
    container,
    blob,
    readableUrl(location) {
      const sas = generateBlobSASQueryParameters(
        {
          containerName: location.container,
          blobName: location.blob,
          permissions: BlobSASPermissions.parse('r'),
          expiresOn: new Date(Date.now() + READABLE_MS),
          ...(location.snapshot === undefined ? {} : { snapshotTime: location.snapshot }),
        },
        get(location.account).credential,
      );
      const { url } = blob(location);
      return `${url}${url.includes('?') ? '&' : '?'}${sas.toString()}`;
    },
    locate: (what, url) => locate(accounts, what, url),
  };
}

function locate(accounts: readonly StorageAccount[], what: string, text: string): BlobLocation {
  const endpoints = accounts.map((account) => account.blob.replace(/\/$/, ''));
  const problem = (reason: string) =>
    invalidParameter(
      `The value of parameter ${what} is invalid: '${text}' ${reason}. ` +
        `Expected the URL of a blob, <account>/<container>/<blob>, in one of the accounts ${endpoints.join(', ')}.`,
    );
  if (!URL.canParse(text)) throw problem('is not a URL');
  const url = new URL(text);
  for (const [index, endpoint] of endpoints.entries()) {
    const account = accounts[index];
    const prefix = new URL(`${endpoint}/`);
    if (account === undefined || url.host !== prefix.host || !url.pathname.startsWith(prefix.pathname)) continue;
    const [container, ...rest] = url.pathname.slice(prefix.pathname.length).split('/').map(decodeURIComponent);
    const blob = rest.join('/');
    if (container === undefined || container === '' || blob === '') throw problem('does not name a blob');
    return { account: account.account, container, blob, snapshot: url.searchParams.get('snapshot') ?? undefined };
  }
  throw problem('is in no storage account of this platform');
}
