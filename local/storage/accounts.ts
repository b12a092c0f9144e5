/**
 * The storage accounts of the local platform, and how to reach them.
 *
 * `devstoreaccount1` has the key that every Azure tool knows for development storage; the others get keys of their own at
 * first start, kept in the data folder.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { StorageAccount, StorageServer } from './server.ts';

/** Public: https://learn.microsoft.com/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key */
const DEVELOPMENT_KEY = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

const ACCOUNTS = [
  { account: 'devstoreaccount1', kind: 'standard' },
  { account: 'stratadisks1', kind: 'standard' },
  { account: 'stratadisks2', kind: 'standard' },
  { account: 'stratapremium1', kind: 'premium' },
] as const;

/** Length of a storage account's key. */
const KEY_BYTES = 64;

const storedKeys = z.record(z.string(), z.base64());

type Ports = Pick<StorageServer, 'blobPort' | 'queuePort' | 'tablePort'>;

/**
 * The platform's accounts with the keys of this data folder, which is made with its keys at the first call. Several
 * processes may call at once: the first one's keys stand. @throws if the kept keys cannot be understood
 */
export async function loadAccounts(dataDir: string): Promise<StorageAccount[]> {
  await mkdir(dataDir, { recursive: true });
  const file = join(dataDir, 'storage-accounts.json');
  const text = (await readIfPresent(file)) ?? (await makeKeys(file));
  const keys = parseKeys(text, file);
  return ACCOUNTS.map(({ account, kind }) => {
    const key = account === 'devstoreaccount1' ? DEVELOPMENT_KEY : keys[account];
    if (key === undefined)
      throw new Error(`${file} has no key for ${account}: restore the file or reset the data folder`);
    return { account, kind, key };
  });
}

/** Writes new keys whole or not at all; if another process was first, its keys are the ones returned. */
async function makeKeys(file: string): Promise<string> {
  const names = ACCOUNTS.map(({ account }) => account).filter((account) => account !== 'devstoreaccount1');
  const keys = Object.fromEntries(names.map((account) => [account, randomBytes(KEY_BYTES).toString('base64')]));
  const draft = `${file}.${randomUUID()}`;
  await writeFile(draft, `${JSON.stringify(keys, undefined, 2)}\n`, { mode: 0o600 });
  try {
    await link(draft, file);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    await rm(draft);
  }
  return await readFile(file, 'utf8');
}

async function readIfPresent(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function parseKeys(text: string, file: string): Record<string, string> {
  try {
    return storedKeys.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(`${file} does not hold account keys: restore the file or reset the data folder`, { cause: error });
  }
}

/** `http://127.0.0.1:10000/devstoreaccount1`, without a slash at the end. */
export function blobEndpoint(account: string, server: Ports): string {
  return `http://127.0.0.1:${server.blobPort}/${account}`;
}

export function queueEndpoint(account: string, server: Ports): string {
  return `http://127.0.0.1:${server.queuePort}/${account}`;
}

export function tableEndpoint(account: string, server: Ports): string {
  return `http://127.0.0.1:${server.tablePort}/${account}`;
}

/** A connection string as the SDKs and the Functions host take it. */
export function connectionString({ account, key }: StorageAccount, server: Ports): string {
  return [
    'DefaultEndpointsProtocol=http',
    `AccountName=${account}`,
    `AccountKey=${key}`,
    `BlobEndpoint=${blobEndpoint(account, server)}`,
    `QueueEndpoint=${queueEndpoint(account, server)}`,
    `TableEndpoint=${tableEndpoint(account, server)}`,
    '',
  ].join(';');
}
