import type { ItemRow } from '../catalog/catalog.ts';
import { BackupError, isBackupError } from '../domain/errors.ts';
import { type JobId, nextPointId } from '../domain/ids.ts';
import { inTheWay, waitsFor } from './holders.ts';
import { insertJob, newJob, withdrawJob } from './jobs.ts';
import type { Ports } from './ports.ts';
import { refuseSoftDeleted } from './soft-delete.ts';
import { readItem } from './vault-of.ts';

/** Names of the two tasks that a backup job shows, in the service's words. */
export const TAKE_SNAPSHOT = 'Take Snapshot';
export const TRANSFER = 'Transfer data to vault';

/** The service's default for on-demand points. */
const DEFAULT_RETENTION_MS = 30 * 86_400_000;
/** The service's ceiling for any retention. */
const MOST_RETENTION_MS = 99 * 365.25 * 86_400_000;

export type BackupTrigger =
  | { readonly kind: 'onDemand'; readonly retainUntil?: number | undefined }
  | { readonly kind: 'scheduled'; readonly dueAt: number };

/**
 * Starts a backup of an item: the job exists when this resolves, the rest goes by queue. A scheduled one that comes while another
 * transfers takes its snapshots, and its transfer waits.
 * @throws BackupError ResourceNotFound, ItemSoftDeleted, UserErrorProtectionStopped, UserErrorInvalidRecoveryPointExpiry,
 * BMSUserErrorObjectLocked while another backup of the item runs, for a scheduled one only while that takes its snapshots
 */
export async function startBackup(ports: Ports, vault: string, key: string, trigger: BackupTrigger): Promise<JobId> {
  const now = ports.clock.now();
  const { row: item, etag } = await readItem(ports, vault, key);
  refuseSoftDeleted(item);
  if (item.protectionState === 'ProtectionStopped') {
    throw new BackupError(
      'UserErrorProtectionStopped',
      `protection of ${item.vmName} is stopped: resume it with a policy before backing it up`,
    );
  }
  const retainUntil = trigger.kind === 'onDemand' ? onDemandExpiry(trigger.retainUntil, now) : undefined;
  const others = await inTheWay(ports, vault, item);
  const waits = others === 'transfer' && trigger.kind === 'scheduled' ? item.activeJob : undefined;
  if (others !== 'nobody' && waits === undefined) throw locked(item);

  const point = nextPointId(now, item.lastPoint);
  const job = newJob(ports, item, key, {
    operation: 'Backup',
    userTriggered: trigger.kind === 'onDemand',
    point,
    dueAt: trigger.kind === 'scheduled' ? trigger.dueAt : undefined,
    retainUntil,
    ...(waits && { waitsFor: waits, errors: [waitsFor(waits)], bag: { 'Waited For Backup Job': waits } }),
    tasks: [
      { taskId: TAKE_SNAPSHOT, status: 'InProgress', startedAt: now },
      { taskId: TRANSFER, status: 'NotStarted' },
    ],
  });
  const id = job.jobId;
  const held: ItemRow = {
    ...item,
    ...(waits === undefined
      ? { activeJob: id, waiting: undefined }
      : { waiting: [...(item.waiting ?? []), { jobId: id, point }] }),
    lastPoint: point,
  };
  if (trigger.kind === 'scheduled') held.scheduledUntil = trigger.dueAt;
  await insertJob(ports, vault, job);
  try {
    await ports.catalog.items.replace(vault, key, held, etag);
  } catch (error) {
    if (!isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw error; // unclear: the job's first step looks whether it holds the item
    await withdrawJob(ports, { vault, jobId: id });
    if (error.code === 'EtagMismatch') throw locked(item);
    throw new BackupError('ResourceNotFound', `${item.vmName} is no longer protected`, { cause: error });
  }
  await ports.queue.send({ step: 'take-snapshot', v: 1, vault, jobId: id });
  return id;
}

function onDemandExpiry(asked: number | undefined, now: number): number {
  const until = asked ?? now + DEFAULT_RETENTION_MS;
  const iso = (ms: number): string => new Date(ms).toISOString();
  if (until <= now) {
    throw new BackupError(
      'UserErrorInvalidRecoveryPointExpiry',
      `recoveryPointExpiryTimeInUTC ${iso(until)} is not in the future: it is ${iso(now)} now`,
      { target: 'properties.recoveryPointExpiryTimeInUTC' },
    );
  }
  if (until - now > MOST_RETENTION_MS) {
    throw new BackupError(
      'UserErrorInvalidRecoveryPointExpiry',
      `recoveryPointExpiryTimeInUTC ${iso(until)} is more than 99 years away`,
      { target: 'properties.recoveryPointExpiryTimeInUTC' },
    );
  }
  return until;
}

function locked(item: ItemRow): BackupError {
  return new BackupError(
    'BMSUserErrorObjectLocked',
    `another backup of ${item.vmName} is running: wait for its job to end, or cancel it`,
  );
}
