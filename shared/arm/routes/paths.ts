/* The paths below which everything lies, and who may ask: what the tables of routes are written with. */

export const RS = 'providers/Microsoft.RecoveryServices';
export const S = '/subscriptions/{subscription}';
export const LOCATION = `${S}/${RS}/locations/{location}` as const;
export const VAULTS = `${S}/resourceGroups/{group}/${RS}/vaults` as const;
export const V = `${VAULTS}/{vault}` as const;
export const FABRIC = `${V}/backupFabrics/Azure` as const;
export const C = `${FABRIC}/protectionContainers/{container}` as const;
export const I = `${C}/protectedItems/{item}` as const;
export const POINT = `${I}/recoveryPoints/{point}` as const;
export const JOB = `${V}/backupJobs/{job}` as const;

export const READER = 'Backup Reader';
export const OPERATOR = 'Backup Operator';
export const CONTRIBUTOR = 'Backup Contributor';
