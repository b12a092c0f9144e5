import { DateTime, IANAZone } from 'luxon';

/** When backups are due and how long their points stay: a daily schedule with daily retention. */
export interface BackupPolicy {
  /** Minutes after midnight in `zone` at which the day's backup is due. */
  readonly minuteOfDay: number;
  /** An IANA zone name. */
  readonly zone: string;
  /** Days that a scheduled point is kept after the time at which it was due. */
  readonly dailyRetentionDays: number;
  /** Days that a snapshot is kept for instant restore. */
  readonly instantRetentionDays: number;
}

/** The latest scheduled time at or before `nowMs`. Daylight saving: the wall-clock time counts; one that is skipped is due when the clock has jumped over it. */
export function lastDue(policy: BackupPolicy, nowMs: number): number {
  const today = DateTime.fromMillis(nowMs, { zone: policy.zone }).startOf('day');
  for (const daysBack of [0, 1]) {
    const due = atMinute(today.minus({ days: daysBack }), policy.minuteOfDay);
    if (due <= nowMs) return due;
  }
  return atMinute(today.minus({ days: 2 }), policy.minuteOfDay);
}

/** The first scheduled time after `nowMs`. */
export function nextDue(policy: BackupPolicy, nowMs: number): number {
  const today = DateTime.fromMillis(nowMs, { zone: policy.zone }).startOf('day');
  for (const days of [0, 1]) {
    const due = atMinute(today.plus({ days }), policy.minuteOfDay);
    if (due > nowMs) return due;
  }
  return atMinute(today.plus({ days: 2 }), policy.minuteOfDay);
}

function atMinute(day: DateTime, minuteOfDay: number): number {
  return day.set({ hour: Math.floor(minuteOfDay / 60), minute: minuteOfDay % 60 }).toMillis();
}

/** Whether `name` is a zone that schedules can be kept in. */
export function isZone(name: string): boolean {
  return IANAZone.isValidZone(name);
}

/** `days` calendar days after `ms` in the policy's zone, at the same time of day. */
export function daysAfter(ms: number, days: number, zone: string): number {
  return DateTime.fromMillis(ms, { zone }).plus({ days }).toMillis();
}
