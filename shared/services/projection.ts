import type { Versioned } from '../catalog/catalog-table.ts';
import type { PointRow } from '../catalog/catalog.ts';
import { isBackupError } from '../domain/errors.ts';
import type { PointId } from '../domain/ids.ts';
import type { ChainRecord, Manifest } from '../format/documents.ts';
import type { Chain } from './chain.ts';
import type { Ports } from './ports.ts';
import { sumOfManifest } from './spans.ts';

/**
 * Brings an item's recovery-point rows up to a chain record: points that it names with another manifest get their new counts,
 * vault points that it no longer names go. Rows carry the record they were taken from and never go back to an older one, so
 * late and repeated projections do no harm. Rows are never created here: a point's row is there from its snapshot on. `written` need not
 * be read again.
 */
export async function project(
  ports: Ports,
  partition: string,
  chain: Chain,
  record: ChainRecord,
  written?: Written,
): Promise<void> {
  const named = new Map(record.points.map((entry) => [entry.point, entry]));
  for await (const { key, ...seen } of ports.catalog.points.list(partition)) {
    const { row } = seen;
    const entry = named.get(row.point);
    if (entry === undefined) {
      if (row.vault === 'Valid')
        await changePoint(ports, partition, key, (now) => (isOlder(now, record) ? 'remove' : undefined), seen);
    } else if (row.manifest !== entry.manifest && isOlder(row, record)) {
      const totals = written?.manifest === entry.manifest ? written.totals : totalsOf(await chain.manifest(entry));
      await changePoint(
        ports,
        partition,
        key,
        (now) =>
          isOlder(now, record)
            ? { ...now, ...totals, vault: 'Valid', manifest: entry.manifest, seq: record.seq }
            : undefined,
        seen,
      );
    }
  }
}

/** A manifest that the caller has just stored, and what its row says of it. */
export interface Written {
  readonly manifest: string;
  readonly totals: Totals;
}

const isOlder = (row: PointRow, record: ChainRecord): boolean => row.seq < record.seq;

type Totals = Pick<PointRow, 'dataBlocks' | 'clearedBlocks' | 'storedBytes'>;

/** Of a sum what a point's row says. */
export function totalsIn({ dataBlocks, clearedBlocks, storedBytes }: Totals): Totals {
  return { dataBlocks, clearedBlocks, storedBytes };
}

export const totalsOf = (manifest: Manifest): Totals => totalsIn(sumOfManifest(manifest));

/** Changes or removes a point's row under its ETag; an absent row is left alone. `seen` is the row as the caller has just read it. */
export async function changePoint(
  ports: Ports,
  partition: string,
  key: string,
  change: (row: PointRow) => PointRow | 'remove' | undefined,
  seen?: Versioned<PointRow>,
): Promise<void> {
  for (let known = seen; ; known = undefined) {
    const found = known ?? (await ports.catalog.points.get(partition, key));
    const next = found && change(found.row);
    if (found === undefined || next === undefined) return;
    try {
      if (next === 'remove') await ports.catalog.points.remove(partition, key, found.etag);
      else await ports.catalog.points.replace(partition, key, next, found.etag);
      return;
    } catch (error) {
      if (!isBackupError(error, 'EtagMismatch', 'RowNotFound')) throw error;
    }
  }
}

/** The rows of an item's points, in snapshot order. */
export async function readPoints(ports: Ports, partition: string): Promise<PointRow[]> {
  const rows: PointRow[] = [];
  for await (const { row } of ports.catalog.points.list(partition)) rows.push(row);
  return rows;
}

/** The row of one point; undefined when there is none. */
export async function readPoint(ports: Ports, partition: string, point: PointId): Promise<PointRow | undefined> {
  return (await ports.catalog.points.get(partition, point))?.row;
}
