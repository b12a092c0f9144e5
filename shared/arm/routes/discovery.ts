import { z } from 'zod';
import {
  backupStatus,
  getContainer,
  getRefreshResult,
  inquire,
  listContainers,
  listDeletedContainers,
  listProtectableItems,
  nothingInContainer,
  nothingInVault,
  refreshContainers,
  registerContainer,
  unregisterContainer,
} from '../discovery.ts';
import { noContent, ok } from '../http.ts';
import { capabilities, checkNameAvailability, preValidateProtection, validateFeatures } from '../locations.ts';
import { listUsages, listUsageSummaries } from '../usages.ts';
import { theVault } from '../vaults.ts';
import { type Route, route } from '../route.ts';
import { emptyBody, listOf, resource } from '../schemas/common.ts';
import {
  capabilitiesBody,
  containerBody,
  featureSupportBody,
  nameAvailabilityBody,
  preValidateBody,
  usageSummariesQuery,
} from '../schemas/discovery.ts';
import { backupStatusBody, containersQuery, protectableItemsQuery, refreshQuery } from '../schemas/vault.ts';
import { C, CONTRIBUTOR, FABRIC, LOCATION, OPERATOR, READER, RS, S, V } from './paths.ts';

/** Lists of what this version does not have: empty, as in a vault of the service that has none. */
const EMPTY_LISTS = [
  [`${FABRIC}/protectableContainers`, 'Containers that could be registered: none, VMs need none'],
  [`${V}/backupProtectionIntents`, 'Protection intents: none, VMs are protected by their items'],
  [`${V}/backupEngines`, 'Backup servers: none'],
  [`${V}/privateLinkResources`, 'Private link resources: none'],
  [`${V}/replicationUsages`, 'Usages of site recovery: none'],
] as const;

const usage = z.looseObject({ unit: z.string(), currentValue: z.number(), name: z.looseObject({ value: z.string() }) });

/** What can be protected, and what is. */
export const DISCOVERY_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    template: `${LOCATION}/backupStatus`,
    role: READER,
    summary: 'Which vault protects a VM',
    body: backupStatusBody,
    answers: { 200: z.looseObject({}) },
    handler: backupStatus,
  }),
  route({
    method: 'GET',
    template: `${V}/backupProtectableItems`,
    role: READER,
    summary: 'The VMs that no vault protects',
    query: protectableItemsQuery,
    answers: { 200: listOf(resource) },
    handler: listProtectableItems,
  }),
  route({
    method: 'GET',
    template: `${V}/backupProtectionContainers`,
    role: READER,
    summary: 'The containers of protected VMs',
    query: containersQuery,
    answers: { 200: listOf(resource) },
    handler: listContainers,
  }),
  route({
    method: 'POST',
    template: `${FABRIC}/refreshContainers`,
    role: OPERATOR,
    summary: 'Look for VMs again',
    query: refreshQuery,
    answers: { 202: 'none' },
    handler: refreshContainers,
  }),
  route({
    method: 'GET',
    template: `${FABRIC}/operationResults/{operation}`,
    role: READER,
    summary: 'The end of a refresh',
    answers: { 204: 'none' },
    handler: getRefreshResult,
  }),
  route({
    method: 'GET',
    template: C,
    role: READER,
    summary: 'The container of a protected VM',
    answers: { 200: resource },
    handler: getContainer,
  }),
  route({
    method: 'PUT',
    template: C,
    role: OPERATOR,
    summary: 'Register the container of a VM: it is, once the VM is protected',
    body: containerBody,
    answers: { 200: resource },
    handler: registerContainer,
  }),
  route({
    method: 'DELETE',
    template: C,
    role: CONTRIBUTOR,
    summary: 'Unregister a container: it goes with its item',
    answers: { 204: 'none' },
    handler: unregisterContainer,
  }),
  route({
    method: 'POST',
    template: `${C}/inquire`,
    role: OPERATOR,
    summary: 'Look for what is in a container: nothing besides the VM',
    query: refreshQuery,
    body: emptyBody,
    answers: { 202: 'none' },
    handler: inquire,
  }),
  route({
    method: 'GET',
    template: `${C}/items`,
    role: READER,
    summary: 'The workloads in a container: none',
    query: refreshQuery,
    answers: { 200: listOf(resource) },
    handler: nothingInContainer,
  }),
  route({
    method: 'GET',
    template: `${V}/backupDeletedProtectionContainers`,
    role: READER,
    summary: 'The containers of softly deleted items',
    query: containersQuery,
    answers: { 200: listOf(resource) },
    handler: listDeletedContainers,
  }),
  ...EMPTY_LISTS.map(([template, summary]) =>
    route({
      method: 'GET',
      template,
      role: READER,
      summary,
      answers: { 200: listOf(resource) },
      handler: nothingInVault,
    }),
  ),
  route({
    method: 'DELETE',
    template: `${FABRIC}/backupProtectionIntent/{intent}`,
    role: OPERATOR,
    summary: 'Delete a protection intent, of which there are none',
    answers: { 204: 'none' },
    handler: async (call) => {
      await theVault(call);
      return noContent;
    },
  }),
  route({
    method: 'GET',
    template: `${LOCATION}/deletedVaults`,
    role: READER,
    summary: 'Deleted vaults that could be brought back: none',
    answers: { 200: listOf(resource) },
    handler: async () => ok({ value: [], nextLink: null }),
  }),
  route({
    method: 'GET',
    template: `${V}/usages`,
    role: READER,
    summary: 'What a vault has: items, recovery points, policies, bytes',
    answers: { 200: listOf(usage) },
    handler: listUsages,
  }),
  route({
    method: 'GET',
    template: `${V}/backupUsageSummaries`,
    role: READER,
    summary: 'How many items, or containers, a vault has',
    query: usageSummariesQuery,
    answers: { 200: listOf(usage) },
    handler: listUsageSummaries,
  }),
  route({
    method: 'POST',
    template: `${S}/resourceGroups/{group}/${RS}/locations/{location}/checkNameAvailability`,
    role: READER,
    summary: 'Whether a vault could have a name',
    body: nameAvailabilityBody,
    answers: { 200: z.looseObject({ nameAvailable: z.boolean() }) },
    handler: checkNameAvailability,
  }),
  route({
    method: 'POST',
    template: `${LOCATION}/capabilities`,
    role: READER,
    summary: 'Zones of DNS for private endpoints: none',
    body: capabilitiesBody,
    answers: { 200: z.looseObject({ type: z.string() }) },
    handler: capabilities,
  }),
  route({
    method: 'POST',
    template: `${LOCATION}/backupValidateFeatures`,
    role: READER,
    summary: 'Whether a kind of backup is supported',
    body: featureSupportBody,
    answers: { 200: z.looseObject({ supportStatus: z.string() }) },
    handler: validateFeatures,
  }),
  route({
    method: 'POST',
    template: `${LOCATION}/backupPreValidateProtection`,
    role: OPERATOR,
    summary: 'Whether a VM could be protected in a vault',
    body: preValidateBody,
    answers: { 200: z.looseObject({ status: z.enum(['Succeeded', 'Failed']) }) },
    handler: preValidateProtection,
  }),
];
