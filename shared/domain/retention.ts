import type { PointId } from './ids.ts';
import { type BackupPolicy, daysAfter } from './policy.ts';

/** What retention needs to know of a recovery point. All times in milliseconds since the epoch. */
export interface RetainedPoint {
  readonly point: PointId;
  readonly time: number;
  readonly trigger: 'scheduled' | 'onDemand';
  readonly dueAt?: number | undefined;
  readonly retainUntil?: number | undefined;
}

/** Until when a point is kept, and the rule that says so. */
export interface Expiry {
  readonly at: number;
  readonly rule: 'Daily' | 'OnDemand';
}

/** A vault point's expiry under the policy in force now; undefined: kept without end, because no policy is in force. */
export function expiryOf(point: RetainedPoint, policy: BackupPolicy | undefined): Expiry | undefined {
  if (policy === undefined) return undefined;
  if (point.trigger === 'onDemand') return { at: point.retainUntil ?? Infinity, rule: 'OnDemand' };
  return { at: daysAfter(point.dueAt ?? point.time, policy.dailyRetentionDays, policy.zone), rule: 'Daily' };
}

/** What cleanup should do with a vault point. */
export interface RetentionVerdict {
  readonly point: PointId;
  readonly expiry: Expiry | undefined;
  readonly verdict: 'keep' | 'expire';
  readonly reason: string;
}

/**
 * Decides for every vault point of an item, given in snapshot order, whether it stays. The newest always does: an item never
 * loses its last copy. Without a policy in force nothing expires.
 */
export function decideRetention(
  points: readonly RetainedPoint[],
  policy: BackupPolicy | undefined,
  nowMs: number,
): RetentionVerdict[] {
  const newest = points.at(-1)?.point;
  return points.map((point) => {
    const expiry = expiryOf(point, policy);
    if (expiry === undefined) return { point: point.point, expiry, verdict: 'keep', reason: 'no policy is in force' };
    if (expiry.at > nowMs)
      return { point: point.point, expiry, verdict: 'keep', reason: `kept by rule ${expiry.rule}` };
    if (point.point === newest)
      return { point: point.point, expiry, verdict: 'keep', reason: 'the newest point of its item' };
    return { point: point.point, expiry, verdict: 'expire', reason: `rule ${expiry.rule} has ended` };
  });
}

/** When a point's snapshots are no longer kept for instant restore. */
export function instantExpiry(point: RetainedPoint, policy: BackupPolicy | undefined): number | undefined {
  return policy === undefined ? undefined : daysAfter(point.time, policy.instantRetentionDays, policy.zone);
}
