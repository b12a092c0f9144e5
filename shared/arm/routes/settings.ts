import { type Route, route } from '../route.ts';
import { listOf, resource } from '../schemas/common.ts';
import { encryptionBody, storageConfigBody, vaultConfigBody } from '../schemas/vault.ts';
import {
  changeVaultConfig,
  getEncryptionConfig,
  getStorageConfig,
  getVaultConfig,
  listResourceGuardProxies,
  patchStorageConfig,
  putEncryptionConfig,
  putStorageConfig,
} from '../vault-config.ts';
import { CONTRIBUTOR, OPERATOR, READER, V } from './paths.ts';

/** A vault's settings as the backup plane shows them. */
export const SETTINGS_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    template: `${V}/backupconfig/vaultconfig`,
    role: READER,
    summary: 'Soft delete of a vault',
    answers: { 200: resource },
    handler: getVaultConfig,
  }),
  route({
    method: 'PUT',
    template: `${V}/backupconfig/vaultconfig`,
    role: CONTRIBUTOR,
    summary: 'Set soft delete of a vault: what the body leaves out stays',
    body: vaultConfigBody,
    answers: { 200: resource },
    handler: changeVaultConfig,
  }),
  route({
    method: 'PATCH',
    template: `${V}/backupconfig/vaultconfig`,
    role: CONTRIBUTOR,
    summary: 'Change soft delete of a vault',
    body: vaultConfigBody,
    answers: { 200: resource },
    handler: changeVaultConfig,
  }),
  route({
    method: 'GET',
    template: `${V}/backupstorageconfig/vaultstorageconfig`,
    role: READER,
    summary: 'Redundancy of a vault',
    answers: { 200: resource },
    handler: getStorageConfig,
  }),
  route({
    method: 'PUT',
    template: `${V}/backupstorageconfig/vaultstorageconfig`,
    role: OPERATOR,
    summary: 'Set the redundancy of a vault that never protected anything',
    body: storageConfigBody,
    answers: { 200: resource },
    handler: putStorageConfig,
  }),
  route({
    method: 'PATCH',
    template: `${V}/backupstorageconfig/vaultstorageconfig`,
    role: OPERATOR,
    summary: 'Change the redundancy of a vault that never protected anything',
    body: storageConfigBody,
    answers: { 204: 'none' },
    handler: patchStorageConfig,
  }),
  route({
    method: 'GET',
    template: `${V}/backupEncryptionConfigs/backupResourceEncryptionConfig`,
    role: READER,
    summary: 'Encryption at rest of a vault',
    answers: { 200: resource },
    handler: getEncryptionConfig,
  }),
  route({
    method: 'PUT',
    template: `${V}/backupEncryptionConfigs/backupResourceEncryptionConfig`,
    role: CONTRIBUTOR,
    summary: 'Encryption at rest: with the platform’s keys alone',
    body: encryptionBody,
    answers: { 200: resource },
    handler: putEncryptionConfig,
  }),
  route({
    method: 'GET',
    template: `${V}/backupResourceGuardProxies`,
    role: READER,
    summary: 'The resource guards of a vault',
    answers: { 200: listOf(resource) },
    handler: listResourceGuardProxies,
  }),
];
