import { CHURNED, CHURN_MEASUREMENTS, type ChurnFindings } from './churn.ts';
import { machine } from './report.ts';
import type { ShapeOptions } from './shape-options.ts';
import type { Simulated, ThinFindings } from './thin-shape.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** What the services have to live with: a queue message, a property of a row, the memory that a message may take. */
const LIMITS = { message: 64 * KIB, property: 32 * KIB, memory: 256 * MIB } as const;

/** Everything that a run found. */
export interface ShapeFindings {
  readonly options: ShapeOptions;
  /** How many processes wanted to run before the run began. */
  readonly loadBefore: number;
  readonly found: readonly (ChurnFindings | ThinFindings)[];
}

const isThin = (own: ChurnFindings | ThinFindings): own is ThinFindings => own.shape === '32tib';
const sum = (numbers: Readonly<Record<string, number>>): number =>
  Object.values(numbers).reduce((all, n) => all + n, 0);
const count = (n: number): string => Math.round(n).toLocaleString('en-US');
/** Hundredths of a MiB, without a sign where none are left. */
const mib = (bytes: number): string => (bytes / MIB).toFixed(2).replace(/^-0\.00$/, '0.00');
const seconds = (n: number): string => n.toFixed(n < 10 ? 2 : 1);

export function asShapeJson(findings: ShapeFindings): string {
  return JSON.stringify({ machine: machine(), ...findings }, undefined, 2);
}

/** Tables in Markdown, to be pasted as they are. */
export function asShapeText({ options, loadBefore, found }: ShapeFindings): string {
  const churned = found.filter((own) => !isThin(own));
  const differences = found.filter(({ difference }) => difference !== undefined);
  return [
    `${machine()}, load ${loadBefore.toFixed(1)} before the run, ${options.inFlight} steps in flight on real storage. Each disk in a process of its own.`,
    '',
    ...(churned.length === 0 ? [] : churnReport(churned)),
    ...found.filter(isThin).flatMap(thinReport),
    ...differences.map(
      ({ shape, difference }) => `DIFFERENT BYTES: the restored ${shape} disk differs at ${difference}`,
    ),
    differences.length === 0 ? 'All restored bytes are the disks’.' : '',
  ].join('\n');
}

type Churned = ChurnFindings['measured'][number];

function churnReport(found: readonly ChurnFindings[]): string[] {
  const [first] = found;
  const rows = [
    ['', 'disk', 'seconds', 'requests', 'written MiB', 'stored MiB', 'objects', 'in the vault', 'peak MiB'],
  ];
  const kinds: string[] = [];
  for (const name of CHURN_MEASUREMENTS) {
    const pair = found.flatMap(({ shape, measured }) =>
      measured.filter((own) => own.name === name).map((own) => ({ title: CHURNED[shape].title, own })),
    );
    for (const [i, { title, own }] of pair.entries()) {
      rows.push([i === 0 ? name : '', title, ...churnCells(own)]);
      kinds.push(`- ${name}, ${title}: ${kindsOf(own.cost.requests)}`);
    }
    const [a, b] = pair;
    if (a !== undefined && b !== undefined) rows.push(['', 'ratio', ...ratios(a.own, b.own)]);
  }
  return [
    `${count(first!.dataBytes / MIB)} MiB of data in runs of 64 KiB at equal distances, in ${found.map(({ regions }) => count(regions)).join(' and ')} regions; a night changes ${count(first!.changedBytes / KIB)} KiB, scattered blocks of 16 KiB, the same on each disk.`,
    '',
    ...markdown(rows),
    '',
    ...kinds,
    '',
  ];
}

const writtenBytes = ({ busy }: Churned): number => busy['put to vault']?.bytes ?? 0;

function churnCells(own: Churned): string[] {
  const { cost, objects, storedBytes } = own;
  return [
    seconds(cost.seconds),
    count(sum(cost.requests)),
    mib(writtenBytes(own)),
    mib(storedBytes),
    `+${count(objects.added)} −${count(objects.removed)}`,
    count(objects.left),
    count(cost.peakRssBytes / MIB),
  ];
}

function ratios(a: Churned, b: Churned): string[] {
  // A ratio to next to nothing says nothing.
  const ratio = (of: (own: Churned) => number, least = 1): string => (of(a) < least ? '' : (of(b) / of(a)).toFixed(2));
  return [
    ratio(({ cost }) => cost.seconds, 0.01),
    ratio(({ cost }) => sum(cost.requests)),
    ratio(writtenBytes, MIB / 10),
    '',
    '',
    ratio(({ objects }) => objects.left),
    ratio(({ cost }) => cost.peakRssBytes),
  ];
}

function thinReport({ regions, freshRssBytes, measured }: ThinFindings): string[] {
  const rows = [
    ['', 'seconds', 'steps', 'requests', 'objects', 'slabs MiB', 'plan KiB', 'manifest KiB', 'record KiB', 'peak MiB'],
    ...measured.map((own) => [
      own.name,
      seconds(own.seconds),
      count(own.steps),
      count(sum(own.counts.requests)),
      `+${count(own.objects.added)} −${count(own.objects.removed)}`,
      ((own.counts.put.slab?.bytes ?? 0) / MIB).toFixed(1),
      ...(['plan', 'manifest', 'record'] as const).map((kind) => kib(own.counts.put[kind]?.largest)),
      count(Math.max(0, ...Object.values(own.peakRssBytes)) / MIB),
    ]),
  ];
  return [
    `${count(regions)} regions of 1 GiB, simulated: ports in memory, one step at a time. At first one block in each, then one changed block in each every night.`,
    '',
    ...markdown(rows),
    '',
    ...measured.map(({ name, counts }) => `- ${name}: ${kindsOf(counts.requests)}`),
    '',
    ...markdown(limitRows(freshRssBytes, measured)),
    '',
  ];
}

const kib = (bytes: number | undefined): string => (bytes === undefined ? '' : (bytes / KIB).toFixed(1));

/** The largest of everything that is limited, and whether it is over. */
function limitRows(freshRssBytes: number, measured: readonly Simulated[]): string[][] {
  const largest = (of: (own: Simulated) => { size: number; what: string }): { size: number; what: string } =>
    measured.map(of).reduce((most, own) => (own.size > most.size ? own : most));
  const message = largest(({ counts }) => counts.largestMessage);
  const property = largest(({ counts }) => counts.largestProperty);
  const rows = [
    ['largest', 'what', 'found', 'limit', ''],
    [
      'message',
      message.what,
      `${count(message.size)} bytes`,
      count(LIMITS.message),
      verdict(message.size, LIMITS.message),
    ],
    [
      'property',
      property.what,
      `${count(property.size)} characters`,
      count(LIMITS.property),
      verdict(property.size, LIMITS.property),
    ],
  ];
  const peaks = new Map<string, number>();
  for (const { peakRssBytes, vaultBytes } of measured) {
    for (const [step, bytes] of Object.entries(peakRssBytes))
      peaks.set(step, Math.max(peaks.get(step) ?? 0, bytes - freshRssBytes - vaultBytes));
  }
  for (const [step, bytes] of [...peaks].sort(([, a], [, b]) => b - a))
    rows.push(['memory', step, `${count(bytes / MIB)} MiB`, count(LIMITS.memory / MIB), verdict(bytes, LIMITS.memory)]);
  return rows;
}

const verdict = (found: number, limit: number): string => (found > limit ? 'OVER' : '');

function kindsOf(requests: Readonly<Record<string, number>>): string {
  return Object.entries(requests)
    .sort(([, a], [, b]) => b - a)
    .map(([kind, n]) => `${count(n)} ${kind}`)
    .join(', ');
}

function markdown([head, ...rows]: readonly (readonly string[])[]): string[] {
  const all = [head!, ...rows];
  const widths = head!.map((_, column) => Math.max(3, ...all.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width)).join(' | ')} |`;
  return [line(head!), `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...rows.map(line)];
}
