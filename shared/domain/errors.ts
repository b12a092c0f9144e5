/**
 * Every way in which Strata says no. The codes are stable, the messages may improve; docs/errors.md lists them with cause and
 * remedy. Codes that the Azure service has keep its spelling.
 *
 * `http` is the status an API call answers with; `retry` says whether the same request can succeed later without any change.
 */
export const ERROR_TABLE = {
  // The caller's mistake.
  InvalidRequest: { http: 400, retry: false },
  MissingApiVersionParameter: { http: 400, retry: false },
  InvalidApiVersionParameter: { http: 400, retry: false },
  InvalidResourceName: { http: 400, retry: false },
  BMSUserErrorInvalidPolicyInput: { http: 400, retry: false },
  BMSUserErrorInvalidConfigureProtectionRequest: { http: 400, retry: false },
  UserErrorInvalidRecoveryPointExpiry: { http: 400, retry: false },
  UserErrorInvalidRestoreRequest: { http: 400, retry: false },
  UserErrorVmWithoutDisks: { http: 400, retry: false },
  UserErrorUnsupportedDisk: { http: 400, retry: false },
  MessageInvalid: { http: 400, retry: false },
  InvalidRequestContent: { http: 400, retry: false },
  OperationNotSupported: { http: 400, retry: false },
  RequestEntityTooLarge: { http: 413, retry: false },
  UnsupportedMediaType: { http: 415, retry: false },
  InvalidAuthenticationToken: { http: 401, retry: false },
  ExpiredAuthenticationToken: { http: 401, retry: false },
  AuthenticationFailed: { http: 401, retry: false },
  AuthorizationFailed: { http: 403, retry: false },
  ResourceGuardApprovalRequired: { http: 403, retry: false },
  // Absent or in conflict.
  ResourceNotFound: { http: 404, retry: false },
  SubscriptionNotFound: { http: 404, retry: false },
  InvalidResourceType: { http: 404, retry: false },
  InvalidResourceNamespace: { http: 404, retry: false },
  FeatureNotFound: { http: 404, retry: false },
  OperationNotFound: { http: 404, retry: false },
  MethodNotAllowed: { http: 405, retry: false },
  VMNotFoundV2: { http: 404, retry: false },
  BlobNotFound: { http: 404, retry: false },
  RowNotFound: { http: 404, retry: false },
  RowAlreadyExists: { http: 409, retry: false },
  BlobAlreadyExists: { http: 409, retry: false },
  EtagMismatch: { http: 412, retry: false },
  PreconditionFailed: { http: 412, retry: false },
  FeatureRegistrationOneWay: { http: 409, retry: false },
  BMSUserErrorSoftDeleteStateAlwaysOn: { http: 409, retry: false },
  StorageRedundancyLocked: { http: 409, retry: false },
  ContainerHasProtectedItem: { http: 409, retry: false },
  ItemSoftDeleted: { http: 409, retry: false },
  ItemNotSoftDeleted: { http: 409, retry: false },
  DataDeletionNotSupported: { http: 409, retry: false },
  VaultImmutabilityLocked: { http: 409, retry: false },
  VaultIsImmutable: { http: 409, retry: false },
  BMSUserErrorObjectLocked: { http: 409, retry: false },
  UserErrorBackupOperationInProgress: { http: 409, retry: false },
  BMSUserErrorPolicyInUse: { http: 409, retry: false },
  ServiceResourceNotEmptyWithBackendMessage: { http: 409, retry: false },
  UserErrorProtectionStopped: { http: 409, retry: false },
  UserErrorJobNotCancellable: { http: 409, retry: false },
  UserErrorRestoreTargetExists: { http: 409, retry: false },
  UserErrorRecoveryPointLeaving: { http: 409, retry: false },
  JobEndedByRebuild: { http: 409, retry: false },
  RebuildAmbiguous: { http: 409, retry: false },
  UserErrorJobSuccessfullyCancelled: { http: 409, retry: false },
  ResourceIsLeased: { http: 409, retry: true },
  // Snapshots.
  UserErrorInstantRpNotFound: { http: 404, retry: false },
  SnapshotAccessLimit: { http: 503, retry: true },
  SnapshotSetIncomplete: { http: 503, retry: true },
  ChangeTrackingUnusable: { http: 409, retry: false },
  RecoveryPointOvertaken: { http: 409, retry: false },
  JobTimedOut: { http: 500, retry: false },
  // Passing trouble.
  StorageUnavailable: { http: 503, retry: true },
  AlertNotDelivered: { http: 503, retry: true },
  ComputeUnavailable: { http: 503, retry: true },
  // Integrity.
  DocumentCorrupt: { http: 500, retry: false },
  LayerCorrupt: { http: 500, retry: false },
  PackCorrupt: { http: 500, retry: false },
  SlabCorrupt: { http: 500, retry: false },
  CheckpointCorrupt: { http: 500, retry: false },
  VaultObjectMissing: { http: 500, retry: false },
  FormatUnsupported: { http: 500, retry: false },
  RebuildIncomplete: { http: 500, retry: false },
  RestoreVerificationFailed: { http: 500, retry: false },
  VaultDamaged: { http: 500, retry: false },
  ViewDiffers: { http: 500, retry: false },
  ChangedBlocksMissed: { http: 500, retry: false },
  DrillFailed: { http: 500, retry: false },
  // Settings.
  SettingInvalid: { http: 500, retry: false },
  InternalError: { http: 500, retry: false },
} as const;

export type ErrorCode = keyof typeof ERROR_TABLE;

/** A failure that Strata understands: `code` from the closed table, `message` saying what was expected, found, and of what. */
export class BackupError extends Error {
  override readonly name = 'BackupError';
  readonly code: ErrorCode;
  /** The field, object or resource that is at fault, where one can be named. */
  readonly target: string | undefined;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; target?: string }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.target = options?.target;
  }
}

/** Whether `error` is a BackupError, of one of `codes` when any are given. */
export function isBackupError(error: unknown, ...codes: ErrorCode[]): error is BackupError {
  return error instanceof BackupError && (codes.length === 0 || codes.includes(error.code));
}
