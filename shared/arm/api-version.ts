import { DateTime } from 'luxon';
import { BackupError } from '../domain/errors.ts';
import type { Query } from './query.ts';

/** The provider's first version that knows virtual machines of today. */
const FIRST = '2016-06-01';
/** Clients of previews run ahead of the calendar, by a few months. */
const MONTHS_AHEAD = 18;

/**
 * The call's api-version: a day of the calendar from 2016-06-01 to 18 months from now, perhaps with `-preview`, in any case.
 * @throws BackupError MissingApiVersionParameter, InvalidApiVersionParameter naming the value and what would be right
 */
export function apiVersionOf(query: Query, nowMs: number): string {
  const version = query.get('api-version');
  if (version === undefined || version === '') {
    throw new BackupError(
      'MissingApiVersionParameter',
      'The api-version query parameter (?api-version=) is required for all requests.',
      { target: 'api-version' },
    );
  }
  const day = /^(\d{4}-\d{2}-\d{2})(?:-preview)?$/i.exec(version)?.[1] ?? '';
  const last = DateTime.fromMillis(nowMs, { zone: 'utc' }).plus({ months: MONTHS_AHEAD }).toISODate() ?? '';
  if (DateTime.fromISO(day, { zone: 'utc' }).isValid && day >= FIRST && day <= last) return version;
  throw new BackupError(
    'InvalidApiVersionParameter',
    `the api-version ${JSON.stringify(version)} is not valid: expected a date from ${FIRST} to ${last}, perhaps with -preview, such as 2023-06-01 or 2023-06-01-preview`,
    { target: 'api-version' },
  );
}
