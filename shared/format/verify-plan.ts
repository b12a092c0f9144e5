import { z } from 'zod';
import { layerRef, planFormat, planParts } from './documents.ts';
import { attempt, disk, item, job, point } from './ids.ts';

const count = z.int().nonnegative();

/** A layer and the point in whose list it stands; `leads`: of its slab's live layers it has the lowest region. */
const ownedLayer = layerRef.extend({ owner: point, leads: z.boolean().optional() });
export type OwnedLayer = z.infer<typeof ownedLayer>;

/**
 * What a verify job is going to look at. Disks and regions are told of once; units point at them. Each part tells of the regions of its own units,
 * and all units of a region are in one part. Those of a drill come last.
 */
export const verifyPlan = z.object({
  format: planFormat,
  parts: planParts,
  kind: z.literal('verify'),
  item,
  attempt,
  job,
  /** The record that it was made on. */
  seq: count,
  /** The newest point that is in both tiers and can be compared with its snapshots. */
  compared: point.nullable(),
  /** The point whose restore is tried. */
  drilled: point.nullable(),
  disks: z.array(
    z.object({
      disk,
      lun: z.int(),
      name: z.string(),
      /** At the newest point that includes it. */
      sizeBytes: count,
      /** The live points that include it, in snapshot order. */
      points: z.array(point),
      /** For each of these points, the first one of the disk's chain there; null, or absent for all: the first of all. */
      begins: z.array(point.nullable()).optional(),
      /** Its snapshot at the compared point, and its size then. */
      compare: z.object({ url: z.string(), id: z.string(), sizeBytes: count }).nullable(),
      /** The same at the point that is tried; null when its snapshot is gone. */
      drill: z.object({ url: z.string(), id: z.string(), sizeBytes: count }).nullable(),
    }),
  ),
  /** Of this part the regions that are read in depth: all layers that live points have of each, oldest first. */
  regions: z.array(
    z.object({
      disk: count,
      region: count,
      bytes: count,
      layers: z.array(ownedLayer),
      /** Attempts of its checkpoints. */
      checkpoints: z.array(attempt),
    }),
  ),
  units: z.array(
    z.discriminatedUnion('kind', [
      /** What there is of a disk against what the manifests name: of the regions whose numbers, in names, begin with `regions`; absent: of all. */
      z.object({
        kind: z.literal('inventory'),
        disk: count,
        regions: z
          .string()
          .regex(/^\d{1,6}$/)
          .optional(),
        bytes: count,
      }),
      /** `layers` layers of a region, from number `from` on; the first unit of a region compares its view with the snapshot. */
      z.object({ kind: z.literal('region'), at: count, from: count, layers: count, bytes: count }),
      /** A restored region is compared with its snapshot. */
      z.object({ kind: z.literal('drill'), disk: count, region: count, bytes: count }),
    ]),
  ),
});
export type VerifyPlan = z.infer<typeof verifyPlan>;
export type VerifyUnit = VerifyPlan['units'][number];
