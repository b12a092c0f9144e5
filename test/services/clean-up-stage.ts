import { expect } from 'vitest';
import type { CleanUpReportRow, CleanUpRow } from '../../shared/catalog/clean-up-row.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import type { Step } from '../../shared/queue/steps.ts';
import { readReports, readRuns, spentBytes } from '../../shared/services/clean-up-report.ts';
import { itemKey } from '../../shared/services/keys.ts';
import type { Ports, Settings } from '../../shared/services/ports.ts';
import { DAY_MS, VAULT, type World, createWorld } from '../support/world.ts';
import { B, block } from './stage.ts';

/* VMs with expired points, and what a cleanup's reports say of them. */

export const key = (vm: string): string => itemKey('app', vm);

export interface Rig {
  readonly world: World;
  readonly settings: { -readonly [Name in keyof Settings]: Settings[Name] };
  /** VMs in the order in which their merges were begun. */
  readonly begun: string[];
  readonly logged: string[];
}

export async function rig(
  change: Partial<Settings> = {},
  options: Parameters<typeof createWorld>[0] = {},
): Promise<Rig> {
  const begun: string[] = [];
  const logged: string[] = [];
  let settings: Rig['settings'] | undefined;
  const world = await createWorld({
    ...options,
    wrap: (ports: Ports): Ports => {
      settings = { ...ports.settings, ...change };
      return {
        ...ports,
        settings,
        log: (line) => logged.push(line),
        queue: {
          async send(step: Step, delay) {
            if (step.step === 'plan-merge') begun.push((await ports.catalog.jobs.get(VAULT, step.jobId))!.row.vmName);
            await ports.queue.send(step, delay);
          },
        },
      };
    },
  });
  return { world, settings: settings!, begun, logged };
}

/** A VM whose first points, as many as `expiring` says, are over after a day; each changes all of a disk of `blocks` blocks. */
export async function grow(world: World, vm: string, expiring: number, blocks = 4): Promise<PointId[]> {
  const disk = (await world.createVm(vm, [blocks * B]))[0]!;
  await world.protect(vm);
  const points: PointId[] = [];
  for (let n = 0; n <= expiring; n++) {
    await world.disks.write(disk, 0, block(n + 1, blocks));
    const job = await world.backup(vm, world.clock.now() + (n < expiring ? 1 : 300) * DAY_MS);
    expect(job).toMatchObject({ status: 'Completed', errors: [] });
    points.push(job.point!);
    world.clock.advance(60_000);
  }
  return points;
}

export async function reportsOf(world: World, run?: CleanUpRow): Promise<Record<string, CleanUpReportRow>> {
  const newest = run ?? (await readRuns(world.ports, VAULT)).at(-1)!;
  const reports = await readReports(world.ports, VAULT, newest.runId);
  return Object.fromEntries(reports.map(({ row }) => [row.vmName, row]));
}

export const merged = (reports: Record<string, CleanUpReportRow>): Record<string, number> =>
  Object.fromEntries(Object.entries(reports).map(([vm, row]) => [vm, row.merged]));
export const statuses = (reports: Record<string, CleanUpReportRow>): Record<string, string> =>
  Object.fromEntries(Object.entries(reports).map(([vm, row]) => [vm, row.status]));
export const spent = (reports: Record<string, CleanUpReportRow>): number =>
  Object.values(reports).reduce((sum, row) => sum + spentBytes(row), 0);
export const livePoints = async (world: World, vm: string): Promise<number> =>
  (await (await world.chain(vm)).newest()).points.length;
