import { parseArgs } from 'node:util';
import { wholeNumber } from './options.ts';

/** The disks of `npm run bench:shapes`, each measured in a process of its own. */
export const SHAPES = ['4gib', '4tib', '32tib'] as const;
export type Shape = (typeof SHAPES)[number];

export interface ShapeOptions {
  /** Data on the 4 GiB and the 4 TiB disk in MiB, in runs of 64 KiB. */
  readonly sizeMib: number;
  /** Regions of the simulated disk: 1 GiB each. */
  readonly regions: number;
  /** Nights of the simulated disk. */
  readonly nights: number;
  readonly json: boolean;
  /** The disks to be measured, in the order of SHAPES. */
  readonly shapes: readonly Shape[];
  /** Steps in flight at once on real storage; the simulation runs one at a time. */
  readonly inFlight: number;
}

export const SHAPE_USAGE = `npm run bench:shapes -- [--size MiB] [--regions N] [--nights N] [--json] [--only NAMES] [--in-flight N]
  --size       data on the 4 GiB and the 4 TiB disk in MiB, a multiple of 16 up to 2048 (256)
  --regions    regions of 1 GiB of the simulated disk (32768)
  --nights     nights of the simulated disk (3)
  --json       figures as JSON on standard output
  --only       ${SHAPES.join(', ')}: that disk alone, or several with commas between them
  --in-flight  steps at once on real storage (4)`;

/** @throws Error saying which option is wrong and what it may be */
export function parseShapeOptions(args: readonly string[]): ShapeOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      size: { type: 'string', default: '256' },
      regions: { type: 'string', default: '32768' },
      nights: { type: 'string', default: '3' },
      json: { type: 'boolean', default: false },
      only: { type: 'string' },
      'in-flight': { type: 'string', default: '4' },
    },
  });
  const asked = values.only?.split(',') ?? SHAPES;
  const unknown = asked.find((name) => !SHAPES.some((shape) => shape === name));
  if (unknown !== undefined) throw new Error(`--only ${unknown}: expected one of ${SHAPES.join(', ')}`);
  const sizeMib = wholeNumber('--size', values.size, 16, 2048);
  if (sizeMib % 16 !== 0) throw new Error(`--size ${sizeMib}: expected a multiple of 16`);
  return {
    sizeMib,
    regions: wholeNumber('--regions', values.regions, 1, 32_768),
    nights: wholeNumber('--nights', values.nights, 1, 99),
    json: values.json,
    shapes: SHAPES.filter((shape) => asked.includes(shape)),
    inFlight: wholeNumber('--in-flight', values['in-flight'], 1, 64),
  };
}

/** The options as a command line has them, for the process of one shape. */
export function argumentsOf({ sizeMib, regions, nights, inFlight }: ShapeOptions, only: Shape): string[] {
  const numbers = { size: sizeMib, regions, nights, 'in-flight': inFlight };
  return ['--json', '--only', only, ...Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, `${value}`])];
}
