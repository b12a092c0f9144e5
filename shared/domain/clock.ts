/** The one source of time for rules: milliseconds since the epoch. SAS times and leases live by the storage's clock instead. */
export interface Clock {
  now(): number;
}

/** The one source of new names: random, never repeated. */
export interface Ids {
  /** A lower-case GUID. */
  guid(): string;
  /** `digits` random hexadecimal digits in lower case. */
  hex(digits: number): string;
}
