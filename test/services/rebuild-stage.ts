import { expect } from 'vitest';
import type { Catalog, JobRow, PointRow } from '../../shared/catalog/catalog.ts';
import type { ReportRow } from '../../shared/catalog/report-row.ts';
import type { PointId } from '../../shared/domain/ids.ts';
import { startRebuild } from '../../shared/services/rebuild.ts';
import { readReport } from '../../shared/services/reports.ts';
import { DAY_MS, VAULT, type World, type WorldOptions } from '../support/world.ts';
import { B, type Stage, block, live, stage } from './stage.ts';

/* The means to lose tables and to build them anew. */

const [subscriptionId = '', resourceGroup = '', vault = ''] = VAULT.split('|');
export const ADDRESS = { subscriptionId, resourceGroup, vault };

/** Deletes all rows of these tables, by default of all. */
export async function lose(world: World, ...names: (keyof Catalog)[]): Promise<void> {
  const { catalog } = world.ports;
  for (const name of names.length > 0 ? names : (Object.keys(catalog) as (keyof Catalog)[])) {
    const rows: { partition: string; key: string }[] = [];
    for await (const row of catalog[name].listAll()) rows.push(row);
    for (const { partition, key } of rows) await catalog[name].remove(partition, key);
  }
}

export interface Rebuilt {
  readonly job: JobRow;
  readonly report: ReportRow[];
}

export async function rebuild(world: World, container?: string): Promise<Rebuilt> {
  const jobId = await startRebuild(world.ports, ADDRESS, { container, properties: {} });
  await world.drain();
  return {
    job: await world.job(jobId),
    report: [...(await readReport(world.ports, { vault: VAULT, jobId })).values()],
  };
}

/** What of a point's row a rebuild must bring back: not the record that it was taken from, nor a job that nobody knows any more. */
export function essence(row: PointRow): Omit<PointRow, 'seq' | 'jobId' | 'note'> {
  const { seq: _seq, jobId: _jobId, note: _note, ...rest } = row;
  return rest;
}

/** Three points, the first of which has expired and merged. */
export async function threeNights(options: WorldOptions = {}): Promise<Stage & { merged: PointId }> {
  const set = await stage(options);
  const { world, disk, backUp } = set;
  await world.disks.write(disk, 0, block(1, 6));
  const merged = await backUp(2);
  await world.disks.write(disk, B, block(2));
  await backUp(30);
  await world.disks.write(disk, 2 * B, block(3, 2));
  await backUp(30);
  world.clock.advance(3 * DAY_MS);
  await world.cleanUp();
  expect(live(world)).not.toContain(merged);
  set.images.delete(merged);
  return { ...set, merged };
}

export const ids = async (world: World): Promise<PointId[]> => (await world.points('vm')).map(({ point }) => point);

/** Jobs that have not ended. */
export async function openJobs(world: World): Promise<string[]> {
  const open: string[] = [];
  for await (const { key } of world.ports.catalog.openJobs.listAll()) open.push(key);
  return open;
}
