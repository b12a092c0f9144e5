import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { CatalogTable, KeyedRow, KeyRange } from '../../shared/catalog/catalog-table.ts';
import type { ErrorCode } from '../../shared/domain/errors.ts';
import { collect } from '../support/collect.ts';

/** A row with a property of each kind, and whatever else a test wants to try. */
export const contractSchema = z.looseObject({
  text: z.string(),
  bytes: z.number().optional(),
  flag: z.boolean().optional(),
  list: z.array(z.unknown()).optional(),
  nested: z.record(z.string(), z.unknown()).nullish(),
});
export type ContractRow = z.infer<typeof contractSchema>;

const failsWith = (code: ErrorCode, target?: string) =>
  expect.objectContaining({ name: 'BackupError', code, ...(target === undefined ? {} : { target }) });

const keys = async (rows: AsyncIterable<KeyedRow<ContractRow>>): Promise<string[]> =>
  (await collect(rows)).map(({ key }) => key);

/** Runs tasks with at most 16 in flight. */
async function spread(count: number, task: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await task(next++);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

/** What every CatalogTable does. `makeTable` gives an empty table that nobody else uses. */
export function catalogTableContract(name: string, makeTable: () => CatalogTable<ContractRow>): void {
  describe(`catalog table: ${name}`, () => {
    describe('reading and writing', () => {
      it('a table that was never written is empty', async () => {
        const table = makeTable();
        expect(await table.get('p', 'k')).toBeUndefined();
        expect(await keys(table.list('p'))).toEqual([]);
        expect(await keys(table.listAll())).toEqual([]);
        await table.remove('p', 'k');
        await expect(table.replace('p', 'k', { text: 'a' }, 'W/"1"')).rejects.toEqual(failsWith('RowNotFound'));
      });

      it('gives back what was inserted, with the etag that insert told', async () => {
        const table = makeTable();
        const row = {
          text: 'a',
          bytes: 5,
          flag: false,
          list: [1, 'two', { three: null }],
          nested: { deep: { er: [] } },
        };
        const etag = await table.insert('p', 'k', row);
        expect(await table.get('p', 'k')).toEqual({ row, etag });
        expect(await collect(table.list('p'))).toEqual([{ partition: 'p', key: 'k', row, etag }]);
      });

      it('writers that create the table at the same time all succeed', async () => {
        const table = makeTable();
        await spread(8, (n) => table.insert('p', `k${n}`, { text: 'a' }));
        expect(await keys(table.listAll())).toHaveLength(8);
      });

      it('refuses a second insert and leaves the first', async () => {
        const table = makeTable();
        await table.insert('p', 'k', { text: 'first' });
        await expect(table.insert('p', 'k', { text: 'second' })).rejects.toEqual(failsWith('RowAlreadyExists'));
        await expect(table.insert('p', 'k', { text: 'first' })).rejects.toEqual(failsWith('RowAlreadyExists'));
        expect((await table.get('p', 'k'))?.row).toEqual({ text: 'first' });
      });

      it('upsert creates, and replaces the whole row', async () => {
        const table = makeTable();
        await table.upsert('p', 'k', { text: 'a', bytes: 1, list: [1] });
        const before = await table.get('p', 'k');
        await table.upsert('p', 'k', { text: 'b' });
        const after = await table.get('p', 'k');
        expect(after?.row).toEqual({ text: 'b' });
        expect(after?.etag).not.toBe(before?.etag);
      });

      it('nothing that a caller does to an object later reaches the table', async () => {
        const table = makeTable();
        const row = { text: 'a', list: [{ n: 1 }] };
        await table.insert('p', 'k', row);
        (row.list[0] as { n: number }).n = 2;
        const read = (await table.get('p', 'k'))!;
        (read.row.list as { n: number }[])[0]!.n = 3;
        expect((await table.get('p', 'k'))?.row).toEqual({ text: 'a', list: [{ n: 1 }] });
      });
    });

    describe('etags', () => {
      it('replace needs the newest etag and tells the next one', async () => {
        const table = makeTable();
        const first = await table.insert('p', 'k', { text: '1', bytes: 1 });
        const second = await table.replace('p', 'k', { text: '2' }, first);
        expect(second).not.toBe(first);
        await expect(table.replace('p', 'k', { text: '3' }, first)).rejects.toEqual(failsWith('EtagMismatch'));
        expect(await table.get('p', 'k')).toEqual({ row: { text: '2' }, etag: second });
        await table.replace('p', 'k', { text: '4' }, second);
      });

      it('replacing a row with equal content is a new version all the same', async () => {
        const table = makeTable();
        const first = await table.insert('p', 'k', { text: 'same' });
        await table.replace('p', 'k', { text: 'same' }, first);
        await expect(table.replace('p', 'k', { text: 'same' }, first)).rejects.toEqual(failsWith('EtagMismatch'));
      });

      it('of many replaces with one etag exactly one wins', async () => {
        const table = makeTable();
        const etag = await table.insert('p', 'k', { text: 'start' });
        const results = await Promise.allSettled(
          Array.from({ length: 12 }, (_, n) => table.replace('p', 'k', { text: `${n}` }, etag)),
        );
        const won = results.findIndex(({ status }) => status === 'fulfilled');
        const lost = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
        expect(lost).toEqual(Array.from({ length: 11 }, () => failsWith('EtagMismatch')));
        expect((await table.get('p', 'k'))?.row).toEqual({ text: `${won}` });
      });

      it('of many inserts of one row exactly one wins', async () => {
        const table = makeTable();
        const results = await Promise.allSettled(
          Array.from({ length: 12 }, (_, n) => table.insert('p', 'k', { text: `${n}` })),
        );
        const won = results.findIndex(({ status }) => status === 'fulfilled');
        expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
        expect((await table.get('p', 'k'))?.row).toEqual({ text: `${won}` });
      });

      it('counters raised by a read-replace loop lose no step', async () => {
        const table = makeTable();
        await table.insert('p', 'k', { text: 'counter', bytes: 0 });
        const raise = async (): Promise<void> => {
          for (;;) {
            const { row, etag } = (await table.get('p', 'k'))!;
            const done = await table.replace('p', 'k', { ...row, bytes: (row.bytes ?? 0) + 1 }, etag).then(
              () => true,
              () => false,
            );
            if (done) return;
          }
        };
        await Promise.all(Array.from({ length: 5 }, raise));
        expect((await table.get('p', 'k'))?.row.bytes).toBe(5);
      });

      it('remove with a stale etag leaves the row, with the right one or with none it goes', async () => {
        const table = makeTable();
        const stale = await table.insert('p', 'k', { text: '1' });
        const fresh = await table.replace('p', 'k', { text: '2' }, stale);
        await expect(table.remove('p', 'k', stale)).rejects.toEqual(failsWith('EtagMismatch'));
        expect((await table.get('p', 'k'))?.row.text).toBe('2');
        await table.remove('p', 'k', fresh);
        expect(await table.get('p', 'k')).toBeUndefined();
        await table.remove('p', 'k', fresh);
        await table.remove('p', 'k');
        await expect(table.replace('p', 'k', { text: '3' }, fresh)).rejects.toEqual(failsWith('RowNotFound'));
      });

      it('an etag of an earlier row under the same keys is stale', async () => {
        const table = makeTable();
        const first = await table.insert('p', 'k', { text: 'same' });
        await table.remove('p', 'k', first);
        await table.insert('p', 'k', { text: 'same' });
        await expect(table.replace('p', 'k', { text: '2' }, first)).rejects.toEqual(failsWith('EtagMismatch'));
      });

      it('the etag that matches everything is refused', async () => {
        const table = makeTable();
        await table.insert('p', 'k', { text: '1' });
        await expect(table.replace('p', 'k', { text: '2' }, '*')).rejects.toEqual(failsWith('InvalidRequest', 'etag'));
        await expect(table.remove('p', 'k', '*')).rejects.toEqual(failsWith('InvalidRequest', 'etag'));
      });
    });

    describe('listing', () => {
      it('more than a page, in order of key, whole and by prefix', async () => {
        const table = makeTable();
        const names = Array.from({ length: 1_050 }, (_, n) => `a-${String((n * 7_919) % 1_050).padStart(4, '0')}`);
        await spread(names.length, (n) => table.upsert('big', names[n]!, { text: `${n}` }));
        await table.insert('bigger', 'a-0000', { text: 'another partition' });
        const sorted = names.toSorted();
        expect(await keys(table.list('big'))).toEqual(sorted);
        expect(await keys(table.list('big', 'a-00'))).toEqual(sorted.slice(0, 100));
        expect(await keys(table.list('big', 'a-104'))).toEqual(sorted.slice(1_040));
        expect(await keys(table.list('big', 'b'))).toEqual([]);
        expect(await keys(table.listAll())).toEqual([...sorted, 'a-0000']);
      });

      it('orders by UTF-16 code units: digits, capitals, small letters', async () => {
        const table = makeTable();
        const names = ['10', '9', 'A', 'Z', '_', 'a', 'a b', 'a!', 'a-', 'a.', 'aa', 'z', 'é', '日'];
        await spread(names.length, (n) => table.insert('p', names[names.length - 1 - n]!, { text: '' }));
        expect(await keys(table.list('p'))).toEqual(names.toSorted());
        const other = ['P', 'o', 'p!', 'pp'];
        await spread(other.length, (n) => table.insert(other[n]!, 'k', { text: '' }));
        const partitions = (await collect(table.listAll())).map(({ partition }) => partition);
        expect([...new Set(partitions)]).toEqual(['p', ...other].toSorted());
      });

      it.each(['a', "it's", 'a%', 'z\u{1f600}', '\u{103ff}', '\uffff', 'ÿ'])('narrows to prefix %j', async (prefix) => {
        const table = makeTable();
        const inside = [prefix, `${prefix}!`, `${prefix}z`, `${prefix}\uffee`];
        const outside = ['Z', '`', 'b', `x${prefix}`, '\u{1f601}', '\ue000'];
        for (const key of [...inside, ...outside]) await table.upsert('p', key, { text: key });
        expect(await keys(table.list('p', prefix))).toEqual(inside.toSorted());
      });

      it('a range of keys: the first is in, the last is not', async () => {
        const table = makeTable();
        const names = ['A', 'a', 'a|1', 'a|2', 'a|3', 'b|1', 'b|2', "it's", 'é'];
        await spread(names.length, (n) => table.insert('p', names[n]!, { text: names[n]! }));
        await table.insert('q', 'a|2', { text: 'another partition' });
        const within = (range: KeyRange): Promise<string[]> => keys(table.list('p', range));
        expect(await within({})).toEqual(names.toSorted());
        expect(await within({ from: 'a|2' })).toEqual(names.slice(3));
        expect(await within({ to: 'a|2' })).toEqual(names.slice(0, 3));
        expect(await within({ from: 'a|2', to: 'b|2' })).toEqual(names.slice(3, 6));
        expect(await within({ from: 'a|2', to: 'a|2' })).toEqual([]);
        expect(await within({ from: "it's", to: 'z' })).toEqual(["it's"]);
        expect(await within({ prefix: 'a|', from: 'a|2' })).toEqual(['a|2', 'a|3']);
        expect(await within({ prefix: 'a|', from: 'A', to: 'a|3' })).toEqual(['a|1', 'a|2']);
        expect(await within({ prefix: 'a|', from: 'b' })).toEqual([]);
      });

      it.each([1, 3, 1_000, 1_020, 5_000])('the first %d rows, or all that there are', async (top) => {
        const table = makeTable();
        const names = Array.from({ length: 1_030 }, (_, n) => `k${String(n).padStart(4, '0')}`);
        await spread(names.length, (n) => table.upsert('p', names[n]!, { text: '' }));
        expect(await keys(table.list('p', { top }))).toEqual(names.slice(0, top));
        expect(await keys(table.list('p', { from: 'k0010', top }))).toEqual(names.slice(10, 10 + top));
      });

      it.each([0, -1, 1.5, Number.NaN])('refuses the first %d rows', async (top) =>
        expect(keys(makeTable().list('p', { top }))).rejects.toEqual(failsWith('InvalidRequest', 'top')),
      );

      it('columns alone, of which a row may lack some; arrays and objects are none', async () => {
        const table = makeTable() as unknown as CatalogTable<{ text: string; bytes?: number; flag?: boolean }>;
        await table.insert('p', 'a', { text: 'x', bytes: 2 ** 40 + 1, flag: false, list: [1] } as { text: string });
        await table.insert('p', 'b', { text: '' });
        const listed = await collect(table.listColumns('p', ['text', 'flag', 'list' as 'bytes'], { top: 5 }));
        expect(listed).toStrictEqual([
          { partition: 'p', key: 'a', row: { text: 'x', flag: false } },
          { partition: 'p', key: 'b', row: { text: '' } },
        ]);
        const [first, ...others] = await collect(table.listColumns('p', ['bytes'], { from: 'a', to: 'b' }));
        expect([first, others]).toStrictEqual([{ partition: 'p', key: 'a', row: { bytes: 2 ** 40 + 1 } }, []]);
        expect(await collect(table.listColumns('p', ['text'], 'b'))).toHaveLength(1);
        expect(await collect(table.listColumns('none', ['text']))).toEqual([]);
      });

      it('rows removed and added while listing do no harm', async () => {
        const table = makeTable();
        await spread(20, (n) => table.insert('p', `k${String(n).padStart(2, '0')}`, { text: '' }));
        const seen = [];
        for await (const { key, etag } of table.list('p')) {
          seen.push(key);
          await table.remove('p', key, etag);
        }
        expect(seen).toHaveLength(20);
        expect(await keys(table.list('p'))).toEqual([]);
      });
    });

    describe('values', () => {
      const roundTrip = async (row: ContractRow): Promise<ContractRow | undefined> => {
        const table = makeTable();
        await table.insert('p', 'k', row);
        return (await table.get('p', 'k'))?.row;
      };

      it.each([0, 1, -1, 2 ** 31, 2 ** 40 + 1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 0.1, 1e-300, 1.7e308])(
        'the number %d is exact',
        async (bytes) =>
          expect(await roundTrip({ text: '', bytes, list: [bytes] })).toEqual({ text: '', bytes, list: [bytes] }),
      );

      it.each([
        ['empty', ''],
        ['quotes', `'"\\/ &<>%+?#`],
        ['lines', 'a\r\nb\tc\u0001'],
        ['beyond ASCII', 'ünïcödé 日本語 \u{1f600}'],
        ['a number', '12345678901234567890'],
        ['a GUID', '7e6c1b7e-3c5f-4d57-8d0a-1f2d8e0f7a11'],
        ['a time', '2026-11-22T07:19:42.5110000Z'],
        ['JSON', '{"a":[1]}'],
      ])('text: %s', async (_what, text) => {
        const row = { text, list: [text], nested: { [text]: text } };
        expect(await roundTrip(row)).toEqual(row);
      });

      it('leaves out what is undefined and keeps null', async () => {
        const table = makeTable();
        await table.insert('p', 'k', { text: 'a', bytes: undefined, nested: null, list: [null] });
        const row = (await table.get('p', 'k'))?.row;
        expect(row).toStrictEqual({ text: 'a', nested: null, list: [null] });
      });

      it('empty arrays and objects stay what they are', async () => {
        expect(await roundTrip({ text: '', list: [], nested: {} })).toEqual({ text: '', list: [], nested: {} });
      });

      it.each([
        ['a date', new Date(0)],
        ['a map', new Map()],
        ['a bigint', 1n],
        ['not a number', Number.NaN],
        ['infinity within', [Number.POSITIVE_INFINITY]],
        ['a date within', { at: new Date(0) }],
        ['undefined in an array', [undefined]],
      ])('refuses %s', async (_what, value) => {
        await expect(makeTable().insert('p', 'k', { text: '', odd: value })).rejects.toEqual(
          failsWith('InvalidRequest', 'odd'),
        );
      });

      it('refuses a row that does not fit its schema', async () => {
        const row = { text: 'a', bytes: 'many' } as unknown as ContractRow;
        await expect(makeTable().insert('p', 'k', row)).rejects.toEqual(failsWith('InvalidRequest', 'bytes'));
        await expect(makeTable().upsert('p', 'k', row)).rejects.toEqual(failsWith('InvalidRequest', 'bytes'));
      });
    });

    describe('keys', () => {
      it.each([
        ' ',
        "o'clock",
        '100%',
        'a+b',
        'a%2Fb',
        'a&b=c;d,e',
        '(x)',
        'ünï 日本 \u{1f600}',
        '..',
        '"q"',
        'k'.repeat(512),
      ])('the key %j works', async (key) => {
        const table = makeTable();
        const etag = await table.insert(key, key, { text: key });
        expect(await table.get(key, key)).toEqual({ row: { text: key }, etag });
        expect((await collect(table.list(key, key))).map((row) => [row.partition, row.key])).toEqual([[key, key]]);
        const next = await table.replace(key, key, { text: 'b' }, etag);
        await table.upsert(key, key, { text: 'c' });
        await expect(table.remove(key, key, next)).rejects.toEqual(failsWith('EtagMismatch'));
        await table.remove(key, key);
        expect(await table.get(key, key)).toBeUndefined();
      });

      it.each(['', 'a/b', 'a\\b', 'a#b', 'a?b', 'a\tb', 'a\u0000', 'a\u007f', 'a\u009f', 'a\ud800', 'k'.repeat(513)])(
        'the key %j is refused everywhere',
        async (key) => {
          const table = makeTable();
          const row = { text: '' };
          const [badKey, badPartition] = [failsWith('InvalidRequest', 'key'), failsWith('InvalidRequest', 'partition')];
          await expect(table.get('p', key)).rejects.toEqual(badKey);
          await expect(table.get(key, 'k')).rejects.toEqual(badPartition);
          await expect(table.insert('p', key, row)).rejects.toEqual(badKey);
          await expect(table.insert(key, 'k', row)).rejects.toEqual(badPartition);
          await expect(table.replace('p', key, row, 'W/"1"')).rejects.toEqual(badKey);
          await expect(table.upsert('p', key, row)).rejects.toEqual(badKey);
          await expect(table.remove('p', key)).rejects.toEqual(badKey);
          await expect(keys(table.list(key))).rejects.toEqual(badPartition);
          if (key !== '') await expect(keys(table.list('p', key))).rejects.toEqual(badKey);
        },
      );
    });

    describe('limits', () => {
      const insert = (row: ContractRow): Promise<string> => makeTable().insert('p', 'k', row);

      it('a property of 32,000 characters, and not one more', async () => {
        await insert({ text: 'x'.repeat(32_000) });
        await insert({ text: '日'.repeat(32_000) });
        await expect(insert({ text: 'x'.repeat(32_001) })).rejects.toEqual(failsWith('InvalidRequest', 'text'));
      });

      it('an array or object that is longer than a property comes back as it was, and a shorter one after it', async () => {
        const table = makeTable();
        // The 32,000th character of its JSON is the first of a surrogate pair.
        const long = { text: '', list: [`${'x'.repeat(31_997)}\u{1F5C4}${'y'.repeat(40_000)}`] };
        const etag = await table.insert('p', 'k', long);
        expect(isDeepStrictEqual((await table.get('p', 'k'))?.row, long)).toBe(true);
        await table.replace('p', 'k', { text: '', list: ['short'] }, etag);
        expect((await table.get('p', 'k'))?.row).toEqual({ text: '', list: ['short'] });
        await expect(insert({ text: '', list: ['x'.repeat(540_000)] })).rejects.toEqual(
          failsWith('InvalidRequest', 'row'),
        );
      });

      it('an entity of 1 MiB as Azure counts it, and not more', async () => {
        const large = (count: number): ContractRow =>
          Object.assign({ text: '' }, ...Array.from({ length: count }, (_, n) => ({ [`p${n}`]: 'x'.repeat(32_000) })));
        await insert(large(16));
        await expect(insert(large(17))).rejects.toEqual(failsWith('InvalidRequest', 'row'));
      });

      it('251 properties, and not one more', async () => {
        const wide = (count: number): ContractRow =>
          Object.assign({ text: '' }, ...Array.from({ length: count - 1 }, (_, n) => ({ [`p${n}`]: n })));
        await insert(wide(251));
        await expect(insert(wide(252))).rejects.toEqual(failsWith('InvalidRequest', 'row'));
      });

      it.each([
        '',
        'a-b',
        '1a',
        'a b',
        'a.b',
        'ä',
        'PartitionKey',
        'rowKey',
        'etag',
        'Timestamp',
        'strata_write',
        'a_json',
        'a_json2',
      ])('refuses the property name %j', async (property) => {
        await expect(insert({ text: '', [property]: 1 })).rejects.toEqual(failsWith('InvalidRequest', property));
      });

      it('a property name of 255 characters, and not one more', async () => {
        await insert({ text: '', ['n'.repeat(255)]: 1 });
        await expect(insert({ text: '', ['n'.repeat(256)]: 1 })).rejects.toEqual(failsWith('InvalidRequest'));
        await expect(insert({ text: '', ['n'.repeat(251)]: [] })).rejects.toEqual(failsWith('InvalidRequest'));
      });
    });
  });
}
