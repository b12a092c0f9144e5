import { z } from 'zod';
import {
  backupStatus,
  getContainer,
  getRefreshResult,
  listContainers,
  listProtectableItems,
  refreshContainers,
} from '../discovery.ts';
import { type Route, route } from '../route.ts';
import { listOf, resource } from '../schemas/common.ts';
import { backupStatusBody, containersQuery, protectableItemsQuery, refreshQuery } from '../schemas/vault.ts';
import { C, FABRIC, LOCATION, OPERATOR, READER, V } from './paths.ts';

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
];
