import type { TokenCredential } from '@azure/identity';
import { StorageSharedKeyCredential } from '@azure/storage-blob';
import { describe, expect, it } from 'vitest';
import { azureCredential, parseStorageAccounts, storageAccounts } from '../../shared/app/credentials.ts';
import { BackupError } from '../../shared/domain/errors.ts';

const tokens: TokenCredential = { getToken: async () => ({ token: 't', expiresOnTimestamp: 0 }) };
const key = Buffer.from('a key').toString('base64');
const local = [
  { account: 'disks', kind: 'standard', blob: 'http://127.0.0.1:10000/disks', key },
  { account: 'disks2', kind: 'premium', blob: 'http://127.0.0.1:10000/disks2/', key },
  { account: 'azureone', kind: 'premium' },
  { account: 'custom', kind: 'standard', blob: 'https://Blobs.Example.com' },
] as const;
const accounts = storageAccounts(local, tokens);
const azure = storageAccounts(local.slice(2), tokens);

describe('the setting STRATA_STORAGE_ACCOUNTS', () => {
  it('is none when unset or empty', () => {
    expect([parseStorageAccounts(undefined), parseStorageAccounts(' ')]).toEqual([[], []]);
  });

  it('reads accounts with and without address and key', () => {
    expect(parseStorageAccounts(JSON.stringify(local))).toEqual(local);
  });

  it.each([
    ['{', 'is not JSON'],
    ['{}', 'expected array'],
    [[{ account: 'Disks', kind: 'standard' }], '0.account'],
    [[local[0], { account: 'disks2', kind: 'fast' }], '1.kind'],
    [[{ account: 'disks', kind: 'standard', blob: 'ftp://disks' }], '0.blob'],
    [[{ account: 'disks', kind: 'standard', key: 'secret!' }], '0.key'],
    [[{ account: 'disks', kind: 'standard', Key: key }], 'Key'],
    [[{ account: 'disks', kind: 'standard', blob: 'http://127.0.0.1:1/disks' }], 'needs a key'],
    [[local[0], local[0]], 'disks stands there twice'],
  ])('refuses %j, saying %s', (value, problem) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    const failure = (() => {
      try {
        return parseStorageAccounts(text);
      } catch (error) {
        return error;
      }
    })() as BackupError;
    expect(failure).toBeInstanceOf(BackupError);
    expect(failure).toMatchObject({ code: 'SettingInvalid', target: 'STRATA_STORAGE_ACCOUNTS' });
    expect(failure.message).toContain(problem);
    expect(failure.message).not.toContain('secret');
  });
});

describe('storage accounts', () => {
  it.each([
    ['http://127.0.0.1:10000/disks/vhds/os.vhd', 'disks', 'standard'],
    ['http://127.0.0.1:10000/disks', 'disks', 'standard'],
    ['http://127.0.0.1:10000/disks2/vhds/os.vhd?snapshot=2026-11-22T07:19:42.5110000Z', 'disks2', 'premium'],
    ['https://azureone.blob.core.windows.net/vhds/os.vhd', 'azureone', 'premium'],
    ['https://AzureOne.blob.core.windows.net', 'azureone', 'premium'],
    ['https://blobs.example.com/vhds/os.vhd', 'custom', 'standard'],
    ['https://unknown.blob.core.windows.net/vhds/os.vhd', 'unknown', 'standard'],
    ['https://unknown.blob.core.usgovcloudapi.net/vhds/os.vhd', 'unknown', 'standard'],
    ['https://unknown.z01.blob.storage.azure.net/vhds/os.vhd', 'unknown', 'standard'],
  ])('%s belongs to %s, %s', (url, account, kind) => {
    expect([accounts.accountNameOf(url), accounts.kindOf(url)]).toEqual([account, kind]);
  });

  it('opens with the key where there is one, else with the token', () => {
    const credential = accounts.credentialFor('http://127.0.0.1:10000/disks2/vhds/os.vhd');
    expect(credential).toBeInstanceOf(StorageSharedKeyCredential);
    expect((credential as StorageSharedKeyCredential).accountName).toBe('disks2');
    expect(accounts.credentialFor('http://127.0.0.1:10000/disks2')).toBe(credential);
    expect(accounts.credentialFor('https://azureone.blob.core.windows.net/c/b')).toBe(tokens);
  });

  it.each([
    'http://127.0.0.1:10000/disks3/c/b',
    'http://127.0.0.1:10001/disks/c/b',
    'https://127.0.0.1:10000/disks/c/b',
    'http://127.0.0.1:10000/x/../disks3',
    'http://127.0.0.1:10000@example.com/disks/c/b',
    'https://azureone.blob.core.windows.net.example.com/c/b',
    'https://unknown.blob.example.com/c/b',
    'http://unknown.blob.core.windows.net/c/b',
    'https://unknown.blob.core.windows.net:8443/c/b',
  ])('gives neither key nor token to %s', (url) => {
    expect(accounts.credentialFor(url)).toBeUndefined();
    expect(azure.credentialFor(url)).toBeUndefined();
  });

  it('without keys in the settings every account of Azure is open to the token', () => {
    expect(azure.credentialFor('https://unknown.blob.core.windows.net/c/b')).toBe(tokens);
    expect(azure.credentialFor('https://blobs.example.com/c/b')).toBe(tokens);
    expect(accounts.credentialFor('https://unknown.blob.core.windows.net/c/b')).toBeUndefined();
  });

  it('tells endpoints by name', () => {
    expect(['disks', 'disks2', 'azureone', 'other'].map((name) => accounts.blobEndpoint(name))).toEqual([
      'http://127.0.0.1:10000/disks',
      'http://127.0.0.1:10000/disks2',
      'https://azureone.blob.core.windows.net',
      undefined,
    ]);
    expect(['other', 'No.Name', 'x'].map((name) => azure.blobEndpoint(name))).toEqual([
      'https://other.blob.core.windows.net',
      undefined,
      undefined,
    ]);
  });

  it('says when a URL does not tell its account', () => {
    for (const url of ['https://cdn.example.com/c/b', 'http://127.0.0.1:9/nobody/c/b', 'no url'])
      expect(() => accounts.accountNameOf(url)).toThrow(expect.objectContaining({ code: 'InvalidRequest' }));
  });
});

it('the Azure credential is one for the process', () => {
  expect(azureCredential()).toBe(azureCredential());
});
