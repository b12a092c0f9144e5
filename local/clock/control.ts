import { DateTime, Duration } from 'luxon';

/** What the clock was asked cannot be done; the message says what would be right. Answered with 400. */
export class ClockRequestError extends Error {
  override readonly name = 'ClockRequestError';
}

const EXPECTED = 'send {"advance": "P1D"} (an ISO-8601 duration) or {"now": "2026-12-01T03:00:00Z"} (an ISO-8601 time)';

/** Every timer due on the way runs, some two hundred a day: a longer way would take hours. */
const MOST_MS = 400 * 86_400_000;

/**
 * The time, in milliseconds since the epoch, that the body of a `POST /local/clock` asks for.
 *
 * @throws ClockRequestError when the body is something else or asks for a time before `nowMs` or far after it
 */
export function parseClockRequest(body: string, nowMs: number): number {
  const request = parseObject(body);
  const keys = Object.keys(request);
  if (keys.length !== 1) throw new ClockRequestError(`found ${keys.length} properties; ${EXPECTED}`);
  const [key] = keys;
  const value = request[key as string];
  if (typeof value !== 'string') throw new ClockRequestError(`"${key}" must be a string; ${EXPECTED}`);
  const targetMs = key === 'advance' ? afterDuration(value, nowMs) : key === 'now' ? timeOf(value) : undefined;
  if (targetMs === undefined) throw new ClockRequestError(`"${key}" is not known; ${EXPECTED}`);
  if (targetMs < nowMs)
    throw new ClockRequestError(
      `the clock only goes forward: it is ${new Date(nowMs).toISOString()}, and ${value} asks for ${new Date(targetMs).toISOString()}`,
    );
  if (targetMs - nowMs > MOST_MS)
    throw new ClockRequestError(
      `${value} is more than ${MOST_MS / 86_400_000} days away: move the clock in smaller steps`,
    );
  return targetMs;
}

function parseObject(body: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    throw new ClockRequestError(`the body is not JSON; ${EXPECTED}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new ClockRequestError(`the body is not a JSON object; ${EXPECTED}`);
  return parsed as Record<string, unknown>;
}

function afterDuration(text: string, nowMs: number): number {
  const duration = Duration.fromISO(text);
  if (!duration.isValid) throw new ClockRequestError(`"${text}" is not an ISO-8601 duration such as P1D, PT10M or P2W`);
  const targetMs = DateTime.fromMillis(nowMs, { zone: 'utc' }).plus(duration).toMillis();
  if (!Number.isFinite(targetMs)) throw new ClockRequestError(`"${text}" leads beyond the times that a date can hold`);
  return targetMs;
}

function timeOf(text: string): number {
  const time = DateTime.fromISO(text, { zone: 'utc' });
  if (!time.isValid) throw new ClockRequestError(`"${text}" is not an ISO-8601 time such as 2026-12-01T03:00:00Z`);
  return time.toMillis();
}
