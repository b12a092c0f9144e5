import { BackupError } from './errors.ts';

/** What clients set of a vault and what all its views show: soft delete, immutability, redundancy. A setting that is absent was never given. */
export interface VaultSettings {
  readonly securitySettings?: {
    readonly immutabilitySettings?: { readonly state?: string };
    readonly softDeleteSettings?: {
      readonly softDeleteState?: string;
      readonly softDeleteRetentionPeriodInDays?: number;
      readonly enhancedSecurityState?: string;
    };
  };
  readonly redundancySettings?: {
    readonly standardTierStorageRedundancy?: string;
    readonly crossRegionRestore?: string;
  };
}

const FOR_GOOD = 'AlwaysON';

/**
 * Refuses what a vault's settings never do, whichever of their views asks: what was switched on for good goes back, or the redundancy changes
 * where data lies already (`hasData`).
 * @throws BackupError BMSUserErrorSoftDeleteStateAlwaysOn, VaultImmutabilityLocked, StorageRedundancyLocked
 */
export function checkSettings(from: VaultSettings, to: VaultSettings, hasData: boolean): void {
  const [softBefore, softAfter] = [from, to].map(({ securitySettings }) => securitySettings?.softDeleteSettings);
  for (const setting of ['softDeleteState', 'enhancedSecurityState'] as const) {
    if (softBefore?.[setting] === FOR_GOOD && softAfter?.[setting] !== FOR_GOOD)
      refuse(
        'BMSUserErrorSoftDeleteStateAlwaysOn',
        setting,
        `is ${FOR_GOOD}, for good: it cannot become ${softAfter?.[setting]}`,
      );
  }
  const [lockBefore, lockAfter] = [from, to].map(
    ({ securitySettings }) => securitySettings?.immutabilitySettings?.state,
  );
  if (lockBefore === 'Locked' && lockAfter !== 'Locked')
    refuse(
      'VaultImmutabilityLocked',
      'immutabilitySettings.state',
      `is Locked, for good: it cannot become ${lockAfter}`,
    );
  if (hasData && changesRedundancy(from, to)) {
    const [before, after] = [from, to].map(redundancyOf);
    refuse(
      'StorageRedundancyLocked',
      'standardTierStorageRedundancy',
      `is ${before}: it can be changed to ${after} only before the first item of the vault is protected`,
    );
  }
}

const redundancyOf = ({ redundancySettings }: VaultSettings): string | undefined =>
  redundancySettings?.standardTierStorageRedundancy;

/** Whether the redundancy becomes another. The first that is given to a vault that has none (a rebuild put it back) is no change. */
export function changesRedundancy(from: VaultSettings, to: VaultSettings): boolean {
  const before = redundancyOf(from);
  return before !== undefined && before !== redundancyOf(to);
}

function refuse(code: BackupError['code'], target: string, problem: string): never {
  throw new BackupError(code, `the vault's ${target} ${problem}`, { target });
}
