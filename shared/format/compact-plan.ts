import { z } from 'zod';
import type { AttemptId, DiskId, ItemId, JobId, PointId } from '../domain/ids.ts';

const branded = <Id extends string>(): z.ZodType<Id> => z.string().min(1) as unknown as z.ZodType<Id>;
const point = branded<PointId>();
const attempt = branded<AttemptId>();
const count = z.int().nonnegative();

/** What a compaction is going to do: bound to record `seq`, it commits as the next one or never. */
export const compactPlan = z.object({
  format: z.literal(1),
  kind: z.literal('compact'),
  item: branded<ItemId>(),
  attempt,
  job: branded<JobId>(),
  seq: count,
  /** Each writes one layer in place of another, of the same point and region, that says the same. */
  units: z.array(
    z.object({
      disk: branded<DiskId>(),
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
