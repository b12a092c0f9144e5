/** A row and the version it was read at. */
export interface Versioned<Row> {
  readonly row: Row;
  readonly etag: string;
}

/** A row together with its keys, as listings give it. */
export interface KeyedRow<Row> extends Versioned<Row> {
  readonly partition: string;
  readonly key: string;
}

/** Which rows of a partition a listing gives. Keys are compared by UTF-16 code units. */
export interface KeyRange {
  /** Keys that start so. */
  readonly prefix?: string | undefined;
  /** The least key, itself included. */
  readonly from?: string | undefined;
  /** The key below which all are. */
  readonly to?: string | undefined;
  /** The first so many rows: not many more are read than that. */
  readonly top?: number | undefined;
}

/** The columns that can be listed alone: texts, numbers and booleans. */
export type PlainColumn<Row> = {
  [Column in keyof Row & string]-?: Exclude<Row[Column], undefined> extends string | number | boolean ? Column : never;
}[keyof Row & string];

/** Some columns of a row, as they stand in the table: not checked by the table's schema, and without an ETag. */
export interface ListedColumns<Row, Column extends keyof Row> {
  readonly partition: string;
  readonly key: string;
  readonly row: Pick<Row, Column>;
}

/**
 * One table of the catalog: rows under (partition, key), guarded by ETags. Every implementation passes catalogTableContract.
 *
 * Keys: 1 to 512 characters; `/ \ # ?` and control characters are refused. Plain values stay queryable properties; objects,
 * arrays and null are stored as JSON text, however long; a property that is undefined is left out. What Azure would refuse is
 * refused as InvalidRequest, with the property as target: a text over 32,000 characters, an entity over 1 MiB, more than 251
 * properties (of Azure's 252 one is the adapter's), a name that is no C# identifier in ASCII, belongs to the service or
 * ends in `_json` or `_json2` and so on.
 *
 * An absent row is never confused with an outage, which is StorageUnavailable: from a write it may come after the write was
 * done. RowAlreadyExists and EtagMismatch mean that the row there now is not the one that this call wrote, even if an answer
 * was lost and the call tried again inside. A row that cannot be read as it should is DocumentCorrupt.
 */
export interface CatalogTable<Row> {
  /** Resolves undefined when absent. */
  get(partition: string, key: string): Promise<Versioned<Row> | undefined>;
  /** @throws BackupError RowAlreadyExists */
  insert(partition: string, key: string, row: Row): Promise<string>;
  /** Replaces the whole row if it still has `etag`; resolves the new etag. @throws BackupError EtagMismatch, RowNotFound */
  replace(partition: string, key: string, row: Row, etag: string): Promise<string>;
  /** Replaces or creates, whatever was there. Only for rows that one writer owns or that any writer would write alike. */
  upsert(partition: string, key: string, row: Row): Promise<void>;
  /** Deletes the row; absent is fine. With `etag` only that version. @throws BackupError EtagMismatch */
  remove(partition: string, key: string, etag?: string): Promise<void>;
  /** Yields a partition's rows in ascending order of key, a page at a time; `range`, or the prefix of keys, narrows what is read. */
  list(partition: string, range?: string | KeyRange): AsyncIterable<KeyedRow<Row>>;
  /** As `list`, with these columns alone: less is read. */
  listColumns<Column extends PlainColumn<Row>>(
    partition: string,
    columns: readonly Column[],
    range?: string | KeyRange,
  ): AsyncIterable<ListedColumns<Row, Column>>;
  /** Yields all rows, by partition and key. */
  listAll(): AsyncIterable<KeyedRow<Row>>;
}
