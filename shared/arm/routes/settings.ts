import { type Route, route } from '../route.ts';
import { listOf, resource } from '../schemas/common.ts';
import { encryptionBody } from '../schemas/vault.ts';
import {
  getEncryptionConfig,
  getStorageConfig,
  getVaultConfig,
  listResourceGuardProxies,
  putEncryptionConfig,
} from '../vault-config.ts';
import { CONTRIBUTOR, READER, V } from './paths.ts';

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
    method: 'GET',
    template: `${V}/backupstorageconfig/vaultstorageconfig`,
    role: READER,
    summary: 'Redundancy of a vault',
    answers: { 200: resource },
    handler: getStorageConfig,
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
