import type { BackupPolicy } from './policy.ts';

/**
 * In which ways points expire earlier under `after` than under `before`, in words; none: it keeps every point at least as long. What counts
 * is how long points are kept, not when they are taken, nor for how long snapshots are: points stay when their snapshots go. Days are
 * counted on the wall clock of a policy's zone, so that another zone may move an expiry by the hour of its daylight saving.
 */
export function shortens(before: BackupPolicy, after: BackupPolicy): string[] {
  if (after.dailyRetentionDays >= before.dailyRetentionDays) return [];
  return [`daily points would be kept ${after.dailyRetentionDays} days instead of ${before.dailyRetentionDays}`];
}
