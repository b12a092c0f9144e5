import { deleteItem, getItem, getItemOperation, getItemOperationResult, listItems, putItem } from '../items.ts';
import { getVaultOperation, getVaultOperationResult } from '../operations.ts';
import { backup } from '../points.ts';
import { type Route, route } from '../route.ts';
import { listOf, operationStatus, resource } from '../schemas/common.ts';
import { INVALID_PROTECTION, itemQuery, itemsQuery, protectedItemBody } from '../schemas/item.ts';
import { backupBody } from '../schemas/point.ts';
import { CONTRIBUTOR, I, OPERATOR, READER, V } from './paths.ts';

/** Protected items, their backups and the operations on them. Stopping shares its PUT with protecting and asks for a contributor itself. */
export const ITEMS_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    template: `${V}/backupProtectedItems`,
    role: READER,
    summary: 'The protected items of a vault',
    query: itemsQuery,
    answers: { 200: listOf(resource) },
    handler: listItems,
  }),
  route({
    method: 'GET',
    template: I,
    role: READER,
    summary: 'A protected item',
    query: itemQuery,
    answers: { 200: resource },
    handler: getItem,
  }),
  route({
    method: 'PUT',
    template: I,
    role: OPERATOR,
    summary: 'Protect a VM, give it another policy, resume, stop or undelete',
    body: protectedItemBody,
    bodyCode: INVALID_PROTECTION,
    answers: { 202: 'none' },
    handler: putItem,
  }),
  route({
    method: 'DELETE',
    template: I,
    role: CONTRIBUTOR,
    summary: 'Stop protection and delete the data, which can be undeleted',
    answers: { 202: 'none', 204: 'none' },
    handler: deleteItem,
  }),
  route({
    method: 'POST',
    template: `${I}/backup`,
    role: OPERATOR,
    summary: 'Back up now',
    body: backupBody,
    answers: { 202: 'none' },
    handler: backup,
  }),
  route({
    method: 'GET',
    template: `${I}/operationsStatus/{operation}`,
    role: READER,
    summary: 'How an operation on an item goes',
    answers: { 200: operationStatus },
    handler: getItemOperation,
  }),
  route({
    method: 'GET',
    template: `${I}/operationResults/{operation}`,
    role: READER,
    summary: 'What came of an operation on an item',
    answers: { 200: resource, 202: 'none', 204: 'none' },
    handler: getItemOperationResult,
  }),
  route({
    method: 'GET',
    template: `${V}/backupOperations/{operation}`,
    role: READER,
    summary: 'How an operation goes, asked at the vault',
    answers: { 200: operationStatus },
    handler: getVaultOperation,
  }),
  route({
    method: 'GET',
    template: `${V}/backupOperationResults/{operation}`,
    role: READER,
    summary: 'What came of an operation, asked at the vault',
    answers: { 202: 'none', 204: 'none' },
    handler: getVaultOperationResult,
  }),
];
