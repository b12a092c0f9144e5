import { z } from 'zod';
import { attempt, disk, item, job, point } from './ids.ts';

const count = z.int().nonnegative();

/** What a compaction is going to do: bound to record `seq`, it commits as the next one or never. */
export const compactPlan = z.object({
  format: z.literal(1),
  kind: z.literal('compact'),
  item,
  attempt,
  job,
  seq: count,
  /** Regions of a span when the plan was made: its commit goes by the same. */
  spanRegions: count.optional(),
  /** Each writes one layer in place of another, of the same point and region, that says the same. */
  units: z.array(
    z.object({
      disk,
      region: count,
      /** The point whose manifest lists the layer. */
      owner: point,
      layer: z.object({ point, attempt }),
      /** Full names of those packs of the layer whose frames in use move to new ones. */
      packs: z.array(z.string()),
      movedBytes: count,
    }),
  ),
});
export type CompactPlan = z.infer<typeof compactPlan>;
export type CompactUnit = CompactPlan['units'][number];
