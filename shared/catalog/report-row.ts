import { z } from 'zod';

/**
 * What a job of Strata's own says of one thing that it looked at: a protected item, an object of the vault. Partition:
 * `<vault key>|<job id>`. Key: whatever tells the job's subjects apart.
 */
export const reportRow = z.object({
  /** What it is about, for people. */
  subject: z.string(),
  /** One word: `Rebuilt`, `Damaged`. */
  outcome: z.string(),
  text: z.string(),
  /** The same for programs. */
  details: z.record(z.string(), z.unknown()),
});
export type ReportRow = z.infer<typeof reportRow>;
