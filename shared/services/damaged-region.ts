import { type BackupError, isBackupError } from '../domain/errors.ts';
import type { DiskId } from '../domain/ids.ts';
import { DAMAGE_CODES } from './findings.ts';

/** Damage that was met while a region was read: `cause` tells of the object. */
export class DamagedRegion extends Error {
  override readonly cause: BackupError;
  readonly disk: DiskId;
  readonly region: number;

  constructor(at: { disk: DiskId; region: number }, cause: BackupError) {
    super(cause.message, { cause });
    this.cause = cause;
    this.disk = at.disk;
    this.region = at.region;
  }
}

/** Does `work`, which reads a region, so that damage which it meets is known to be there. */
export async function inRegion<Result>(
  at: { disk: DiskId; region: number },
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw isBackupError(error, ...DAMAGE_CODES) ? new DamagedRegion(at, error) : error;
  }
}
