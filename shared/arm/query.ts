import { BackupError } from '../domain/errors.ts';

/** A request's query: names are compared without case, as ARM does; of several values the first counts. */
export class Query {
  readonly #values: ReadonlyMap<string, string>;

  constructor(params: URLSearchParams) {
    this.#values = new Map([...params].toReversed().map(([name, value]) => [name.toLowerCase(), value]));
  }

  get(name: string): string | undefined {
    return this.#values.get(name.toLowerCase());
  }
}

const API_VERSION = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:-preview)?$/i;

/** @throws BackupError MissingApiVersionParameter, InvalidApiVersionParameter */
export function apiVersionOf(query: Query): string {
  const version = query.get('api-version');
  if (version === undefined || version === '') {
    throw new BackupError(
      'MissingApiVersionParameter',
      'The api-version query parameter (?api-version=) is required for all requests.',
      { target: 'api-version' },
    );
  }
  if (API_VERSION.test(version)) return version;
  throw new BackupError(
    'InvalidApiVersionParameter',
    `the api-version ${JSON.stringify(version)} is not valid: expected a date such as 2023-06-01 or 2023-06-01-preview`,
    { target: 'api-version' },
  );
}
