import { z } from 'zod';
import { listQuery } from '../paging.ts';
import { type Route, route } from '../route.ts';
import { emptyBody, listOf, operationStatus, resource } from '../schemas/common.ts';
import { costsQuery, findingsQuery, rebuildBody, verifyBody } from '../schemas/strata.ts';
import { cleanUpNow, getCleanUp, getCleanUpOperation, listCleanUps } from '../strata-clean-up.ts';
import { getCosts } from '../strata-costs.ts';
import { getOwnJob, getOwnOperation, listOwnJobs } from '../strata-jobs.ts';
import { rebuildCatalog } from '../strata-rebuild.ts';
import { listFindings, verifyCall } from '../strata-verify.ts';
import { CONTRIBUTOR, OPERATOR, READER, V } from './paths.ts';

/** Strata’s own: what the service has not. */
export const STRATA_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    template: `${V}/strata/jobs`,
    role: READER,
    summary: 'Strata’s own jobs, newest first',
    query: listQuery,
    answers: { 200: listOf(resource) },
    handler: listOwnJobs,
  }),
  route({
    method: 'GET',
    template: `${V}/strata/jobs/{job}`,
    role: READER,
    summary: 'One of Strata’s own jobs with its report',
    answers: { 200: resource },
    handler: getOwnJob,
  }),
  route({
    method: 'GET',
    template: `${V}/strata/operationsStatus/{operation}`,
    role: READER,
    summary: 'How one of Strata’s own jobs goes',
    answers: { 200: operationStatus },
    handler: getOwnOperation,
  }),
  route({
    method: 'POST',
    template: `${V}/strata/cleanUp`,
    role: CONTRIBUTOR,
    summary: 'Clean up now',
    body: emptyBody,
    answers: { 202: resource },
    handler: cleanUpNow,
  }),
  route({
    method: 'GET',
    template: `${V}/strata/cleanUps`,
    role: READER,
    summary: 'The cleanups of the last month',
    query: listQuery,
    answers: { 200: listOf(resource) },
    handler: listCleanUps,
  }),
  route({
    method: 'GET',
    template: `${V}/strata/cleanUps/{run}`,
    role: READER,
    summary: 'A cleanup with what it did',
    answers: { 200: resource },
    handler: getCleanUp,
  }),
  route({
    method: 'GET',
    template: `${V}/strata/cleanUps/{run}/operationStatus`,
    role: READER,
    summary: 'How a cleanup goes',
    answers: { 200: operationStatus },
    handler: getCleanUpOperation,
  }),
  route({
    method: 'GET',
    template: `${V}/strata/costs`,
    role: READER,
    summary: 'What the vault holds, point by point',
    query: costsQuery,
    answers: { 200: resource },
    handler: getCosts,
  }),
  route({
    method: 'POST',
    template: `${V}/strata/verify`,
    role: OPERATOR,
    summary: 'Verify items',
    body: verifyBody,
    answers: { 202: z.object({ value: z.array(z.looseObject({ id: z.string(), name: z.string() })) }) },
    handler: verifyCall,
  }),
  route({
    method: 'GET',
    template: `${V}/strata/findings`,
    role: READER,
    summary: 'What is known to be wrong',
    query: findingsQuery,
    answers: { 200: listOf(resource) },
    handler: listFindings,
  }),
  route({
    method: 'POST',
    template: `${V}/strata/rebuildCatalog`,
    role: CONTRIBUTOR,
    summary: 'Rebuild the catalog from the vault’s container',
    body: rebuildBody,
    answers: { 202: 'none' },
    handler: rebuildCatalog,
  }),
];
