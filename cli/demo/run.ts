import type { ContainerClient } from '@azure/storage-blob';
import type { Endpoints } from '../../local/platform/start.ts';
import type { Arm, Paths } from './arm.ts';
import { listPoints, type ShownPoint } from './backups.ts';
import type { DayOfWork, DemoDisk } from './machine.ts';
import { blobSizes } from './page-blobs.ts';
import type { PointHistory } from './result.ts';
import type { Screen } from './screen.ts';

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/** A recovery point as its backup has left it, and the version of the disks that it has. */
export interface Taken extends Omit<PointHistory, 'labels' | 'now'> {
  readonly version: number;
}

/** One run of the demo: what it works with, and what it has seen so far. */
export interface Run {
  readonly endpoints: Endpoints;
  readonly arm: Arm;
  readonly at: Paths;
  readonly disks: readonly DemoDisk[];
  readonly screen: Screen;
  readonly signal: AbortSignal;
  /** The vault's container. */
  readonly vault: ContainerClient;
  /** Midnight of the first night. */
  readonly firstDayMs: number;
  readonly taken: Taken[];
  /** By point: the labels that it was seen with, in order. */
  readonly labels: Map<string, string[]>;
  readonly faults: string[];
  /** Names of all blobs that were ever seen in the vault. */
  readonly vaultBlobs: Set<string>;
  /** Backup jobs that were followed. */
  readonly jobs: Set<string>;
  /** Work done since the last backup; its number is the next day's. */
  work: DayOfWork | undefined;
  days: number;
  mergeSeconds: number;
  merges: number;
}

/** Lists the points and notes the labels that they have now. */
export async function look(run: Run): Promise<ShownPoint[]> {
  const points = await listPoints(run.arm, run.at);
  for (const { name, label } of points) {
    const seen = run.labels.get(name) ?? [];
    if (seen.at(-1) !== label) run.labels.set(name, [...seen, label]);
  }
  return points;
}

/** Notes the blobs that are in the vault now: what merges delete was written all the same. */
export async function noteVaultBlobs(run: Run): Promise<void> {
  for (const name of (await blobSizes(run.vault, run.signal)).keys()) run.vaultBlobs.add(name);
}

const SIGNS: Readonly<Record<string, string>> = { Snapshot: '○', 'Snapshot and vault': '◐', Vault: '●' };

export const LEGEND = Object.entries(SIGNS)
  .map(([label, sign]) => `${sign} ${label}`)
  .join('   ');

/** A sign for each point, oldest first. */
export function strip(points: readonly ShownPoint[]): string {
  return points.map(({ label }) => SIGNS[label] ?? '?').join('');
}
