import { z } from 'zod';
import { BOUNDS } from '../domain/churn.ts';
import { managedTraits } from '../format/documents.ts';
import { attempt, disk, item, job, point } from '../format/ids.ts';
import { pointVm } from '../format/vm.ts';
import type { AlertRow } from './alert-row.ts';
import type { CatalogTable } from './catalog-table.ts';
import type { CleanUpReportRow, CleanUpRow } from './clean-up-row.ts';
import type { FeatureRow } from './feature-row.ts';
import type { CheckRow, FindingRow } from './finding-row.ts';
import type { OperationRow } from './operation-row.ts';
import type { ReportRow } from './report-row.ts';

/** Milliseconds since the epoch, by the Clock. */
const timeMs = z.number();

/** A Recovery Services vault. Partition: subscription. Key: `<resource group>|<vault>`, lower case. */
export const vaultRow = z.object({
  name: z.string(),
  resourceGroup: z.string(),
  subscriptionId: z.string(),
  location: z.string(),
  /** The blob container that holds everything of this vault. */
  containerName: z.string(),
  createdAt: timeMs,
  skuName: z.string(),
  tags: z.record(z.string(), z.string()),
  /** The resource's properties as the client gave them, defaults filled in. */
  properties: z.record(z.string(), z.unknown()),
  /** Whether every job that has ended stands in the index of jobs; absent: the vault is older than that, and its cleanup has not been there yet. */
  jobsIndexed: z.boolean().optional(),
});
export type VaultRow = z.infer<typeof vaultRow>;

/** What a policy means (domain/policy). */
const policyRules = z.object({
  minuteOfDay: z.number(),
  zone: z.string(),
  dailyRetentionDays: z.number(),
  instantRetentionDays: z.number(),
});

/** A backup policy. Partition: vault key. Key: policy name in lower case. */
export const policyRow = z.object({
  name: z.string(),
  /** The properties as the client gave them. */
  properties: z.record(z.string(), z.unknown()),
  /** What they mean (domain/policy). */
  rules: policyRules,
  createdAt: timeMs,
  /** When its schedule last changed: nothing is due for a time before. */
  scheduleFrom: timeMs,
});
export type PolicyRow = z.infer<typeof policyRow>;

/** A disk that an item has had, by lineage: the same URL created at the same moment is the same disk. */
const knownDisk = z.object({
  disk,
  lun: z.number(),
  name: z.string(),
  url: z.string(),
  createdAt: z.string(),
});

/** A protected item. Partition: vault key. Key: `<resource group>;<vm>`, lower case. */
export const itemRow = z.object({
  itemId: item,
  vmResourceId: z.string(),
  vmName: z.string(),
  resourceGroup: z.string(),
  /** Empty when protection is stopped. */
  policyName: z.string(),
  protectionState: z.enum(['IRPending', 'Protected', 'ProtectionStopped']),
  protectedAt: timeMs,
  /** Nothing scheduled before this is due: set when a policy is given and when a scheduled backup has been started. */
  scheduledUntil: timeMs,
  /** The backup that holds the item and transfers. */
  activeJob: job.optional(),
  /** Scheduled backups that came meanwhile, in the order of their points: their transfers wait. Absent: none. */
  waiting: z.array(z.object({ jobId: job, point })).optional(),
  /** The merge or compaction that holds the item: one at a time. */
  mergeJob: job.optional(),
  /** The verification that is running. */
  verifyJob: job.optional(),
  lastPoint: point.optional(),
  /** Which data disks are backed up; absent: all. LUNs ascend. */
  diskSelection: z.object({ luns: z.array(z.number()), isInclusion: z.boolean() }).optional(),
  disks: z.array(knownDisk),
  /** URLs of the disks that last went from `disks`: a dead run may have left snapshots there, and the sweep looks. */
  formerUrls: z.array(z.string()).optional(),
  /** URLs of disks whose snapshots a rebuild could not list, `*` for all: nothing of them is swept until one could. */
  unlistedUrls: z.array(z.string()).optional(),
  /** Points that a job reads from. */
  pins: z.array(z.object({ jobId: job, point })),
  /** The point that a merge is taking away: it can no longer be pinned. */
  leaving: point.optional(),
  /** What its policy meant when protection was stopped: an immutable vault lets it go on with no less. Absent: nobody knows. */
  stoppedUnder: policyRules.optional(),
  /** When it was deleted softly, by whom, until when it can be undeleted, and of how many days that is; absent: it is not. */
  deferredDelete: z.object({ at: timeMs, until: timeMs, retentionDays: z.number(), by: z.string() }).optional(),
  lastBackupAt: timeMs.optional(),
  lastBackupStatus: z.string(),
});
export type ItemRow = z.infer<typeof itemRow>;

/** A snapshot that belongs to a recovery point, and the disk as it was then. */
export const setDisk = z.object({
  disk,
  lun: z.number(),
  name: z.string(),
  url: z.string(),
  createdAt: z.string(),
  sizeBytes: z.number(),
  snapshot: z.string(),
  managed: managedTraits.optional(),
});
export type SetDisk = z.infer<typeof setDisk>;

/** The snapshots of all disks of a VM, taken together by one run of one handler. */
export const snapshotSet = z.object({
  attempt,
  takenAt: timeMs,
  disks: z.array(setDisk),
  /** LUN and name of attached disks that the set does not have. */
  lacking: z.array(z.object({ lun: z.number(), name: z.string() })),
  vm: pointVm,
});
export type SnapshotSet = z.infer<typeof snapshotSet>;

/** A recovery point. Partition: `<container>|<item id>`. Key: point id. */
export const pointRow = z.object({
  point,
  itemId: item,
  jobId: job,
  /** When its snapshots were taken. */
  time: timeMs,
  trigger: z.enum(['scheduled', 'onDemand']),
  /** The scheduled time that it stands for; absent for on-demand points. */
  dueAt: timeMs.optional(),
  /** The fixed expiry of an on-demand point. */
  retainUntil: timeMs.optional(),
  set: snapshotSet,
  /** Valid while its snapshots are there; Deleted when retention took them; Lost when somebody else did. */
  instant: z.enum(['Valid', 'Deleted', 'Lost']),
  vault: z.enum(['None', 'Valid']),
  /** Why the point will never enter the vault, for people. */
  note: z.string().optional(),
  /** Sum of the disks' sizes. */
  sizeBytes: z.number(),
  /** What of the vault belongs to this point now: blocks with data, cleared blocks, bytes of its layers and packs. */
  dataBlocks: z.number(),
  clearedBlocks: z.number(),
  storedBytes: z.number(),
  /** The manifest that vault and the three counts were taken from, and the chain record that named it: a row never goes back to an older one. */
  manifest: z.string().optional(),
  seq: z.number(),
});
export type PointRow = z.infer<typeof pointRow>;

/** One of a job's visible tasks. */
export const jobTask = z.object({
  taskId: z.string(),
  status: z.enum(['NotStarted', 'InProgress', 'Completed', 'Failed', 'Cancelled']),
  startedAt: timeMs.optional(),
  endedAt: timeMs.optional(),
});
export type JobTask = z.infer<typeof jobTask>;

export const jobError = z.object({ code: z.string(), message: z.string(), recommendations: z.array(z.string()) });
export type JobError = z.infer<typeof jobError>;

/** What a backup has met and done on one disk. The times are sums over its units, which run side by side. */
const jobChurn = z.object({
  lun: z.number(),
  /** Ranges that the source has called changed, and their bytes in whole blocks; `equalBytes` of them were as before. */
  extents: z.number(),
  changedBytes: z.number(),
  equalBytes: z.number(),
  /** What was read of the source, by how many requests, listings included; and how many were saved by reading across gaps. */
  readBytes: z.number(),
  requests: z.number(),
  savedRequests: z.number(),
  /** What was read of what the source has called unchanged, and how much of that differed. */
  auditedBytes: z.number(),
  missedBytes: z.number(),
  elapsedMs: z.number(),
  sourceMs: z.number(),
  vaultMs: z.number(),
  boundBy: z.enum(BOUNDS),
});
export type JobChurn = z.infer<typeof jobChurn>;

/** Merge, Compact, Rebuild and Verify are Strata's own and are not listed by the API. */
const jobOperation = z.enum([
  'Backup',
  'Restore',
  'ConfigureBackup',
  'DisableBackup',
  'DeleteBackupData',
  'Undelete',
  'Merge',
  'Compact',
  'Rebuild',
  'Verify',
]);

/** A job. Partition: vault key. Key: job id. */
export const jobRow = z.object({
  jobId: job,
  operation: jobOperation,
  /** The correlation id of the request that started it; absent: nobody's request did. */
  activityId: z.string().optional(),
  status: z.enum(['InProgress', 'Ending', 'Cancelling', 'Completed', 'CompletedWithWarnings', 'Failed', 'Cancelled']),
  /** What an Ending or Cancelling job will be. */
  outcome: z.enum(['Completed', 'CompletedWithWarnings', 'Failed', 'Cancelled']).optional(),
  itemId: item,
  itemKey: z.string(),
  vmName: z.string(),
  resourceGroup: z.string(),
  userTriggered: z.boolean(),
  startedAt: timeMs,
  endedAt: timeMs.optional(),
  /** The last sign of life. */
  updatedAt: timeMs,
  point: point.optional(),
  dueAt: timeMs.optional(),
  retainUntil: timeMs.optional(),
  /** The backup that was transferring when this one came. */
  waitsFor: job.optional(),
  set: snapshotSet.optional(),
  /** The one current plan. */
  attempt: attempt.optional(),
  /** All plans that were ever noted: a paused handler may still write in the name of an old one. */
  attempts: z.array(attempt),
  /** The record that the first plan was made on: none of the job's plans was committed before it. */
  planSeq: z.number().optional(),
  /** The coordinator that was begun last, where there may be several: the others stop. */
  coordinator: z.string().optional(),
  tasks: z.array(jobTask),
  doneBytes: z.number(),
  totalBytes: z.number(),
  /** Per disk, which source of changed blocks was used and why. */
  sources: z.array(z.object({ lun: z.number(), name: z.string(), source: z.string(), reason: z.string() })),
  /** Disks whose snapshots the provider would not compare when a unit asked: the next plan of the job goes by hashes there. */
  incomparable: z.array(z.object({ disk, reason: z.string() })).optional(),
  /** Per disk of a backup, once all is read. */
  churn: z.array(jobChurn).optional(),
  errors: z.array(jobError),
  /** Shown to people and clients under the service's field names. */
  bag: z.record(z.string(), z.string()),
  /** How many bytes a compaction may move. */
  budgetBytes: z.number().optional(),
  /** What a restore was asked for. */
  restore: z
    .object({
      accountId: z.string(),
      containerUrl: z.string(),
      luns: z.array(z.number()).optional(),
      /** The resource group of restored managed disks; `all`: page blobs become managed disks too. */
      managed: z.object({ groupId: z.string(), all: z.boolean() }).optional(),
      /** The verify job that tries this restore: its disks are never handed over. */
      verifyJob: job.optional(),
      /** When all of a drill had been restored. */
      restoredAt: timeMs.optional(),
    })
    .optional(),
  /** What a verification was asked for. */
  verify: z
    .object({
      deepBytes: z.number().optional(),
      deepPercent: z.number().optional(),
      /** The restore that is tried, by a job of its own: why it could not start, whether its units are on their way, and done. */
      drill: z
        .object({
          point,
          jobId: job,
          refused: z.string().optional(),
          sent: z.boolean().optional(),
          compared: z.boolean().optional(),
        })
        .optional(),
    })
    .optional(),
});
export type JobRow = z.infer<typeof jobRow>;

/**
 * What lists show of a job that has ended. The job's own row is the truth; this says the same, where a list finds it. Partition: vault key,
 * `|` and what the list asks for (services/job-index). Key: `newestFirst` of its start and id.
 */
export const jobIndexRow = jobRow.pick({
  jobId: true,
  operation: true,
  activityId: true,
  status: true,
  vmName: true,
  resourceGroup: true,
  userTriggered: true,
  startedAt: true,
  endedAt: true,
  point: true,
  errors: true,
  bag: true,
});
export type JobIndexRow = z.infer<typeof jobIndexRow>;

/** Marks a job that has not ended. Partition: vault key. Key: job id. */
export const openJobRow = z.object({
  startedAt: timeMs,
  /** Whose it is, so that who looks for an item's jobs need not read those of others; absent: nobody has noted it. */
  itemId: item.optional(),
  /** What it does, for the lists that are not of it; absent: nobody has noted it. */
  operation: jobOperation.optional(),
});
export type OpenJobRow = z.infer<typeof openJobRow>;

/** Marks a finished unit of a restore or verification. Partition: attempt. Key: unit number, padded. */
export const unitRow = z.object({
  bytes: z.number(),
  /** Objects that nobody names. */ leftovers: z.number().optional(),
});
export type UnitRow = z.infer<typeof unitRow>;

/** Marks a leftover that a sweep has seen: a blob's name or a snapshot's URL and id. Partition: `<container>|<item id>`. Key: a hash. */
export const markRow = z.object({
  name: z.string(),
  markedAt: timeMs,
  /** Its time has come, but a policy of the storage forbids the delete so far: it is tried again by every sweep. */
  owed: z.boolean().optional(),
});
export type MarkRow = z.infer<typeof markRow>;

/** All tables. Rows follow the vault's container, and what they say of vault points can be rebuilt from it. */
export interface Catalog {
  readonly vaults: CatalogTable<VaultRow>;
  readonly policies: CatalogTable<PolicyRow>;
  readonly items: CatalogTable<ItemRow>;
  readonly points: CatalogTable<PointRow>;
  readonly jobs: CatalogTable<JobRow>;
  readonly openJobs: CatalogTable<OpenJobRow>;
  readonly jobIndex: CatalogTable<JobIndexRow>;
  readonly units: CatalogTable<UnitRow>;
  readonly marks: CatalogTable<MarkRow>;
  readonly findings: CatalogTable<FindingRow>;
  readonly checks: CatalogTable<CheckRow>;
  readonly cleanUps: CatalogTable<CleanUpRow>;
  readonly cleanUpReports: CatalogTable<CleanUpReportRow>;
  readonly operations: CatalogTable<OperationRow>;
  readonly reports: CatalogTable<ReportRow>;
  readonly features: CatalogTable<FeatureRow>;
  readonly alerts: CatalogTable<AlertRow>;
}
