import { z } from 'zod';
import { attempt, disk, item, job, point } from './ids.ts';
import { pointVm } from './vm.ts';

const count = z.int().nonnegative();
const format = z.literal(1);

/** `v1/vault.json`: what a reader must know before anything else. */
export const vaultDocument = z.object({
  format,
  vaultId: z.string(),
  blockBytes: count,
  regionBytes: count,
  createdAt: z.string(),
  /** The vault's resource: what its tables are rebuilt from. Empty in the first vaults. */
  subscriptionId: z.string().default(''),
  resourceGroup: z.string().default(''),
  name: z.string().default(''),
  location: z.string().default(''),
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
  kind: z.enum(['start', 'backup', 'merge', 'compact', 'end', 'state', 'rebuild']),
  attempt,
  job: job.nullable(),
  writtenAt: z.string(),
  state: z.enum(['protected', 'stopped']),
  /** The protected VM; empty in the first vaults. */
  vm: z
    .object({ id: z.string(), name: z.string(), resourceGroup: z.string() })
    .default({ id: '', name: '', resourceGroup: '' }),
  /** In snapshot order. */
  points: z.array(recordPoint),
});
export type ChainRecord = z.infer<typeof chainRecord>;

/**
 * A layer, named by the point and the attempt that wrote it (disk and region are known where it stands). A thin one lies in a slab of
 * that point and attempt: `bytes` from `offset` on are its file.
 */
export const layerRef = z.object({
  point,
  attempt,
  slab: z.object({ number: count, offset: count, bytes: count }).optional(),
});
export type LayerRef = z.infer<typeof layerRef>;

const countedLayer = layerRef
  .extend({
    dataBlocks: count,
    clearedBlocks: count,
    /** The layer file and its packs; in a slab its share of it: the shares of a slab's layers add up to its size. */
    storedBytes: count,
    /** The layer file and those frames of its packs that it still uses. Manifests of format 1 do not say it. */
    liveBytes: count.optional(),
  })
  .transform((layer) => ({ ...layer, liveBytes: layer.liveBytes ?? layer.storedBytes }));
export type CountedLayer = z.infer<typeof countedLayer>;

/** A checkpoint of the first `depth` layers of a region's stack, whose names hash to `stack`: it counts while they are the same. */
const checkpointRef = z.object({ attempt, depth: count, stack: z.string() });
export type CheckpointRef = z.infer<typeof checkpointRef>;

/** What a manifest says of one region: its own layers, oldest first. */
const manifestRegion = z.object({ region: count, layers: z.array(countedLayer), checkpoint: checkpointRef.optional() });
export type ManifestRegion = z.infer<typeof manifestRegion>;

/** A part of a manifest, as the manifest names it: `regions` regions from `first` to `last`, and what their layers add up to. */
const partRef = z.object({
  name: z.string(),
  sha256: z.string(),
  /** Of the part itself. */
  bytes: count,
  first: count,
  last: count,
  regions: count,
  layers: count,
  dataBlocks: count,
  clearedBlocks: count,
  storedBytes: count,
  liveBytes: count,
});
export type PartRef = z.infer<typeof partRef>;

/** `points/<rp>.<attempt>.<disk>.<first region>.json`. */
export const manifestPart = z.object({
  format: z.literal(3),
  item,
  point,
  disk,
  regions: z.array(manifestRegion),
});
export type ManifestPart = z.infer<typeof manifestPart>;
/** What a managed disk is besides its bytes; absent for page blobs. */
export const managedTraits = z.object({ sku: z.string(), hyperVGeneration: z.enum(['V1', 'V2']).optional() });
/** How far the disk's source of changes is trusted (domain/trust). A cache of what was learned: without it all is learned again. */
const trust = z.object({
  auditedTo: count,
  lapBlocks: count,
  allocatedBlocks: count,
  misses: count,
  byHashes: count,
});

const manifestDisk = z.object({
  disk,
  lun: z.int(),
  name: z.string(),
  url: z.string(),
  createdAt: z.string(),
  sizeBytes: count,
  /** The first point of its chain: views are made of layers from there on. Absent: of all. */
  begins: point.optional(),
  /** The snapshot that this point was read from: only this one may start a diff. */
  snapshot: z.object({ id: z.string(), attempt }),
  managed: managedTraits.optional(),
  trust: trust.optional(),
  /** By ascending region. None where there are parts. */
  regions: z.array(manifestRegion),
  /** By ascending region, where the manifest has too many to be one document. */
  parts: z.array(partRef).optional(),
});
export type ManifestDisk = z.infer<typeof manifestDisk>;

/** `points/<rp>.<attempt>.json`: what makes a point restorable, together with the points before it. */
export const manifest = z.object({
  /** Format 1 knows neither slabs nor checkpoints, format 2 no parts. */
  format: z.literal([1, 2, 3]),
  item,
  point,
  attempt,
  time: z.string(),
  trigger: z.enum(['scheduled', 'onDemand']),
  dueAt: z.string().nullable(),
  retainUntil: z.string().nullable(),
  consistency: z.literal('CrashConsistent'),
  vm: pointVm,
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
  /** The last live point that includes the disk; null: its chain begins with this point. */
  base: point.nullable(),
  /** Where its chain begins. */
  begins: point.optional(),
  source: z.enum(['diff', 'hashes', 'full']),
  /** The snapshot that the diff starts at. */
  since: z.string().nullable(),
  reason: z.string(),
  /** As the base has it. */
  trust: trust.optional(),
  /**
   * Where the audit goes on afterwards, in blocks of the disk, how many allocated blocks it will have passed, and the longest gap between
   * them that it reads along.
   */
  audit: z.object({ next: count, allocated: count, gap: count.optional() }).optional(),
});
export type PlanDisk = z.infer<typeof planDisk>;

/** A region's view as a plan resolved it: its layers, oldest first, and the checkpoint that stands for the first of them. */
const regionStack = { region: count, stack: z.array(layerRef), checkpoint: checkpointRef.optional() };

const blockRuns = z.array(z.object({ start: count, count }));

/**
 * A plan of much work has parts: documents of the same form, each with some of the units, numbered through. The first, which has
 * the plan's own name, is written last and lists them all: how many units each has, and their bytes.
 */
export const planParts = z.array(z.object({ units: count, bytes: count })).optional();
export const planFormat = z.literal([1, 3]);

/** Regions of a span when the plan was made: its commit goes by the same. */
export const spanRegions = count.optional();

/** What a transfer is going to do. */
export const transferPlan = z.object({
  format: planFormat,
  parts: planParts,
  kind: z.literal('transfer'),
  spanRegions,
  item,
  attempt,
  job,
  point,
  /** The record that the plan was made on, and its last point. */
  seq: count,
  base: point.nullable(),
  set: attempt,
  disks: z.array(planDisk),
  /**
   * Each ends by writing one object: the layer of its one region, or slab number `slab` (its first region) with the layers of several.
   * `disk` counts in `disks`; a region's `stack` is its view at the base.
   */
  units: z.array(
    z.object({
      disk: count,
      slab: count.nullable(),
      regions: z.array(
        z.object({
          ...regionStack,
          bytes: count,
          /** A checkpoint of the whole stack is written on the way. */
          writeCheckpoint: z.boolean(),
          /** Blocks that verify has found damaged: written again even if the source calls them unchanged. `all`: the view is lost. */
          heal: z.union([z.literal('all'), blockRuns]).optional(),
          /** Blocks in which what the source calls unchanged is read too, and compared. */
          audit: z.object({ start: count, count, blocks: count }).optional(),
        }),
      ),
    }),
  ),
});
export type TransferPlan = z.infer<typeof transferPlan>;

/** What a merge is going to do: bound to record `seq`, it commits as the next one or never. */
export const mergePlan = z.object({
  format: planFormat,
  parts: planParts,
  kind: z.literal('merge'),
  spanRegions,
  item,
  attempt,
  job,
  seq: count,
  /** The expired point. */
  point,
  /** What successor `into` has of a region afterwards: `kept` by name, and over it the fold, where a unit makes one. */
  entries: z.array(
    z.object({
      disk,
      region: count,
      into: point,
      kept: z.array(countedLayer),
      checkpoint: checkpointRef.optional(),
    }),
  ),
  /** Each writes one object: the fold of one region as a layer, or those of several in slab number `slab`. */
  units: z.array(
    z.object({
      disk,
      into: point,
      slab: count.nullable(),
      /** Each folds `layers`, oldest first, into one; with `bottom` nothing lies below. */
      folds: z.array(z.object({ region: count, layers: z.array(countedLayer), bottom: z.boolean() })),
    }),
  ),
});
export type MergePlan = z.infer<typeof mergePlan>;

/** Names that a commit has stopped naming, in the order in which they are to be deleted. */
export const reclaimPlan = z.object({
  format: planFormat,
  parts: planParts,
  kind: z.literal('reclaim'),
  item,
  attempt,
  job,
  /** Full names. */
  units: z.array(z.string()),
});
export type ReclaimPlan = z.infer<typeof reclaimPlan>;

/** Regions of a target that one message writes and reads back; `bytes` is the most that they have. A region's `stack` is empty in the snapshot tier. */
const restoreUnit = z.object({ target: count, bytes: count, regions: z.array(z.object(regionStack)) });
/** As plans had it when each region was a unit: jobs that began then end with it. */
const oneRegion = z
  .object({ target: count, bytes: count, ...regionStack })
  .transform(({ target, bytes, ...region }): z.infer<typeof restoreUnit> => ({ target, bytes, regions: [region] }));

/** What a restore is going to do. */
export const restorePlan = z.object({
  format: planFormat,
  parts: planParts,
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
      /** Bytes of the disk that are restored: without the VHD footer where the target has one of its own. */
      sizeBytes: count,
      /** A page blob that gets a VHD footer behind the disk. */
      footer: z.literal(true).optional(),
      /** A managed disk: what it is made with. */
      managed: z
        .object({
          location: z.string(),
          osType: z.enum(['Windows', 'Linux']).optional(),
          sku: z.string().optional(),
          hyperVGeneration: z.enum(['V1', 'V2']).optional(),
        })
        .optional(),
      /** Where the bytes come from; for the snapshot tier the snapshot. */
      tier: z.enum(['snapshot', 'vault']),
      source: z.object({ url: z.string(), id: z.string() }).nullable(),
    }),
  ),
  units: z.array(z.union([restoreUnit, oneRegion])),
});
export type RestorePlan = z.infer<typeof restorePlan>;
