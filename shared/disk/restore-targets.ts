import type { ByteRange } from '../domain/units.ts';

/** A disk being restored, and the lease that only the job's handlers hold. */
export interface RestoreTarget {
  /** The URL of a page blob, or the resource id of a managed disk. */
  readonly url: string;
  /** A GUID chosen by the job, so that a redelivered message finds the same lease. */
  readonly leaseId: string;
}

/** What a managed disk is made with; a page blob needs none of it. */
export interface ManagedForm {
  readonly location: string;
  /** Of the disk that a machine starts from. */
  readonly osType?: 'Windows' | 'Linux' | undefined;
  readonly hyperVGeneration?: 'V1' | 'V2' | undefined;
  /** `Premium_LRS` and the like. Default Standard_LRS. */
  readonly sku?: string | undefined;
}

/**
 * New disks that a restore writes. Until `complete` the target says in its metadata (a managed disk: its tags) that it is
 * incomplete, by key `strata_incomplete` with the job's id as value, and every write needs the lease (a managed disk: the SAS of its
 * upload, which ends with it). Every implementation passes restoreTargetsContract.
 */
export interface RestoreTargets {
  /**
   * Creates the container when absent and an empty target of `sizeBytes` in it, marked incomplete, and takes the lease.
   * Repeating it for the same `jobId` finds its own earlier work, whatever it had reached. Nothing that exists is touched otherwise.
   * @throws BackupError UserErrorRestoreTargetExists when the blob is there and is not this job's
   */
  create(target: RestoreTarget, sizeBytes: number, jobId: string, form?: ManagedForm): Promise<void>;
  /**
   * Writes `body` at `offset`; both are multiples of 512, any length. All-zero bodies are the caller's to avoid.
   * @throws BackupError ResourceIsLeased when the lease is not held any more, BlobNotFound
   */
  write(target: RestoreTarget, offset: number, body: Uint8Array): Promise<void>;
  /** The ranges of `window` that hold data now. */
  allocated(target: RestoreTarget, window: ByteRange): AsyncIterable<ByteRange>;
  /**
   * Exactly the bytes of `range` as any reader of the disk gets them, over another path than `write`'s (no lease, no write client); in
   * the first bytes of `into`, or else in memory of their own.
   */
  readBack(url: string, range: ByteRange, into?: Uint8Array): Promise<Uint8Array>;
  /** Takes the mark off and ends the lease: from here on nobody writes here any more on Strata's behalf. Repeats safely. */
  complete(target: RestoreTarget): Promise<void>;
  /** Deletes the target if it is this job's and still incomplete; absent is fine, a completed or foreign one stays. */
  discard(target: RestoreTarget, jobId: string): Promise<void>;
  /** Stores a small text beside the restored disks (the restore's description). Overwrites its own earlier write. */
  putText(url: string, text: string): Promise<void>;
}
