import { DefaultAzureCredential, type TokenCredential } from '@azure/identity';
import { StorageSharedKeyCredential } from '@azure/storage-blob';
import { z } from 'zod';
import { isManagedDisk } from '../disk/managed-ids.ts';
import { BackupError } from '../domain/errors.ts';
import type { DiskKind } from '../domain/source-rates.ts';

const accountName = z.string().regex(/^[a-z0-9]{3,24}$/, 'expected 3 to 24 lower-case letters and digits');

const settingEntry = z.strictObject({
  account: accountName,
  kind: z.enum(['standard', 'premium']),
  blob: z.url({ protocol: /^https?$/, error: 'expected an http or https URL' }).optional(),
  key: z.base64().min(1).optional(),
});

/** A storage account that the settings name. Without `blob` it is at its public address, without `key` tokens open it. */
export type StorageAccount = z.infer<typeof settingEntry>;

const SETTING = 'STRATA_STORAGE_ACCOUNTS';

/**
 * Reads the setting STRATA_STORAGE_ACCOUNTS: a JSON array of `{account, kind, blob?, key?}`; unset or empty means none.
 * The local platform names all its accounts with their keys. In Azure it names those that are premium or at a custom domain.
 * @throws BackupError SettingInvalid naming the entry and the field, never a key
 */
export function parseStorageAccounts(text: string | undefined): readonly StorageAccount[] {
  if (text === undefined || text.trim() === '') return [];
  const invalid = (problem: string): BackupError =>
    new BackupError('SettingInvalid', `${SETTING}: ${problem}`, { target: SETTING });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which holds keys.
    throw invalid('is not JSON; expected an array of {"account","kind","blob","key"}');
  }
  const parsed = z.array(settingEntry).safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(`${issue?.path.join('.') || 'value'}: ${issue?.message ?? 'not an array of accounts'}`);
  }
  for (const [index, { account, blob, key }] of parsed.data.entries()) {
    if (parsed.data.findIndex((other) => other.account === account) < index)
      throw invalid(`${account} stands there twice`);
    if (key === undefined && blob?.startsWith('http:') === true)
      throw invalid(`${index}.key: ${account} is reached over http, where no token is sent, and so needs a key`);
  }
  return parsed.data;
}

/** What is known of storage accounts, by URL or by name. */
export interface StorageAccounts {
  /**
   * What opens `url`: the account's key when the settings give one, else the token credential. Undefined when the URL is
   * neither in an account of the settings nor at Azure: no token ever goes to a host that is not Azure's by name.
   */
  credentialFor(url: string): StorageSharedKeyCredential | TokenCredential | undefined;
  /**
   * What kind of disk is in this place. A page blob is `standard` unless the settings say otherwise: its lower rates do no harm to a
   * premium account.
   */
  kindOf(place: string): DiskKind;
  /** @throws BackupError InvalidRequest when the URL does not tell: a custom domain has to be named in the settings */
  accountNameOf(url: string): string;
  /** The account's blob endpoint, without a slash at the end; undefined when there can be no such account. */
  blobEndpoint(account: string): string | undefined;
}

const publicEndpoint = (account: string): string => `https://${account}.blob.core.windows.net`;

// Azure's clouds; the last is the zonal form, name.z01.blob.storage.azure.net.
const AZURE_HOST =
  /^([a-z0-9]{3,24})\.(?:blob\.core\.(?:windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)|z\d+\.blob\.storage\.azure\.net)$/;

/** The account of a URL at Azure itself; undefined for any other host and without TLS. */
function azureAccount(url: string): string | undefined {
  const { protocol, hostname, port } = new URL(url);
  return protocol === 'https:' && port === '' ? AZURE_HOST.exec(hostname)?.[1] : undefined;
}

/** Scheme, host and path in one spelling, with a slash at the end, so that one account's URL is no prefix of another's. */
function comparable(url: string): string {
  if (!URL.canParse(url))
    throw new BackupError('InvalidRequest', `${url.split('?')[0]} is not a URL`, { target: 'url' });
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname.replace(/\/+$/, '')}/`;
}

/**
 * The accounts of the settings and, by their tokens, all of Azure's. Where the settings give keys they name all accounts
 * there are: that is the local platform, which makes no outside connection.
 *
 * A URL belongs to the account with the longest endpoint that it starts with, so that path-style URLs
 * (`http://127.0.0.1:10000/name/container/blob`) work as well.
 */
export function storageAccounts(
  accounts: readonly StorageAccount[],
  tokenCredential: TokenCredential,
): StorageAccounts {
  const closed = accounts.some(({ key }) => key !== undefined);
  const known = accounts
    .map(({ account, kind, blob, key }) => {
      const endpoint = (blob ?? publicEndpoint(account)).replace(/\/+$/, '');
      const credential = key === undefined ? tokenCredential : new StorageSharedKeyCredential(account, key);
      return { account, kind, endpoint, prefix: comparable(endpoint), credential };
    })
    .toSorted((a, b) => b.prefix.length - a.prefix.length);
  const find = (url: string) => {
    const target = comparable(url);
    return known.find(({ prefix }) => target.startsWith(prefix));
  };

  return {
    credentialFor(url) {
      const account = find(url);
      if (account !== undefined) return account.credential;
      return closed || azureAccount(url) === undefined ? undefined : tokenCredential;
    },
    kindOf: (place) =>
      isManagedDisk(place) ? 'managed' : ((URL.canParse(place) ? find(place)?.kind : undefined) ?? 'standard'),
    accountNameOf(url) {
      const account = find(url)?.account ?? azureAccount(url);
      if (account !== undefined) return account;
      const message = `${new URL(url).origin} does not tell its storage account; name it in ${SETTING}`;
      throw new BackupError('InvalidRequest', message, { target: 'url' });
    },
    blobEndpoint(account) {
      const endpoint = known.find((entry) => entry.account === account)?.endpoint;
      if (endpoint !== undefined || closed || !accountName.safeParse(account).success) return endpoint;
      return publicEndpoint(account);
    },
  };
}

let shared: TokenCredential | undefined;

/** The app's own identity in Azure, one for the process: it keeps its tokens until they run out. */
export function azureCredential(): TokenCredential {
  shared ??= new DefaultAzureCredential();
  return shared;
}
