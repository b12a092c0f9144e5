import { z } from 'zod';

/** A feature that somebody has registered. Partition: subscription. Key: `<namespace>|<feature>`, lower case. No row: not registered. */
export const featureRow = z.object({
  registeredAt: z.number(),
  /** The caller who did it first. */
  by: z.string(),
});
export type FeatureRow = z.infer<typeof featureRow>;
