import { cancel, getJob, getJobOperation, getJobOperationResult, listJobs } from '../jobs.ts';
import { type Route, route } from '../route.ts';
import { listOf, operationStatus, resource } from '../schemas/common.ts';
import { jobsQuery } from '../schemas/job.ts';
import { JOB, OPERATOR, READER, V } from './paths.ts';

/** Jobs as the service knows them. */
export const JOBS_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    template: `${V}/backupJobs`,
    role: READER,
    summary: 'The jobs of a vault, newest first',
    query: jobsQuery,
    answers: { 200: listOf(resource) },
    handler: listJobs,
  }),
  route({
    method: 'GET',
    template: JOB,
    role: READER,
    summary: 'A job with its tasks',
    answers: { 200: resource },
    handler: getJob,
  }),
  route({
    method: 'POST',
    template: `${JOB}/cancel`,
    role: OPERATOR,
    summary: 'Cancel a backup or restore',
    answers: { 202: 'none' },
    handler: cancel,
  }),
  route({
    method: 'GET',
    template: `${JOB}/operationsStatus/{operation}`,
    role: READER,
    summary: 'How a cancellation goes',
    answers: { 200: operationStatus },
    handler: getJobOperation,
  }),
  route({
    method: 'GET',
    template: `${JOB}/operationResults/{operation}`,
    role: READER,
    summary: 'The end of a cancellation',
    answers: { 204: 'none' },
    handler: getJobOperationResult,
  }),
];
