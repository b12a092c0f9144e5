import { z } from 'zod';

/** What people are told of without asking. */
export const ALERT_KINDS = ['backupFailed', 'backupLate', 'noRecentPoint', 'damageFound', 'stepGivenUp'] as const;
export type AlertKind = (typeof ALERT_KINDS)[number];

/** Milliseconds since the epoch, by the Clock. */
const timeMs = z.number();

/**
 * An alert that has been raised and whose end has not been told yet. Partition: vault key. Key: `<kind>|<item key or job id>`, so that what
 * goes on is one alert.
 */
export const alertRow = z.object({
  /** Its own, of this time: the next alert of the same kind and subject has another. */
  alertId: z.string(),
  kind: z.enum(ALERT_KINDS),
  subject: z.string(),
  message: z.string(),
  raisedAt: timeMs,
  /** When what it tells of was seen last. */
  seenAt: timeMs,
  resolvedAt: timeMs.optional(),
  /** When the receiver has taken the news that it was raised. */
  toldAt: timeMs.optional(),
  /** How often in a row the receiver has not taken what it was sent, and before when it is not tried again. */
  failures: z.number(),
  nextTryAt: timeMs,
});
export type AlertRow = z.infer<typeof alertRow>;
