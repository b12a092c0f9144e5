import { z } from 'zod';
import { FINDING_KINDS } from '../domain/findings.ts';
import { job, point } from '../format/ids.ts';

const count = z.int().nonnegative();
/** Milliseconds since the epoch, by the Clock. */
const timeMs = z.number();

/**
 * Something that is wrong in the vault. Partition: `<container>|<item id>`. Key: `<disk>|<region>|<hash>`, with `-` for what has no disk
 * or region, so that the findings of a region lie together.
 */
export const findingRow = z.object({
  kind: z.enum(FINDING_KINDS),
  /** The blob that is damaged; of a view the snapshot that it differs from. */
  object: z.string(),
  /** A code of the error table, and what was seen. */
  code: z.string(),
  message: z.string(),
  /** The disk's id in the vault, its LUN (-1: the OS disk) and name; absent where no single disk is meant. */
  disk: z.string().optional(),
  lun: z.int().optional(),
  name: z.string().optional(),
  region: count.optional(),
  /** Blocks of the region, by number; of a layer that cannot be read none are listed, as nobody knows. */
  runs: z.array(z.object({ start: count, count })),
  blocksLeftOut: count,
  /** The block after the last one that is touched, listed or not. */
  end: count,
  /** Live points whose restore is touched, oldest first. */
  points: z.array(point),
  pointsLeftOut: count,
  /** The newest vault point (that includes the disk) when it was seen. */
  newest: point.optional(),
  /** The newest vault point does not show it, or not any more: old points are still damaged, new ones are not. */
  newestIsSound: z.boolean(),
  foundAt: timeMs,
  seenAt: timeMs,
  /** The verify job that saw it last. */
  seenBy: job.optional(),
  /** When a later check found it sound, or its object was named no more. */
  healedAt: timeMs.optional(),
});
export type FindingRow = z.infer<typeof findingRow>;

/** When a region was last read in depth. Partition: `<container>|<item id>`. Key: `<disk>|<region>`. */
export const checkRow = z.object({ checkedAt: timeMs });
export type CheckRow = z.infer<typeof checkRow>;
