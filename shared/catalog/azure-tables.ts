import { randomUUID } from 'node:crypto';
import { odata, TableClient, type TableEntity, type TableServiceClientOptions } from '@azure/data-tables';
import type { TokenCredential } from '@azure/identity';
import type { z } from 'zod';
import { BackupError } from '../domain/errors.ts';
import type { CatalogTable, KeyedRow, KeyRange } from './catalog-table.ts';
import {
  checkEtag,
  checkFits,
  checkKeys,
  checkRange,
  decodeRow,
  encodeRow,
  type RowPlace,
  WRITE_ID,
} from './row-codec.ts';

export interface AzureTableOptions<Row> {
  /** A connection string (the local platform), or the account's table endpoint and who asks. */
  readonly connection: string | { readonly endpoint: string; readonly credential: TokenCredential };
  /** 3 to 63 letters and digits, starting with a letter. */
  readonly tableName: string;
  /** Must accept what it yields: rows are checked with it on the way in and on the way out. */
  readonly schema: z.ZodType<Row>;
}

// The waits add up to 3 s at most, which outlasts a partition that moves to another server; longer trouble is the queue's to retry.
const CLIENT_OPTIONS: TableServiceClientOptions = {
  retryOptions: { maxRetries: 4, retryDelayInMs: 200, maxRetryDelayInMs: 5_000 },
};

// One call with all its retries; the SDK itself would wait for ever on a connection that went silent.
const CALL_TIMEOUT_MS = 30_000;

// The service's own greatest page.
const PAGE_ROWS = 1_000;

const withTimeout = (): { abortSignal: AbortSignal } => ({ abortSignal: AbortSignal.timeout(CALL_TIMEOUT_MS) });

function connect({ connection, tableName }: Pick<AzureTableOptions<unknown>, 'connection' | 'tableName'>): TableClient {
  if (!/^[A-Za-z][A-Za-z0-9]{2,62}$/.test(tableName))
    throw new BackupError(
      'SettingInvalid',
      `${tableName} is no table name: 3 to 63 letters and digits, a letter first`,
    );
  if (typeof connection !== 'string')
    return new TableClient(connection.endpoint, tableName, connection.credential, CLIENT_OPTIONS);
  try {
    return TableClient.fromConnectionString(connection, tableName, {
      ...CLIENT_OPTIONS,
      allowInsecureConnection: /TableEndpoint=http:|UseDevelopmentStorage/i.test(connection),
    });
  } catch (cause) {
    // The text itself holds a key and is not repeated.
    throw new BackupError('SettingInvalid', 'the connection string of the table account cannot be read', { cause });
  }
}

interface Failure {
  readonly status: number | undefined;
  readonly code: string | undefined;
}

function failureOf(error: unknown): Failure {
  const { statusCode, code, details } = error as {
    statusCode?: number;
    code?: string;
    details?: { odataError?: { code?: string }; code?: string };
  };
  return { status: statusCode, code: details?.odataError?.code ?? details?.code ?? code };
}

const isTableAbsent = (error: unknown): boolean => failureOf(error).code === 'TableNotFound';

/** The service's own word that there is no such row. A 404 of a proxy, or of another server, is no absence. */
const isRowAbsent = (error: unknown): boolean => isTableAbsent(error) || failureOf(error).code === 'ResourceNotFound';

function etagOf(answer: { readonly etag?: string }): string {
  if (answer.etag !== undefined) return answer.etag;
  throw new BackupError('StorageUnavailable', 'the table service answered a write without an etag');
}

/** What is left once the answers that a caller expects have been taken out: an outage, or a request that we got wrong. */
function translate(error: unknown, what: string): BackupError {
  if (error instanceof BackupError) return error;
  const { status, code } = failureOf(error);
  const message = `${what}: ${code ?? ''} ${error instanceof Error ? error.message.split('\n')[0] : ''}`;
  // Not allowed is passing trouble too: a new role assignment takes minutes to arrive.
  const ourFault = status !== undefined && status < 500 && ![401, 403, 404, 408, 409, 412, 429].includes(status);
  return new BackupError(ourFault ? 'InternalError' : 'StorageUnavailable', message, { cause: error });
}

/**
 * A catalog table in Azure Table Storage, made when the first row is written; a table that is not there yet has no rows.
 *
 * The SDK retries, and its retry of a write whose answer got lost is told "exists" or "changed" by its own first try. Each
 * write therefore carries an id, and such an answer is believed only if the row that is there does not carry it. So callers
 * may rely on this: RowAlreadyExists, EtagMismatch mean that the row there now is not the one this call wrote (another
 * writer may have replaced it since). StorageUnavailable from a write says nothing: it may have been done. A row that somebody
 * removes within the seconds of such a retry is inserted again.
 */
export function azureTable<Row extends object>(options: AzureTableOptions<Row>): CatalogTable<Row> {
  const { tableName: table, schema } = options;
  const client = connect(options);
  const describe = (place: RowPlace): string => `row (${place.partition}, ${place.key}) of table ${table}`;

  const entityOf = (place: RowPlace, row: Row): TableEntity<{ [WRITE_ID]: string }> => {
    checkFits(place, row, schema);
    const stored = Object.entries(encodeRow(place, row)).map(([name, value]) => [
      name,
      typeof value === 'number' ? { type: 'Double', value } : value,
    ]);
    const properties = Object.fromEntries(stored) as Record<string, unknown>;
    return { ...properties, [WRITE_ID]: randomUUID(), partitionKey: place.partition, rowKey: place.key };
  };

  const rowOf = (entity: Record<string, unknown>): KeyedRow<Row> => {
    const properties = Object.entries(entity).filter(
      ([name]) =>
        !name.startsWith('odata.') && !['partitionKey', 'rowKey', 'timestamp', 'etag', WRITE_ID].includes(name),
    );
    const [partition, key] = [String(entity['partitionKey']), String(entity['rowKey'])];
    const row = decodeRow({ table, partition, key }, Object.fromEntries(properties), schema);
    return { partition, key, row, etag: String(entity['etag']) };
  };

  const fetchEntity = async (place: RowPlace): Promise<Record<string, unknown> | undefined> => {
    try {
      return await client.getEntity(place.partition, place.key, withTimeout());
    } catch (error) {
      if (isRowAbsent(error)) return undefined;
      throw translate(error, `reading ${describe(place)}`);
    }
  };

  /** The etag of the row there now if `writeId` made it. */
  const ownEtag = async (place: RowPlace, writeId: string): Promise<string | undefined> => {
    const there = await fetchEntity(place);
    return there?.[WRITE_ID] === writeId ? String(there['etag']) : undefined;
  };

  const creatingTable = async <Answer>(write: () => Promise<Answer>): Promise<Answer> => {
    try {
      return await write();
    } catch (error) {
      if (!isTableAbsent(error)) throw error;
      await client.createTable(withTimeout());
      return await write();
    }
  };

  async function* entities(
    filter?: string,
    select?: readonly string[],
    pageRows = PAGE_ROWS,
  ): AsyncGenerator<Record<string, unknown>> {
    const queryOptions = {
      ...(filter === undefined ? {} : { filter }),
      ...(select === undefined ? {} : { select: ['PartitionKey', 'RowKey', ...select] }),
    };
    let continuationToken: string | undefined;
    do {
      // A listing of its own for each page, so that the time limit is the page's and not that of the whole.
      const pages = client
        .listEntities<Record<string, unknown>>({ queryOptions, ...withTimeout() })
        .byPage({ maxPageSize: pageRows, ...(continuationToken === undefined ? {} : { continuationToken }) });
      let page;
      try {
        page = await pages.next();
      } catch (error) {
        if (isTableAbsent(error)) return;
        throw translate(error, `listing table ${table}`);
      }
      if (page.done === true) return;
      yield* page.value;
      ({ continuationToken } = page.value);
    } while (continuationToken !== undefined);
  }

  /** The entities of a range of a partition, in order of key. */
  async function* within(
    partition: string,
    asked: string | KeyRange | undefined,
    select?: readonly string[],
  ): AsyncGenerator<Record<string, unknown>> {
    const { prefix = '', from = '', to, top = Infinity } = checkRange({ table, partition }, asked);
    const least = prefix > from ? prefix : from;
    const ends = [to, prefixEnd(prefix)].filter((end) => end !== undefined).sort();
    const filter = [
      odata`PartitionKey eq ${partition}`,
      ...(least === '' ? [] : [odata`RowKey ge ${least}`]),
      ...(ends[0] === undefined ? [] : [odata`RowKey lt ${ends[0]}`]),
    ].join(' and ');
    let left = top;
    for await (const entity of entities(filter, select, Math.min(PAGE_ROWS, top))) {
      if (!String(entity['rowKey']).startsWith(prefix)) return; // in order: none that follows can start so either
      yield entity;
      if (--left === 0) return;
    }
  }

  return {
    async get(partition, key) {
      const place = { table, partition, key };
      checkKeys(place);
      const entity = await fetchEntity(place);
      if (entity === undefined) return undefined;
      const { row, etag } = rowOf(entity);
      return { row, etag };
    },

    async insert(partition, key, row) {
      const place = { table, partition, key };
      const entity = entityOf(place, row);
      try {
        return etagOf(await creatingTable(() => client.createEntity(entity, withTimeout())));
      } catch (error) {
        if (failureOf(error).code !== 'EntityAlreadyExists') throw translate(error, `inserting ${describe(place)}`);
        const own = await ownEtag(place, entity[WRITE_ID]);
        if (own !== undefined) return own;
        throw new BackupError('RowAlreadyExists', `${describe(place)} is there already`, { cause: error });
      }
    },

    async replace(partition, key, row, etag) {
      const place = { table, partition, key };
      checkEtag(place, etag);
      const entity = entityOf(place, row);
      try {
        return etagOf(await client.updateEntity(entity, 'Replace', { ...withTimeout(), etag }));
      } catch (error) {
        if (isRowAbsent(error))
          throw new BackupError('RowNotFound', `${describe(place)} is not there`, { cause: error });
        if (failureOf(error).status !== 412) throw translate(error, `replacing ${describe(place)}`);
        const own = await ownEtag(place, entity[WRITE_ID]);
        if (own !== undefined) return own;
        throw new BackupError('EtagMismatch', `${describe(place)} was changed by another writer`, { cause: error });
      }
    },

    async upsert(partition, key, row) {
      const place = { table, partition, key };
      const entity = entityOf(place, row);
      try {
        await creatingTable(() => client.upsertEntity(entity, 'Replace', withTimeout()));
      } catch (error) {
        throw translate(error, `writing ${describe(place)}`);
      }
    },

    async remove(partition, key, etag) {
      const place = { table, partition, key };
      checkKeys(place);
      if (etag !== undefined) checkEtag(place, etag);
      try {
        await client.deleteEntity(partition, key, { ...withTimeout(), ...(etag === undefined ? {} : { etag }) });
      } catch (error) {
        if (isRowAbsent(error)) return;
        if (failureOf(error).status !== 412) throw translate(error, `removing ${describe(place)}`);
        throw new BackupError('EtagMismatch', `${describe(place)} was changed by another writer`, { cause: error });
      }
    },

    async *list(partition, range) {
      for await (const entity of within(partition, range)) yield rowOf(entity);
    },

    async *listColumns<Column extends keyof Row>(
      partition: string,
      columns: readonly Column[],
      range?: string | KeyRange,
    ) {
      const names = columns.map(String);
      for await (const entity of within(partition, range, names)) {
        // The service answers null for a column that a row has not.
        const found = names.filter((name) => entity[name] !== undefined && entity[name] !== null);
        const row = Object.fromEntries(found.map((name) => [name, entity[name]])) as Pick<Row, Column>;
        yield { partition, key: String(entity['rowKey']), row };
      }
    },

    async *listAll() {
      for await (const entity of entities()) yield rowOf(entity);
    },
  };
}

/** The least key above all that start with `prefix`; undefined when no well-formed text says it, and a listing has to stop itself. */
function prefixEnd(prefix: string): string | undefined {
  const last = prefix.charCodeAt(prefix.length - 1);
  if (prefix === '' || last === 0xffff) return undefined;
  const end = prefix.slice(0, -1) + String.fromCharCode(last + 1);
  return end.isWellFormed() ? end : undefined;
}
