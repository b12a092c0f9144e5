import type { ErrorCode } from '../domain/errors.ts';

/** What a person can do about a failure of a job. */
const ADVICE: Partial<Record<ErrorCode, readonly string[]>> = {
  VMNotFoundV2: [
    'Create the VM again with the same name in the same resource group, or',
    'stop protection of the item, retaining or deleting its data.',
  ],
  UserErrorVmWithoutDisks: ['Attach an OS disk or a data disk to the VM.'],
  UserErrorUnsupportedDisk: [
    'Strata backs up page blobs. Detach the disk, or convert it to a page blob whose account Strata can read.',
  ],
  UserErrorInstantRpNotFound: ['Choose a recovery point that has reached the vault, or take a new backup.'],
  UserErrorRestoreTargetExists: ['Restore to another container, or delete or rename the blob that is in the way.'],
  SnapshotSetIncomplete: ['Start the backup again; the snapshots of one point must be taken within a minute.'],
  UserErrorBackupOperationInProgress: [
    'Nothing needs to be done: the transfer begins when the earlier backup has ended. If that takes days each time, the disks change faster than their accounts can be read.',
  ],
  ItemSoftDeleted: ['Undelete the item and resume its protection with a policy, then start the job again.'],
  RecoveryPointOvertaken: ['Nothing needs to be done: a later point goes into the vault instead.'],
  ResourceIsLeased: ['Start the restore again to a new target.'],
  StorageUnavailable: ['Look at the health of the storage account and its firewall, then start the job again.'],
  ComputeUnavailable: ['Look at the permissions of the function app on the VM, then start the job again.'],
  LayerCorrupt: ['Restore another recovery point; run a verification of the vault.'],
  PackCorrupt: ['Restore another recovery point; run a verification of the vault.'],
  DocumentCorrupt: ['Restore another recovery point; run a verification of the vault.'],
  VaultObjectMissing: ['Restore another recovery point; run a verification of the vault.'],
  RebuildIncomplete: ['Read the report of the job; what it names as damaged is still in the container.'],
  JobEndedByRebuild: ['Resume protection of the item with a policy, then start the job again.'],
  VaultDamaged: ['Look at the findings (strata vault verify); the next backup writes again what the source still has.'],
  ChangedBlocksMissed: [
    'Verify the item: it compares the newest recovery point with its snapshot. Earlier points may lack the same changes.',
  ],
  DrillFailed: ["Look at the errors of the drill's restore job."],
  RestoreVerificationFailed: ['Start the restore again; if it fails the same way, look at the target storage account.'],
  JobTimedOut: ['Start the job again.'],
  InternalError: ['Start the job again; if it fails the same way, report it with the reference.'],
};

export function adviceFor(code: ErrorCode): string[] {
  return [...(ADVICE[code] ?? [])];
}
