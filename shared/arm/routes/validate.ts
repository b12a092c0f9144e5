import { z } from 'zod';
import { type Route, route } from '../route.ts';
import { operationStatus } from '../schemas/common.ts';
import { validateBody } from '../schemas/validate.ts';
import { getValidateResult, getValidateStatus, triggerValidateOperation, validateOperation } from '../validate.ts';
import { OPERATOR, READER, V } from './paths.ts';

const result = z.looseObject({
  validateOperationResponse: z.object({
    validationResults: z.array(z.looseObject({ code: z.string(), message: z.string() })),
  }),
});

/** Restores validated without being done. */
export const VALIDATE_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    template: `${V}/backupValidateOperation`,
    role: OPERATOR,
    summary: 'All that is wrong with a restore, which is not done',
    body: validateBody,
    answers: { 200: result },
    handler: validateOperation,
  }),
  route({
    method: 'POST',
    template: `${V}/backupTriggerValidateOperation`,
    role: OPERATOR,
    summary: 'All that is wrong with a restore, as an operation',
    body: validateBody,
    answers: { 202: 'none' },
    handler: triggerValidateOperation,
  }),
  route({
    method: 'GET',
    template: `${V}/backupValidateOperationsStatuses/{operation}`,
    role: READER,
    summary: 'How a validation goes, and what it found',
    answers: { 200: operationStatus },
    handler: getValidateStatus,
  }),
  route({
    method: 'GET',
    template: `${V}/backupValidateOperationResults/{operation}`,
    role: READER,
    summary: 'What a validation found',
    answers: { 200: result, 202: 'none' },
    handler: getValidateResult,
  }),
];
