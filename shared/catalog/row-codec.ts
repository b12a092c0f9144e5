import type { z } from 'zod';
import { BackupError } from '../domain/errors.ts';
import type { KeyRange } from './catalog-table.ts';

/** What a table's property holds. Numbers are doubles there, exact for integers up to 2^53 - 1: a byte count outgrows Int32. */
export type StoredValue = string | number | boolean;
export type StoredRow = Readonly<Record<string, StoredValue>>;

/** Where a row stands; messages name it. */
export interface RowPlace {
  readonly table: string;
  readonly partition: string;
  readonly key: string;
}

/** The property in which an adapter marks a row with the write that made it. */
export const WRITE_ID = 'strata_write';

const JSON_SUFFIX = '_json';
/** Of JSON text that is longer than a property: `set_json`, `set_json2`, ... */
const JSON_PIECE = /_json([1-9][0-9]*)?$/;
const MAX_KEY_CHARS = 512; // 1 KiB of UTF-16
const MAX_PROPERTY_NAME_CHARS = 255;
const MAX_PROPERTY_CHARS = 32_000; // Azure's limit is 64 KiB of UTF-16, so 32,768
const MAX_ENTITY_BYTES = 1_048_576;
const MAX_PROPERTIES = 252; // beside the two keys and the time stamp
const WRITE_ID_CHARS = 36;
// Names that the service keeps for itself, and those that its SDK turns into them.
const SYSTEM_NAMES = ['PartitionKey', 'RowKey', 'Timestamp', 'partitionKey', 'rowKey', 'timestamp', 'etag', WRITE_ID];

function refuse(place: RowPlace, target: string, problem: string): never {
  const row = `${JSON.stringify(place.partition.slice(0, 80))}, ${JSON.stringify(place.key.slice(0, 80))}`;
  throw new BackupError('InvalidRequest', `table ${place.table}, row (${row}): ${problem}`, { target });
}

/** @throws BackupError InvalidRequest when Azure would refuse `key`, or would not give it back as it was */
function checkKey(place: RowPlace, target: 'partition' | 'key'): void {
  const key = place[target];
  if (key.length === 0 || key.length > MAX_KEY_CHARS)
    refuse(place, target, `a ${target} has 1 to ${MAX_KEY_CHARS} characters, this one ${key.length}`);
  // oxlint-disable-next-line no-control-regex -- these are the characters that the service forbids
  const bad = /[/\\#?\u0000-\u001f\u007f-\u009f]/.exec(key);
  if (bad !== null) refuse(place, target, `a ${target} must not hold the character ${JSON.stringify(bad[0])}`);
  if (!key.isWellFormed()) refuse(place, target, `a ${target} must not hold half of a surrogate pair`);
}

/** @throws BackupError InvalidRequest when the keys are not ones that Azure takes: see CatalogTable */
export function checkKeys(place: RowPlace): void {
  checkKey(place, 'partition');
  checkKey(place, 'key');
}

/** A listing's range, as keys that a listing can be asked for. @throws BackupError InvalidRequest */
export function checkRange({ table, partition }: Omit<RowPlace, 'key'>, range: string | KeyRange = {}): KeyRange {
  const asked = typeof range === 'string' ? { prefix: range } : range;
  const { prefix, from, to, top } = asked;
  checkKeys({ table, partition, key: '-' });
  for (const key of [prefix, from, to]) if (key !== undefined && key !== '') checkKeys({ table, partition, key });
  if (top !== undefined && !(Number.isSafeInteger(top) && top > 0))
    refuse({ table, partition, key: '-' }, 'top', `the first ${top} rows are none: expected a whole number above 0`);
  return asked;
}

/** @throws BackupError InvalidRequest for `*`, which would match any version */
export function checkEtag(place: RowPlace, etag: string): void {
  if (etag === '*' || etag === '')
    refuse(
      place,
      'etag',
      `an etag names one version, ${JSON.stringify(etag)} does not; use upsert or remove without one`,
    );
}

/** JSON text of `value`. What JSON would change or drop in silence is refused, save properties that are undefined. */
function jsonText(place: RowPlace, name: string, value: unknown): string {
  const check = (inner: unknown, path: string): void => {
    if (inner === null || typeof inner === 'string' || typeof inner === 'boolean') return;
    if (typeof inner === 'number') {
      if (!Number.isFinite(inner)) refuse(place, name, `${path} is ${inner}, which JSON cannot hold`);
    } else if (Array.isArray(inner)) {
      inner.forEach((entry, index) => check(entry, `${path}[${index}]`));
    } else if (typeof inner === 'object') {
      const prototype: unknown = Object.getPrototypeOf(inner);
      if (prototype !== Object.prototype && prototype !== null)
        refuse(place, name, `${path} is a ${inner.constructor.name}; a row holds plain values, arrays and objects`);
      for (const [key, entry] of Object.entries(inner)) if (entry !== undefined) check(entry, `${path}.${key}`);
    } else refuse(place, name, `${path} is ${typeof inner}, which JSON cannot hold`);
  };
  check(value, name);
  return JSON.stringify(value);
}

function storedProperties(place: RowPlace, name: string, value: unknown): [string, StoredValue][] {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
    refuse(
      place,
      name,
      `${JSON.stringify(name)} is no property name: letters, digits and _, not starting with a digit`,
    );
  if (SYSTEM_NAMES.includes(name)) refuse(place, name, `the property name ${name} belongs to the table service`);
  if (JSON_PIECE.test(name))
    refuse(place, name, `the property name ${name} ends in ${JSON_SUFFIX} or that and a number, which marks JSON`);
  if (typeof value === 'boolean') return [[name, value]];
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) refuse(place, name, `${name} is ${value}, not a finite number`);
    return [[name, value]];
  }
  const plain = typeof value === 'string';
  const text = plain ? value : jsonText(place, name, value);
  if (plain && text.length > MAX_PROPERTY_CHARS)
    refuse(place, name, `${name} has ${text.length} characters, ${MAX_PROPERTY_CHARS} are allowed in a property`);
  if (!text.isWellFormed()) refuse(place, name, `${name} holds half of a surrogate pair, which UTF-8 cannot carry`);
  if (plain) return [[name, text]];
  return pieces(text).map((piece, i) => [`${name}${JSON_SUFFIX}${i === 0 ? '' : i + 1}`, piece]);
}

/** `text` in pieces that a property holds, none of which ends within a surrogate pair. */
function pieces(text: string): string[] {
  const found: string[] = [];
  for (let from = 0; from < text.length; from += found.at(-1)!.length) {
    const piece = text.slice(from, from + MAX_PROPERTY_CHARS);
    found.push(piece.isWellFormed() ? piece : piece.slice(0, -1));
  }
  return found;
}

/** Bytes that Azure counts for an entity, by the service's published formula; names and strings count as UTF-16. */
function entityBytes(place: RowPlace, stored: StoredRow): number {
  const base = 4 + (place.partition.length + place.key.length) * 2;
  return Object.entries(stored).reduce((sum, [name, value]) => {
    const valueBytes = typeof value === 'string' ? value.length * 2 + 4 : typeof value === 'number' ? 8 : 1;
    return sum + 8 + name.length * 2 + valueBytes;
  }, base);
}

/**
 * A row as the table holds it: plain values as they are; arrays, objects and null as JSON text in `<property>_json`, and where that is
 * too long for a property in further ones, `<property>_json2` and so on; what is undefined is left out. The limits counted include the room that an adapter needs for WRITE_ID.
 * @throws BackupError InvalidRequest for keys and rows that Azure would refuse, with the property as target
 */
export function encodeRow(place: RowPlace, row: object): StoredRow {
  checkKeys(place);
  const stored = Object.fromEntries(
    Object.entries(row)
      .filter(([, value]) => value !== undefined)
      .flatMap(([name, value]) => storedProperties(place, name, value)),
  );
  for (const name of Object.keys(stored))
    if (name.length > MAX_PROPERTY_NAME_CHARS)
      refuse(
        place,
        name,
        `the property name ${name.slice(0, 40)}... is stored with ${name.length} characters, over 255`,
      );
  const count = Object.keys(stored).length + 1;
  if (count > MAX_PROPERTIES)
    refuse(place, 'row', `the row has ${count - 1} properties, ${MAX_PROPERTIES - 1} are allowed`);
  const bytes = entityBytes(place, { ...stored, [WRITE_ID]: '-'.repeat(WRITE_ID_CHARS) });
  if (bytes > MAX_ENTITY_BYTES) refuse(place, 'row', `the row takes ${bytes} bytes, ${MAX_ENTITY_BYTES} are allowed`);
  return stored;
}

function corrupt(place: RowPlace, field: string, problem: string, cause?: unknown): BackupError {
  const where = `table ${place.table}, row (${JSON.stringify(place.partition)}, ${JSON.stringify(place.key)}), field ${field}`;
  return new BackupError('DocumentCorrupt', `${where}: ${problem}`, { target: field, cause });
}

function parseAgainst<Row>(schema: z.ZodType<Row>, value: unknown): { row: Row } | { field: string; problem: string } {
  const parsed = schema.safeParse(value);
  if (parsed.success) return { row: parsed.data };
  const issue = parsed.error.issues[0];
  return { field: issue?.path.join('.') || '(row)', problem: issue?.message ?? 'does not fit the schema' };
}

/** Refuses to write a row that could not be read back. @throws BackupError InvalidRequest */
export function checkFits<Row>(place: RowPlace, row: Row, schema: z.ZodType<Row>): void {
  const result = parseAgainst(schema, row);
  if ('field' in result) refuse(place, result.field, `field ${result.field}: ${result.problem}`);
}

/**
 * The reverse of encodeRow, by shape: `<property>_json` is parsed as JSON. Without a schema the row is taken at its word.
 * @throws BackupError DocumentCorrupt naming table, keys and field when the JSON or the row does not read as it should
 */
export function decodeRow<Row>(
  place: RowPlace,
  stored: Readonly<Record<string, unknown>>,
  schema?: z.ZodType<Row>,
): Row {
  const properties = Object.entries(stored).flatMap(([name, value]): [string, unknown][] => {
    if (!JSON_PIECE.test(name)) return [[name, value]];
    if (typeof value !== 'string') throw corrupt(place, name, `expected JSON text, found ${typeof value}`);
    if (!name.endsWith(JSON_SUFFIX)) return []; // read with the first piece
    let text = value;
    for (let i = 2; typeof stored[`${name}${i}`] === 'string'; i++) text += String(stored[`${name}${i}`]);
    try {
      return [[name.slice(0, -JSON_SUFFIX.length), JSON.parse(text)]];
    } catch (cause) {
      throw corrupt(place, name, 'is not JSON', cause);
    }
  });
  const row: unknown = Object.fromEntries(properties);
  if (schema === undefined) return row as Row;
  const result = parseAgainst(schema, row);
  if ('field' in result) throw corrupt(place, result.field, result.problem);
  return result.row;
}
