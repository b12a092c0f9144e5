import { z } from 'zod';
import type { AttemptId, DiskId, ItemId, JobId, PointId } from '../domain/ids.ts';

const branded = <Id extends string>(): z.ZodType<Id> => z.string().min(1) as unknown as z.ZodType<Id>;
const item = branded<ItemId>();
const disk = branded<DiskId>();
const point = branded<PointId>();
const attempt = branded<AttemptId>();
const job = branded<JobId>();
const count = z.int().nonnegative();
const format = z.literal(1);

/** `v1/vault.json`: what a reader must know before anything else. */
export const vaultDocument = z.object({
  format,
  vaultId: z.string(),
  blockBytes: count,
  regionBytes: count,
  createdAt: z.string(),
});
export type VaultDocument = z.infer<typeof vaultDocument>;

/** A live point and the manifest it has now. `sha256` is the manifest's digest. */
const recordPoint = z.object({ point, manifest: z.string(), sha256: z.string() });
export type RecordPoint = z.infer<typeof recordPoint>;

/** `chain/<seq>.json`: the state of an item, whole. The newest is the truth. */
export const chainRecord = z.object({
  format,
  item,
  seq: count,
  /** What this record did. `end` changed nothing: it closes a job that had noted a plan and did not commit it. */
  kind: z.enum(['start', 'backup', 'merge', 'end', 'state']),
  attempt,
  job: job.nullable(),
  writtenAt: z.string(),
  state: z.enum(['protected', 'stopped']),
  /** In snapshot order. */
  points: z.array(recordPoint),
});
export type ChainRecord = z.infer<typeof chainRecord>;

/** A layer, named by the point and the attempt that wrote it (disk and region are known where it stands). */
export const layerRef = z.object({ point, attempt });
export type LayerRef = z.infer<typeof layerRef>;

const countedLayer = layerRef.extend({
  dataBlocks: count,
  clearedBlocks: count,
  /** The layer file and its packs. */
  storedBytes: count,
});
export type CountedLayer = z.infer<typeof countedLayer>;

const manifestDisk = z.object({
  disk,
  lun: z.int(),
  name: z.string(),
  url: z.string(),
  createdAt: z.string(),
  sizeBytes: count,
  /** The snapshot that this point was read from: only this one may start a diff. */
  snapshot: z.object({ id: z.string(), attempt }),
  /** Own layers by ascending region; within a region the oldest first. */
  regions: z.array(z.object({ region: count, layers: z.array(countedLayer) })),
});

/** `points/<rp>.<attempt>.json`: what makes a point restorable, together with the points before it. */
export const manifest = z.object({
  format,
  item,
  point,
  attempt,
  time: z.string(),
  trigger: z.enum(['scheduled', 'onDemand']),
  dueAt: z.string().nullable(),
  retainUntil: z.string().nullable(),
  consistency: z.literal('CrashConsistent'),
  vm: z.object({
    id: z.string(),
    vmId: z.string(),
    name: z.string(),
    resourceGroup: z.string(),
    location: z.string(),
    size: z.string(),
    osType: z.string(),
  }),
  lacking: z.array(z.object({ lun: z.int(), name: z.string() })),
  disks: z.array(manifestDisk),
});
export type Manifest = z.infer<typeof manifest>;

const planDisk = z.object({
  disk,
  lun: z.int(),
  name: z.string(),
  url: z.string(),
  createdAt: z.string(),
  sizeBytes: count,
  snapshot: z.string(),
  /** The disk's size at its base, where there is one. */
  baseSizeBytes: count.nullable(),
  /** The last live point that includes the disk. */
  base: point.nullable(),
  source: z.enum(['diff', 'hashes', 'full']),
  /** The snapshot that the diff starts at. */
  since: z.string().nullable(),
  reason: z.string(),
});
export type PlanDisk = z.infer<typeof planDisk>;

/** What a transfer is going to do. */
export const transferPlan = z.object({
  format,
  kind: z.literal('transfer'),
  item,
  attempt,
  job,
  point,
  /** The record that the plan was made on, and its last point. */
  seq: count,
  base: point.nullable(),
  set: attempt,
  disks: z.array(planDisk),
  /** Each ends by writing one layer. `disk` counts in `disks`; `stack` is the region's view at the base, oldest first. */
  units: z.array(z.object({ disk: count, region: count, bytes: count, stack: z.array(layerRef) })),
});
export type TransferPlan = z.infer<typeof transferPlan>;

/** What a merge is going to do: bound to record `seq`, it commits as the next one or never. */
export const mergePlan = z.object({
  format,
  kind: z.literal('merge'),
  item,
  attempt,
  job,
  seq: count,
  /** The expired point. */
  point,
  /** Each folds `layers` of `region`, oldest first, into one new layer of point `into`. */
  units: z.array(z.object({ disk, region: count, into: point, layers: z.array(layerRef), bottom: z.boolean() })),
  /** Each takes its layers from the expired point by name. */
  adoptions: z.array(z.object({ disk, region: count, into: point, layers: z.array(countedLayer) })),
  /** Layers of disks that no later point includes. */
  orphans: z.array(z.object({ disk, region: count, layer: layerRef })),
});
export type MergePlan = z.infer<typeof mergePlan>;

/** Names that a commit has stopped naming, in the order in which they are to be deleted. */
export const reclaimPlan = z.object({
  format,
  kind: z.literal('reclaim'),
  item,
  attempt,
  job,
  names: z.array(z.string()),
});
export type ReclaimPlan = z.infer<typeof reclaimPlan>;

/** What a restore is going to do. */
export const restorePlan = z.object({
  format,
  kind: z.literal('restore'),
  item,
  attempt,
  job,
  point,
  targets: z.array(
    z.object({
      disk,
      lun: z.int(),
      name: z.string(),
      url: z.string(),
      leaseId: z.string(),
      sizeBytes: count,
      /** Where the bytes come from; for the snapshot tier the snapshot. */
      tier: z.enum(['snapshot', 'vault']),
      source: z.object({ url: z.string(), id: z.string() }).nullable(),
    }),
  ),
  units: z.array(z.object({ target: count, region: count, bytes: count, stack: z.array(layerRef) })),
});
export type RestorePlan = z.infer<typeof restorePlan>;
