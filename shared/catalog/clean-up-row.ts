import { z } from 'zod';
import { item, job, point } from '../format/ids.ts';

const count = z.int().nonnegative();
/** Milliseconds since the epoch, by the Clock. */
const timeMs = z.number();

/** One cleanup of one vault. Partition: vault key. Key: run id, which ascends with time. */
export const cleanUpRow = z.object({
  runId: z.string(),
  startedAt: timeMs,
  /** Nothing new is begun from then on; what has been begun is waited for. */
  endsAt: timeMs,
  /** What all items together may have rewritten. */
  bytes: count,
  /** Among how many items the bytes were shared at first; absent until then. */
  items: count.optional(),
  endedAt: timeMs.optional(),
  /** The run that goes on in place of this one: of two that were started at once the first. */
  instead: z.string().optional(),
});
export type CleanUpRow = z.infer<typeof cleanUpRow>;

/** Why an item's part of a run has stopped; `open` while it goes on. */
export const cleanUpStatus = z.enum(['open', 'done', 'budget', 'time', 'held', 'failed']);
export type CleanUpStatus = z.infer<typeof cleanUpStatus>;

/** A point, or where it is empty the item itself, that could not be cleaned up. */
const failure = z.object({ point: z.string(), code: z.string(), message: z.string() });

/** What one run has done of one item and what it has left. Partition: `<vault key>|<run id>`. Key: item key. */
export const cleanUpReportRow = z.object({
  itemId: item,
  vmName: z.string(),
  resourceGroup: z.string(),
  status: cleanUpStatus,
  /** What the item may have rewritten in this run. One merge is always allowed. */
  grantedBytes: count,
  /** Points that merges of this run have taken away. */
  merged: count,
  /** What merges have written. */
  foldedBytes: count,
  compactions: count,
  /** What compactions have written. */
  compactedBytes: count,
  /** Snapshots deleted because the instant retention of their points is over. */
  endedSnapshots: count,
  /** Points removed that had never entered the vault. */
  removedPoints: count,
  failures: z.array(failure),
  left: z.object({
    /** Points that are expired and still there. */
    expiredPoints: count,
    /** Stored bytes that are not of blocks that a point shows: dead frames, and the tables of packs. */
    wastedBytes: count,
  }),
  /** Chain records up to this one have been counted, here or in an earlier run's report. */
  seq: count.optional(),
  /** What has been begun last: its job is known once it has been seen to hold the item. */
  trying: z.object({ point: point.optional(), job: job.optional() }).optional(),
  /** Nothing more is compacted in this run: the last try has come to nothing. */
  isCompacted: z.boolean(),
  /** Merges and compactions of this run that ended without a result and without a failure. */
  inVain: count,
  /** Points whose snapshots are being deleted, not counted yet. */
  ending: z.array(z.object({ point, snapshots: count, removes: z.boolean() })),
  /** When something was last begun for the item, in this run or before. */
  servedAt: timeMs.optional(),
  /** When the item was last given a message by the run's coordinator. */
  askedAt: timeMs.optional(),
  updatedAt: timeMs,
});
export type CleanUpReportRow = z.infer<typeof cleanUpReportRow>;
