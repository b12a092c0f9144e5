import { cpus, totalmem } from 'node:os';
import { PRICES } from '../shared/domain/prices.ts';
import { WIDE_PATHS } from './lab.ts';
import type { Cost } from './meter.ts';
import type { Options } from './options.ts';
import type { RawCopies } from './raw-copy.ts';
import type { Measured } from './scenarios.ts';

const MIB = 1024 * 1024;
const TIB = 1024 ** 4;

/** Everything that a run found. */
export interface Findings {
  readonly options: Options;
  /** What zstd at level 1 leaves of the disk's data. */
  readonly compressedShare: number;
  readonly dataBytes: number;
  readonly changedBytes: number;
  /** Blocks that the night touches, and what they take when each is compressed alone. */
  readonly changedBlocks: { readonly count: number; readonly compressedBytes: number };
  readonly raw: RawCopies;
  readonly measured: readonly Measured[];
  /** How many processes wanted to run before the run began: above nought, figures are another's too. */
  readonly loadBefore: number;
  /** Restores whose bytes are not the disk's, and where they first differ. */
  readonly differences: readonly { readonly name: string; readonly offset: number }[];
}

/** The raw copy in the same direction, for those that have one. */
const DIRECTIONS: Readonly<Partial<Record<Measured['name'], keyof RawCopies>>> = {
  'first-backup': 'toBlobs',
  incremental: 'toBlobs',
  'restore-snapshot': 'toPages',
  'restore-vault': 'toPages',
};

/** What a measurement is held against: the bytes that it is about, and the seconds that a raw copy takes for as many. */
function yardstick(
  name: Measured['name'],
  { dataBytes, changedBytes, raw }: Findings,
): { bytes?: number; rawSeconds?: number } {
  const direction = DIRECTIONS[name];
  if (direction === undefined) return {};
  const bytes = name === 'incremental' ? changedBytes : dataBytes;
  return { bytes, rawSeconds: (raw[direction].cost.seconds * bytes) / raw[direction].bytes };
}

const AIMS: Readonly<Record<Measured['name'], string>> = {
  'first-backup': '1.00 of the raw copy',
  incremental: 'under 2 s for 50 MiB',
  'no-change': 'under 0.5 s, a handful of requests',
  'wide-first': 'visible in under 1 s',
  'wide-no-change': 'visible in under 1 s',
  'restore-snapshot': '-',
  'restore-vault': '0.95 of the raw copy',
  merge: '-',
};

export function asJson(findings: Findings): string {
  const measured = findings.measured.map((one) => {
    const { bytes, rawSeconds } = yardstick(one.name, findings);
    return {
      ...one,
      ...(bytes === undefined ? {} : { mibPerSecond: bytes / MIB / one.cost.seconds }),
      ...(rawSeconds === undefined ? {} : { ratioToRawCopy: rawSeconds / one.cost.seconds }),
      aim: AIMS[one.name],
    };
  });
  return JSON.stringify({ machine: machine(), ...findings, measured, aims: aims(findings) }, undefined, 2);
}

export function asText(findings: Findings): string {
  const { compressedShare, dataBytes, changedBytes, raw, options } = findings;
  const mib = (bytes: number): string => `${Math.round(bytes / MIB)} MiB`;
  const rows: string[][] = [
    ['', 'seconds', 'MiB/s', 'of raw', 'CPU s', 'storage CPU s', 'peak MiB', 'stored MiB', 'aim'],
  ];
  for (const [name, copy] of [
    ['raw copy to block blobs', raw.toBlobs],
    ['raw copy to page blob', raw.toPages],
  ] as const) {
    const rate = (copy.bytes / MIB / copy.cost.seconds).toFixed(1);
    rows.push([
      `${name} (${copy.concurrency} at once)`,
      copy.cost.seconds.toFixed(2),
      rate,
      '1.00',
      ...costs(copy.cost),
      '',
      '',
    ]);
  }
  for (const one of findings.measured) {
    const { bytes, rawSeconds } = yardstick(one.name, findings);
    rows.push([
      `${one.name}${one.source === '' ? '' : ` (${one.source})`}`,
      one.cost.seconds.toFixed(2),
      bytes === undefined ? '' : (bytes / MIB / one.cost.seconds).toFixed(1),
      rawSeconds === undefined ? '' : (rawSeconds / one.cost.seconds).toFixed(2),
      ...costs(one.cost),
      (one.storedBytes / MIB).toFixed(1),
      AIMS[one.name],
    ]);
  }
  return [
    `${machine()}, load ${findings.loadBefore.toFixed(1)} before the run`,
    `${mib(dataBytes)} of data on a 4 GiB page blob; a night changes ${mib(changedBytes)}, half in runs of 1 MiB, half in writes of 4 to 16 KiB.`,
    `The data is ${Math.round((1 - compressedShare) * 100)} % compressible (zstd level 1 in 256 KiB frames leaves ${compressedShare.toFixed(2)}).`,
    `Storage: Azurite in a process of its own. Steps: ${options.inFlight} in flight from a queue in this process; waits of delayed messages are left out.`,
    '',
    ...table(rows),
    '',
    ...findings.measured.flatMap(details),
    '',
    ...aims(findings),
    ...findings.differences.map(({ name, offset }) => `DIFFERENT BYTES: ${name} differs from the disk at ${offset}`),
    findings.differences.length === 0 ? 'All restored bytes are the disk’s.' : '',
  ].join('\n');
}

/** Figures of the aims that are no seconds. */
export function aims({ measured, changedBlocks, dataBytes }: Findings): string[] {
  const found = (name: Measured['name']): Measured | undefined => measured.find((one) => one.name === name);
  const lines: string[] = [];
  const night = found('incremental');
  if (night !== undefined) {
    const { count, compressedBytes } = changedBlocks;
    const ratio = (night.storedBytes / compressedBytes).toFixed(3);
    const alone = (compressedBytes / MIB).toFixed(1);
    lines.push(
      `stored: ${ratio} of its ${count} changed blocks compressed one by one (${alone} MiB); aim: at most 1.05`,
    );
  }
  const [first, narrow, wide] = [found('first-backup'), found('no-change'), found('wide-no-change')];
  if (first !== undefined && narrow !== undefined) {
    const count = writes(first) - writes(narrow);
    const [hot, cool] = [PRICES.hot, PRICES.cool].map(({ write }) => ((count * write * TIB) / dataBytes).toFixed(2));
    lines.push(
      `first-backup: ${count} write requests besides those of any job, $${hot} (hot) or $${cool} (cool) for each TiB; aim: under $1`,
    );
  }
  if (wide !== undefined)
    lines.push(`${WIDE_PATHS.length} disks: point visible after ${wide.visibleSeconds?.toFixed(2)} s; aim: under 1 s`);
  if (narrow !== undefined && wide !== undefined) {
    const each = (total(wide) - total(narrow)) / (WIDE_PATHS.length - 1);
    lines.push(
      `no change: ${total(narrow)} requests with one disk, ${total(wide)} with ${WIDE_PATHS.length}: ${each.toFixed(1)} for each disk, ${(total(narrow) - each).toFixed(0)} for the VM`,
    );
  }
  return lines;
}

/** Requests that the vault's container is billed for as writes. */
const writes = ({ cost }: Measured): number =>
  ['put blob', 'block', 'blocklist'].reduce((sum, kind) => sum + (cost.requests[kind] ?? 0), 0);

const total = ({ cost }: Measured): number => Object.values(cost.requests).reduce((sum, n) => sum + n, 0);

/** The machine that this runs on, in a line. */
export function machine(): string {
  const [cpu] = cpus();
  return `${cpus().length} x ${cpu?.model.trim() ?? 'unknown CPU'}, ${Math.round(totalmem() / 1024 ** 3)} GiB, Node ${process.versions.node}`;
}

function costs({ cpuSeconds, storageCpuSeconds, peakRssBytes }: Cost): string[] {
  return [cpuSeconds.toFixed(2), storageCpuSeconds?.toFixed(2) ?? '?', Math.round(peakRssBytes / MIB).toString()];
}

function details(one: Measured): string[] {
  const { name, cost, busy, steps, leftOutSeconds } = one;
  const kinds = Object.entries(cost.requests)
    .sort(([, a], [, b]) => b - a)
    .map(([kind, n]) => `${n} ${kind}`);
  const times = Object.entries(busy).map(
    ([kind, { seconds, calls, bytes }]) =>
      `${kind} ${seconds.toFixed(2)} s (${calls} calls, ${(bytes / MIB).toFixed(1)} MiB)`,
  );
  return [
    `${name}: ${steps} steps, ${leftOutSeconds.toFixed(1)} s of waiting left out; ${total(one)} requests: ${kinds.join(', ')}`,
    ...(times.length === 0 ? [] : [`  under way: ${times.join(', ')}`]),
  ];
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 || column === row.length - 1 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd(),
  );
}
