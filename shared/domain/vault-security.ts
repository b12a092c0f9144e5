/** What a vault's properties say of its own protection. */
export interface SoftDelete {
  readonly isOn: boolean;
  /** It cannot be switched off any more. */
  readonly isForGood: boolean;
  /** Days in which what was deleted can be undeleted. */
  readonly retentionDays: number;
}

/** Nothing of what is deleted can be removed for so many days, the service's least and its default. */
const DEFAULT_RETENTION_DAYS = 14;

/** Soft delete as a vault's properties have it; where they say nothing it is on. */
export function softDeleteOf(properties: Readonly<Record<string, unknown>>): SoftDelete {
  const { softDeleteState = 'Enabled', softDeleteRetentionPeriodInDays } =
    (properties as VaultSecurity).securitySettings?.softDeleteSettings ?? {};
  return {
    isOn: softDeleteState !== 'Disabled',
    isForGood: softDeleteState === 'AlwaysON',
    retentionDays: softDeleteRetentionPeriodInDays ?? DEFAULT_RETENTION_DAYS,
  };
}

interface VaultSecurity {
  readonly securitySettings?: {
    readonly softDeleteSettings?: {
      readonly softDeleteState?: string;
      readonly softDeleteRetentionPeriodInDays?: number;
    };
  };
}
