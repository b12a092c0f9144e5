import { BackupError, isBackupError } from '../domain/errors.ts';
import { type JobId, type PointId, jobId } from '../domain/ids.ts';
import { Chain } from './chain.ts';
import { DAMAGE_CODES } from './findings.ts';
import { forEachItem } from './items.ts';
import { insertJob, isRunning, newJob, withdrawJob } from './jobs.ts';
import type { Ports } from './ports.ts';
import { openVault, readItem } from './vault-of.ts';

/*
 * Verify looks for damage before somebody needs the point that it touches. A job of one item takes an inventory (listings against
 * manifests), reads some regions in depth (whoever has waited longest first), compares them with the living snapshot, and on
 * request tries a whole restore. What it finds it records; what it finds no more it notes as healed. It changes nothing in
 * the vault besides its own plan, so a run that is killed, repeated or late does no harm.
 */

/** What a verification is asked for. */
export interface VerifyRequest {
  /** Bytes of layers to read in depth; by default what a night reads. */
  readonly deepBytes?: number | undefined;
  /** The same as a share of all that the item has in the vault, in percent. */
  readonly deepPercent?: number | undefined;
  /** A point whose restore is tried. */
  readonly drill?: PointId | 'latest' | undefined;
}

/**
 * Whether an item can be verified as `request` asks for, but for another verification of it that may be running.
 * @throws BackupError ResourceNotFound, UserErrorInvalidRestoreRequest for a drill that cannot be
 */
export async function checkVerify(ports: Ports, vault: string, key: string, request: VerifyRequest): Promise<void> {
  await readItem(ports, vault, key);
  if (request.drill !== undefined) await drillPoint(ports, vault, key, request.drill);
}

/**
 * Starts the verification of an item: its job exists when this resolves.
 * @throws BackupError ResourceNotFound, BMSUserErrorObjectLocked while another runs, UserErrorInvalidRestoreRequest for a drill
 * that cannot be
 */
export async function startVerify(
  ports: Ports,
  vault: string,
  key: string,
  request: VerifyRequest,
  userTriggered: boolean,
): Promise<JobId> {
  const { row: item } = await readItem(ports, vault, key);
  const point = request.drill === undefined ? undefined : await drillPoint(ports, vault, key, request.drill);
  const job = newJob(ports, item, key, {
    operation: 'Verify',
    userTriggered,
    verify: {
      deepBytes: request.deepBytes,
      deepPercent: request.deepPercent,
      drill: point === undefined ? undefined : { point, jobId: jobId(ports.ids.guid()) },
    },
  });
  const address = { vault, jobId: job.jobId };
  await insertJob(ports, vault, job);
  for (;;) {
    const { row, etag } = await readItem(ports, vault, key);
    if (row.verifyJob !== job.jobId && (await isRunning(ports, vault, row.verifyJob))) {
      await withdrawJob(ports, address);
      throw new BackupError(
        'BMSUserErrorObjectLocked',
        `${row.vmName} is being verified by job ${row.verifyJob}: wait for it to end`,
      );
    }
    try {
      await ports.catalog.items.replace(vault, key, { ...row, verifyJob: job.jobId }, etag);
      break;
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw error; // unclear: the watch takes the job on
    }
  }
  await ports.queue.send({ step: 'plan-verify', v: 1, ...address });
  return job.jobId;
}

async function drillPoint(ports: Ports, vault: string, key: string, asked: PointId | 'latest'): Promise<PointId> {
  const refuse = (problem: string): BackupError =>
    new BackupError('UserErrorInvalidRestoreRequest', `drill ${problem}`, { target: 'drill' });
  const account = ports.settings.drillAccount;
  if (account === undefined || ports.accounts.blobEndpoint(account) === undefined)
    throw refuse('needs a storage account to restore to: set STRATA_DRILL_ACCOUNT');
  const { row: item } = await readItem(ports, vault, key);
  const { container } = await openVault(ports, vault);
  const { points } = await new Chain(container, item.itemId).newest();
  const point = asked === 'latest' ? points.at(-1)?.point : points.find((live) => live.point === asked)?.point;
  if (point !== undefined) return point;
  throw refuse(
    asked === 'latest'
      ? `latest: ${item.vmName} has no recovery point in the vault`
      : `${asked}: ${item.vmName} has no such recovery point in the vault`,
  );
}

/** The nightly sample: leaves a message for each item. */
export function verifySample(ports: Ports): Promise<number> {
  return forEachItem(ports, (vault, itemId) => ports.queue.send({ step: 'verify-item', v: 1, vault, itemId }));
}

/** Starts the nightly verification of one item; none where nothing is in the vault, or where one is running. */
export async function verifyItem(ports: Ports, step: { vault: string; itemId: string }): Promise<void> {
  try {
    if (await isEmpty(ports, step.vault, step.itemId)) return;
    await startVerify(ports, step.vault, step.itemId, {}, false);
  } catch (error) {
    if (!isBackupError(error, 'ResourceNotFound', 'BMSUserErrorObjectLocked')) throw error;
  }
}

async function isEmpty(ports: Ports, vault: string, key: string): Promise<boolean> {
  const { row: item } = await readItem(ports, vault, key);
  const { container } = await openVault(ports, vault);
  try {
    return (await new Chain(container, item.itemId).newest()).points.length === 0;
  } catch (error) {
    if (isBackupError(error, ...DAMAGE_CODES)) return false; // the job says so
    throw error;
  }
}
