import { deletePolicyCall, getPolicy, listPolicies, putPolicyCall } from '../policies.ts';
import { POLICY_CODE } from '../policy-wire.ts';
import { type Route, route } from '../route.ts';
import { listOf, resource } from '../schemas/common.ts';
import { policiesQuery, policyBody } from '../schemas/policy.ts';
import { CONTRIBUTOR, READER, V } from './paths.ts';

/** Backup policies. */
export const POLICIES_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    template: `${V}/backupPolicies`,
    role: READER,
    summary: 'The policies of a vault',
    query: policiesQuery,
    answers: { 200: listOf(resource) },
    handler: listPolicies,
  }),
  route({
    method: 'GET',
    template: `${V}/backupPolicies/{policy}`,
    role: READER,
    summary: 'A policy',
    answers: { 200: resource },
    handler: getPolicy,
  }),
  route({
    method: 'PUT',
    template: `${V}/backupPolicies/{policy}`,
    role: CONTRIBUTOR,
    summary: 'Create or replace a policy',
    body: policyBody,
    bodyCode: POLICY_CODE,
    answers: { 200: resource },
    handler: putPolicyCall,
  }),
  route({
    method: 'DELETE',
    template: `${V}/backupPolicies/{policy}`,
    role: CONTRIBUTOR,
    summary: 'Delete a policy that protects nothing',
    answers: { 200: 'none', 204: 'none' },
    handler: deletePolicyCall,
  }),
];
