import { CronExpressionParser } from 'cron-parser';
import { timeSpanMs } from './settings.ts';

/** When a timer is due. Times are milliseconds since the epoch. */
export interface Schedule {
  /** The first due time after `timeMs`; undefined when there is none in the next years. */
  next(timeMs: number): number | undefined;
  /** For a schedule with less than a minute between its due times the Functions host keeps no status. */
  readonly isMonitorable: boolean;
}

const MONTHS = 'jan feb mar apr may jun jul aug sep oct nov dec'.split(' ');
const DAYS = 'sun mon tue wed thu fri sat'.split(' ');
const FIELDS = [
  { name: 'second', min: 0, max: 59, words: [] },
  { name: 'minute', min: 0, max: 59, words: [] },
  { name: 'hour', min: 0, max: 23, words: [] },
  { name: 'day of month', min: 1, max: 31, words: [] },
  { name: 'month', min: 1, max: 12, words: MONTHS },
  { name: 'day of week', min: 0, max: 6, words: DAYS },
] as const;
const PART = /^(?:\*|(\w+)(?:-(\w+))?)(?:\/(\d+))?$/;
/** A due time is looked for in at most this many days that the day of the month allows: 40 years of a monthly schedule. */
const MAX_CANDIDATES = 500;

/**
 * Parses an NCRONTAB expression of six fields (five mean second 0) or a TimeSpan between runs, as a timer trigger takes them.
 *
 * Unlike in cron, a day must satisfy both day of month and day of week. Cron's own words (`@daily`, `L`, `#`, `?`, 7 for Sunday)
 * are refused, as the Functions host refuses them.
 * @throws Error naming the field and the bounds
 */
export function parseSchedule(expression: string, timeZone = 'UTC'): Schedule {
  const intervalMs = timeSpanMs(expression.trim());
  if (intervalMs !== undefined) {
    if (intervalMs <= 0) throw new Error(`the schedule "${expression}" has no time between its runs`);
    return { next: (timeMs) => timeMs + intervalMs, isMonitorable: intervalMs >= 60_000 };
  }
  const given = expression.trim().split(/\s+/);
  const fields = given.length === 5 ? ['0', ...given] : given;
  if (fields.length !== FIELDS.length)
    throw new Error(
      `the schedule "${expression}" has ${given.length} fields; NCRONTAB has six: second minute hour day month day-of-week`,
    );
  fields.forEach((field, at) => checkField(expression, field, at));
  const schedule = cronSchedule(fields, timeZone);
  if (schedule === undefined)
    throw new Error(`the schedule "${expression}" has a day of month that its months do not have`);
  return schedule;
}

function checkField(expression: string, field: string, at: number): void {
  const { name, min, max, words } = FIELDS[at] as (typeof FIELDS)[number];
  const fail = (what: string): never => {
    throw new Error(`the schedule "${expression}" has ${name} "${field}": ${what}`);
  };
  const valueOf = (text: string): number => {
    const word = (words as readonly string[]).indexOf(text.toLowerCase().slice(0, 3));
    const value = word >= 0 ? word + min : /^\d+$/.test(text) ? Number(text) : fail(`"${text}" is not a number`);
    return value < min || value > max ? fail(`${text} is not in ${min} to ${max}`) : value;
  };
  for (const part of field.split(',')) {
    const match = PART.exec(part);
    if (match === null) return fail('expected *, a value, a range a-b, steps /n, or several separated by commas');
    const [, from, to, step] = match;
    if (from !== undefined && to !== undefined && valueOf(from) > valueOf(to)) fail('the range runs backwards');
    if (from !== undefined) valueOf(from);
    if (step !== undefined && Number(step) === 0) fail('a step of 0');
  }
}

/** Undefined for days that never come, such as 31 February. */
function cronSchedule(fields: readonly string[], timeZone: string): Schedule | undefined {
  const days = fields[5] as string;
  const shortDays = days.replace(/[a-z]+/gi, (word) => String(DAYS.indexOf(word.toLowerCase().slice(0, 3))));
  const weekdays = new Set<number>(
    CronExpressionParser.parse(`0 0 0 * * ${shortDays}`).fields.dayOfWeek.values.map((day) => Number(day) % 7),
  );
  const months = (fields[4] as string).replace(/[a-z]+/gi, (word) => word.slice(0, 3));
  const daily = [...fields.slice(0, 4), months, '*'].join(' ');
  try {
    CronExpressionParser.parse(daily);
  } catch {
    return undefined;
  }
  const next = (timeMs: number): number | undefined => {
    const cron = CronExpressionParser.parse(daily, { currentDate: new Date(timeMs), tz: timeZone });
    for (let candidate = 0; candidate < MAX_CANDIDATES; candidate++) {
      let due;
      try {
        due = cron.next();
      } catch {
        return undefined;
      }
      if (weekdays.has(due.getDay())) return due.getTime();
      due.setEndOfDay();
      cron.reset(due);
    }
    return undefined;
  };
  return { next, isMonitorable: /^\d+$/.test(fields[0] as string) };
}
