import type { z } from 'zod';
import type { CatalogTable, KeyedRow, KeyRange } from '../../shared/catalog/catalog-table.ts';
import {
  checkEtag,
  checkFits,
  checkKeys,
  checkRange,
  decodeRow,
  encodeRow,
  type StoredRow,
} from '../../shared/catalog/row-codec.ts';
import { BackupError } from '../../shared/domain/errors.ts';

interface Version<Row> {
  /** As it reads from the table; nobody else ever holds it. */
  readonly row: Row;
  readonly etag: string;
}

const ascending = (names: Iterable<string>): string[] => [...names].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

/**
 * A catalog table in memory. Rows go through the form in which the real table keeps them, so the same rows are refused, and every
 * reader gets its own copy, so no caller can reach into another's row. Each call takes effect at once, before its promise settles; a listing sees each row as it is when
 * the listing comes to it.
 */
export function memoryTable<Row extends object>(
  options: { readonly tableName?: string; readonly schema?: z.ZodType<Row> } = {},
): CatalogTable<Row> {
  const { tableName: table = 'memory', schema } = options;
  const partitions = new Map<string, Map<string, Version<Row>>>();
  let versions = 0;

  const find = (partition: string, key: string): Version<Row> | undefined => {
    checkKeys({ table, partition, key });
    return partitions.get(partition)?.get(key);
  };
  const encode = (partition: string, key: string, row: Row): StoredRow => {
    const place = { table, partition, key };
    if (schema !== undefined) checkFits(place, row, schema);
    return encodeRow(place, row);
  };
  const write = (partition: string, key: string, stored: StoredRow): string => {
    versions += 1;
    const etag = `W/"${versions}"`;
    const rows = partitions.get(partition) ?? new Map<string, Version<Row>>();
    const row = decodeRow({ table, partition, key }, stored, schema);
    partitions.set(partition, rows.set(key, { row, etag }));
    return etag;
  };
  const fail = (code: 'RowNotFound' | 'RowAlreadyExists' | 'EtagMismatch', partition: string, key: string): never => {
    throw new BackupError(code, `row (${partition}, ${key}) of table ${table}: ${code}`);
  };

  async function* rows(partition: string, range: KeyRange = {}): AsyncGenerator<KeyedRow<Row>> {
    const { prefix = '', from = '', to, top = Infinity } = range;
    const keys = ascending(partitions.get(partition)?.keys() ?? []).filter(
      (key) => key.startsWith(prefix) && key >= from && (to === undefined || key < to),
    );
    let left = top;
    for (const key of keys) {
      const version = partitions.get(partition)?.get(key);
      if (version === undefined) continue;
      yield {
        partition,
        key,
        row: copyOf(version.row),
        etag: version.etag,
      };
      if (--left === 0) return;
    }
  }

  return {
    async get(partition, key) {
      const version = find(partition, key);
      if (version === undefined) return undefined;
      return { row: copyOf(version.row), etag: version.etag };
    },
    async insert(partition, key, row) {
      const stored = encode(partition, key, row);
      if (find(partition, key) !== undefined) fail('RowAlreadyExists', partition, key);
      return write(partition, key, stored);
    },
    async replace(partition, key, row, etag) {
      checkEtag({ table, partition, key }, etag);
      const stored = encode(partition, key, row);
      const version = find(partition, key);
      if (version === undefined) return fail('RowNotFound', partition, key);
      if (version.etag !== etag) fail('EtagMismatch', partition, key);
      return write(partition, key, stored);
    },
    async upsert(partition, key, row) {
      write(partition, key, encode(partition, key, row));
    },
    async remove(partition, key, etag) {
      if (etag !== undefined) checkEtag({ table, partition, key }, etag);
      const version = find(partition, key);
      if (version === undefined) return;
      if (etag !== undefined && version.etag !== etag) fail('EtagMismatch', partition, key);
      partitions.get(partition)?.delete(key);
    },
    async *list(partition, range) {
      yield* rows(partition, checkRange({ table, partition }, range));
    },
    async *listColumns<Column extends keyof Row>(
      partition: string,
      columns: readonly Column[],
      range?: string | KeyRange,
    ) {
      for await (const { key, row } of rows(partition, checkRange({ table, partition }, range))) {
        const plain = columns.filter((name) => row[name] !== undefined && typeof row[name] !== 'object');
        const picked = Object.fromEntries(plain.map((name) => [name, row[name]])) as Pick<Row, Column>;
        yield { partition, key, row: picked };
      }
    },
    async *listAll() {
      for (const partition of ascending(partitions.keys())) yield* rows(partition);
    },
  };
}

/** A copy of a value as JSON has them. */
function copyOf<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((each: unknown) => copyOf(each)) as Value;
  const copy: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(value)) copy[name] = copyOf(property as unknown);
  return copy as Value;
}
