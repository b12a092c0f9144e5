import { getVaultOperation } from '../operations.ts';
import {
  getContainerOperationResult,
  getOperationResultOfVault,
  getPolicyOperation,
  getPolicyOperationResult,
} from '../resource-operations.ts';
import { type Route, route } from '../route.ts';
import { operationStatus, resource } from '../schemas/common.ts';
import { C, READER, V } from './paths.ts';

/** Operations, where they are asked for at the resource that they worked on. Those of items and jobs are with these. */
export const OPERATIONS_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    template: `${V}/operationStatus/{operation}`,
    role: READER,
    summary: 'How an operation of a vault goes',
    answers: { 200: operationStatus },
    handler: getVaultOperation,
  }),
  route({
    method: 'GET',
    template: `${V}/operationResults/{operation}`,
    role: READER,
    summary: 'The vault that an operation has worked on',
    answers: { 200: resource, 202: 'none' },
    handler: getOperationResultOfVault,
  }),
  route({
    method: 'GET',
    template: `${V}/backupPolicies/{policy}/operations/{operation}`,
    role: READER,
    summary: 'How an operation on a policy goes: there are none, policies change at once',
    answers: { 200: operationStatus },
    handler: getPolicyOperation,
  }),
  route({
    method: 'GET',
    template: `${V}/backupPolicies/{policy}/operationResults/{operation}`,
    role: READER,
    summary: 'The policy that an operation has worked on: there are none, policies change at once',
    answers: { 200: resource, 202: 'none' },
    handler: getPolicyOperationResult,
  }),
  route({
    method: 'GET',
    template: `${C}/operationResults/{operation}`,
    role: READER,
    summary: 'The end of an operation on a container',
    answers: { 202: 'none', 204: 'none' },
    handler: getContainerOperationResult,
  }),
];
