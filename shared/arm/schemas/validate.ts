import { z } from 'zod';
import { oneOf, optional } from './common.ts';
import { type RestoreBody, restoreBody } from './point.ts';

const objectType = oneOf('ValidateIaasVMRestoreOperationRequest', 'ValidateRestoreOperationRequest');
const restoreRequest = restoreBody.shape.properties;

/** What is to be validated: older clients send it as the body, newer ones as the properties of a resource. */
export const validateBody = z
  .object({
    /** The recovery point, or its item. */
    id: optional(z.string()),
    properties: optional(z.object({ objectType, restoreRequest })),
    objectType: optional(objectType),
    restoreRequest: optional(restoreRequest),
  })
  .transform(({ id, properties, restoreRequest: bare }, context) => {
    const asked: RestoreBody['properties'] | undefined = properties?.restoreRequest ?? bare;
    if (asked !== undefined) return { id, restore: asked };
    context.addIssue({
      code: 'custom',
      path: ['restoreRequest'],
      message: 'is missing: expected the restore to validate',
    });
    return z.NEVER;
  });
export type ValidateBody = z.infer<typeof validateBody>;
