import { z } from 'zod';

/** An asynchronous operation of the API, which clients poll. Partition: vault key. Key: operation id. */
export const operationRow = z.object({
  startedAt: z.number(),
  /** Which kind of result it has; absent: the item where its job changed it, else none. */
  kind: z.enum(['item', 'container', 'vault', 'policy', 'validate', 'export']).optional(),
  /** How it goes; absent: it had succeeded when it was answered. */
  status: z.enum(['InProgress', 'Succeeded', 'Failed', 'Canceled']).optional(),
  endedAt: z.number().optional(),
  /** Why it has failed. */
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  /** What it has come to, as its kind shows it. */
  result: z.record(z.string(), z.unknown()).optional(),
  /** The job that it started; absent for operations that were done when they were answered. */
  jobId: z.string().optional(),
  /** What it worked on: the path below the vault, for the result. */
  resource: z.string(),
});
export type OperationRow = z.infer<typeof operationRow>;
