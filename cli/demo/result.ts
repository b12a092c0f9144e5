import { BLOCK_BYTES } from '../../shared/domain/units.ts';

/** A recovery point of the demo: as it was when its backup had ended, and as it is at the end. */
export interface PointHistory {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly trigger: 'night' | 'on demand';
  readonly kind: string;
  readonly sizeBytes: number;
  /** What its backup changed: blocks with data, blocks cleared, and the bytes that it stored. */
  readonly dataBlocks: number;
  readonly clearedBlocks: number;
  readonly writtenBytes: number;
  readonly expires: number | undefined;
  /** The labels that it was seen with, in order. */
  readonly labels: readonly string[];
  /** Undefined once it has been merged into the next point. */
  readonly now: PointNow | undefined;
}

export interface PointNow {
  readonly label: string;
  readonly tier: string;
  /** Bytes of the vault that are there for this point: its own, and those that it took over from merged ones. */
  readonly storedBytes: number;
}

export interface RestoreOutcome {
  readonly point: string;
  readonly disk: string;
  readonly equal: boolean;
  readonly readBytes: number;
  readonly difference: string | undefined;
}

/** Everything that the demo has found out. */
export interface DemoOutcome {
  readonly points: readonly PointHistory[];
  readonly restores: readonly RestoreOutcome[];
  /** What was expected and did not come, for people; empty when all was right. */
  readonly faults: readonly string[];
  /** Blobs that were written to the vault, each by one request. */
  readonly vaultWrites: number;
  /** Seconds from each cleanup to the expired points being gone, together, and how many points that were. */
  readonly mergeSeconds: number;
  readonly merges: number;
  readonly totalSeconds: number;
}

export interface Totals {
  /** Bytes in the blocks that backups found changed, the first one with them. */
  readonly changedBytes: number;
  /** What backups have stored for them. */
  readonly writtenBytes: number;
  /** What the vault holds at the end for the points that are left. */
  readonly storedBytes: number;
  /** Changed bytes for each byte that was stored; 0 when nothing was. */
  readonly compression: number;
  readonly vaultWrites: number;
  /** Write requests to the vault for each GiB of changed blocks. */
  readonly requestsPerGiB: number;
  readonly mergeSeconds: number;
  readonly merges: number;
}

export function totalsOf({ points, vaultWrites, mergeSeconds, merges }: DemoOutcome): Totals {
  const sum = (of: (point: PointHistory) => number): number => points.reduce((total, point) => total + of(point), 0);
  const changedBytes = sum(({ dataBlocks }) => dataBlocks) * BLOCK_BYTES;
  const writtenBytes = sum((point) => point.writtenBytes);
  return {
    changedBytes,
    writtenBytes,
    storedBytes: sum(({ now }) => now?.storedBytes ?? 0),
    compression: writtenBytes === 0 ? 0 : rounded(changedBytes / writtenBytes),
    vaultWrites,
    requestsPerGiB: changedBytes === 0 ? 0 : rounded(vaultWrites / (changedBytes / 2 ** 30)),
    mergeSeconds: rounded(mergeSeconds),
    merges,
  };
}

/** Whether nothing was missing and every restored disk was equal. */
export function isAllRight({ faults, restores }: DemoOutcome): boolean {
  return faults.length === 0 && restores.length > 0 && restores.every(({ equal }) => equal);
}

/** What `--json` prints: the points that are there at the end, those that were merged, restores and totals. */
export function jsonOf(outcome: DemoOutcome): object {
  const { points, restores, faults, totalSeconds } = outcome;
  const common = (point: PointHistory) => ({
    name: point.name,
    time: iso(point.time),
    kind: point.kind,
    trigger: point.trigger,
    sizeBytes: point.sizeBytes,
    changedBlocks: point.dataBlocks + point.clearedBlocks,
    dataBlocks: point.dataBlocks,
    clearedBlocks: point.clearedBlocks,
    writtenBytes: point.writtenBytes,
    expires: iso(point.expires),
    labels: point.labels,
  });
  return {
    ok: isAllRight(outcome),
    points: points.flatMap((point) => (point.now === undefined ? [] : [{ ...common(point), ...point.now }])),
    merged: points.filter(({ now }) => now === undefined).map(common),
    restores: restores.map(({ point, disk, equal, readBytes, difference }) => ({
      point,
      disk,
      equal,
      readBytes,
      ...(difference === undefined ? {} : { difference }),
    })),
    totals: totalsOf(outcome),
    faults,
    seconds: rounded(totalSeconds),
  };
}

function iso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
