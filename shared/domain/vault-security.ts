import { BackupError } from './errors.ts';
import type { BackupPolicy } from './policy.ts';
import { shortens } from './policy-strength.ts';

/** The properties of a vault, of which those that protect it are looked at here. */
type Properties = Readonly<Record<string, unknown>>;

/** What a vault's properties say of its own protection. */
export interface SoftDelete {
  readonly isOn: boolean;
  /** It cannot be switched off any more. */
  readonly isForGood: boolean;
  /** Days in which what was deleted can be undeleted. */
  readonly retentionDays: number;
}

/** The service's least and its default. */
const DEFAULT_RETENTION_DAYS = 14;

/** Soft delete as a vault's properties have it; where they say nothing it is on. */
export function softDeleteOf(properties: Properties): SoftDelete {
  const { softDeleteState = 'Enabled', softDeleteRetentionPeriodInDays } =
    (properties as VaultSecurity).securitySettings?.softDeleteSettings ?? {};
  return {
    isOn: softDeleteState !== 'Disabled',
    isForGood: softDeleteState === 'AlwaysON',
    retentionDays: softDeleteRetentionPeriodInDays ?? DEFAULT_RETENTION_DAYS,
  };
}

/** Whether nothing in a vault may be removed or kept for less time; `Locked`: for good. */
export type Immutability = 'Disabled' | 'Unlocked' | 'Locked';

export const immutabilityOf = (properties: Properties): Immutability =>
  (properties as VaultSecurity).securitySettings?.immutabilitySettings?.state ?? 'Disabled';

/**
 * @throws BackupError VaultImmutabilityLocked for a lock that would be taken off, VaultIsImmutable for a soft delete that would protect
 * less in an immutable vault, BMSUserErrorSoftDeleteStateAlwaysOn for one that is on for good
 */
export function checkVaultChange(before: Properties, after: Properties): void {
  const [was, is] = [immutabilityOf(before), immutabilityOf(after)];
  if (was === 'Locked' && is !== 'Locked') {
    throw new BackupError(
      'VaultImmutabilityLocked',
      `immutability of the vault is Locked, which nobody can take back: expected Locked, found ${is}`,
      { target: 'properties.securitySettings.immutabilitySettings.state' },
    );
  }
  const [had, has] = [softDeleteOf(before), softDeleteOf(after)];
  if (had.isForGood && !has.isForGood) {
    throw new BackupError(
      'BMSUserErrorSoftDeleteStateAlwaysOn',
      `soft delete of the vault is AlwaysON, which cannot be taken back: expected AlwaysON, found ${has.isOn ? 'Enabled' : 'Disabled'}`,
      { target: 'properties.securitySettings.softDeleteSettings.softDeleteState' },
    );
  }
  if (had.isOn && !has.isOn) refuseIfImmutable(before, 'soft delete cannot be switched off');
  if (had.isOn && has.retentionDays < had.retentionDays) {
    refuseIfImmutable(
      before,
      `what is deleted softly cannot be kept ${has.retentionDays} days instead of ${had.retentionDays}`,
    );
  }
}

/** @throws BackupError VaultIsImmutable when points would expire earlier under `after` in an immutable vault */
export function checkPolicyChange(vault: Properties, before: BackupPolicy, after: BackupPolicy): void {
  const [reason] = shortens(before, after);
  if (reason !== undefined) refuseIfImmutable(vault, reason);
}

/** @throws BackupError VaultIsImmutable */
export function refuseIfImmutable(vault: Properties, what: string): void {
  const state = immutabilityOf(vault);
  if (state === 'Disabled') return;
  const remedy =
    state === 'Locked' ? 'that is so for everybody and for good' : 'set its immutability to Disabled first';
  throw new BackupError('VaultIsImmutable', `the vault is immutable (${state}): ${what}; ${remedy}`);
}

interface VaultSecurity {
  readonly securitySettings?: {
    readonly softDeleteSettings?: {
      readonly softDeleteState?: string;
      readonly softDeleteRetentionPeriodInDays?: number;
    };
    readonly immutabilitySettings?: { readonly state?: Immutability };
  };
}
