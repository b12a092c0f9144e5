import { parseArgs } from 'node:util';

/** The measurements, in the order in which they run: each builds on what the ones before it have left. */
export const MEASUREMENTS = [
  'first-backup',
  'incremental',
  'no-change',
  'wide-first',
  'wide-no-change',
  'restore-snapshot',
  'restore-vault',
  'merge',
] as const;
export type Measurement = (typeof MEASUREMENTS)[number];

export interface Options {
  /** Data on the disk in MiB, a multiple of 16; the disk itself has 4 GiB, the rest of it is never written. */
  readonly sizeMib: number;
  readonly json: boolean;
  /** Shows this measurement alone. What it builds on still runs; what comes after it does not. */
  readonly only: Measurement | undefined;
  /** Steps in flight at once, as host.json would let one instance have. */
  readonly inFlight: number;
}

export const USAGE = `npm run bench -- [--size MiB] [--json] [--only NAME] [--in-flight N]
  --size       data on a 4 GiB disk in MiB, a multiple of 16 up to 4096 (1024)
  --json       figures as JSON on standard output
  --only       ${MEASUREMENTS.join(', ')}: that one alone, with what it builds on
  --in-flight  steps at once (4)`;

/** @throws Error saying which option is wrong and what it may be */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      size: { type: 'string', default: '1024' },
      json: { type: 'boolean', default: false },
      only: { type: 'string' },
      'in-flight': { type: 'string', default: '4' },
    },
  });
  const only = MEASUREMENTS.find((name) => name === values.only);
  if (values.only !== undefined && only === undefined) {
    throw new Error(`--only ${values.only}: expected one of ${MEASUREMENTS.join(', ')}`);
  }
  const sizeMib = wholeNumber('--size', values.size, 16, 4096);
  if (sizeMib % 16 !== 0) throw new Error(`--size ${sizeMib}: expected a multiple of 16`);
  return { sizeMib, json: values.json, only, inFlight: wholeNumber('--in-flight', values['in-flight'], 1, 64) };
}

/** @throws Error saying which option is wrong and what it may be */
export function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new Error(`${name} ${text}: expected a whole number from ${least} to ${most}`);
}
