import type { Step } from './steps.ts';

/** Where a step of a job is left for any worker. At least once, in any order. Passes workQueueContract. */
export interface WorkQueue {
  /** Leaves `step`, invisible for `delaySeconds` (0 to 7 days, whole seconds). Messages never expire. */
  send(step: Step, delaySeconds?: number): Promise<void>;
}
