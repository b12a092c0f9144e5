import { listOf, resource } from '../schemas/common.ts';
import { listQuery } from '../paging.ts';
import { type Route, route } from '../route.ts';
import { vaultBody, vaultPatchBody } from '../schemas/vault.ts';
import { deleteVaultCall, getVault, listVaultsCall, listVaultsOfGroup, patchVault, putVaultCall } from '../vaults.ts';
import { CONTRIBUTOR, READER, RS, S, V, VAULTS } from './paths.ts';

/** Recovery Services vaults. */
export const VAULTS_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    template: `${S}/${RS}/vaults`,
    role: READER,
    summary: 'The vaults of the subscription',
    query: listQuery,
    answers: { 200: listOf(resource) },
    handler: (call) => listVaultsCall(call),
  }),
  route({
    method: 'GET',
    template: VAULTS,
    role: READER,
    summary: 'The vaults of a resource group',
    query: listQuery,
    answers: { 200: listOf(resource) },
    handler: listVaultsOfGroup,
  }),
  route({
    method: 'GET',
    template: V,
    role: READER,
    summary: 'A vault',
    answers: { 200: resource },
    handler: getVault,
  }),
  route({
    method: 'PUT',
    template: V,
    role: CONTRIBUTOR,
    summary: 'Create a vault, or change what the body speaks of',
    body: vaultBody,
    answers: { 200: resource, 201: resource },
    handler: putVaultCall,
  }),
  route({
    method: 'PATCH',
    template: V,
    role: CONTRIBUTOR,
    summary: 'Change a vault',
    body: vaultPatchBody,
    answers: { 200: resource },
    handler: patchVault,
  }),
  route({
    method: 'DELETE',
    template: V,
    role: CONTRIBUTOR,
    summary: 'Delete an empty vault',
    answers: { 200: 'none', 204: 'none' },
    handler: deleteVaultCall,
  }),
];
