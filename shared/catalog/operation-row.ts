import { z } from 'zod';

/** An asynchronous operation of the API, which clients poll. Partition: vault key. Key: operation id. */
export const operationRow = z.object({
  startedAt: z.number(),
  /** The job that it started; absent for operations that were done when they were answered. */
  jobId: z.string().optional(),
  /** What it worked on: the path below the vault, for the result. */
  resource: z.string(),
});
export type OperationRow = z.infer<typeof operationRow>;
