import { randomUUID } from 'node:crypto';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { TableClient } from '@azure/data-tables';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { azureTable } from '../../shared/catalog/azure-tables.ts';
import { type ContractStorage, contractStorage } from '../support/contract-storage.ts';
import { catalogTableContract, contractSchema } from './catalog-table.contract.ts';

let storage: ContractStorage;
beforeAll(async () => {
  storage = await contractStorage();
});
afterAll(() => storage?.stop());

const freshName = (): string => `t${randomUUID().replaceAll('-', '')}`;
const open = (tableName: string, connection = storage.connectionString) =>
  azureTable({ connection, tableName, schema: contractSchema });

catalogTableContract('Azure Tables', () => open(freshName()));

async function first<Value>(values: AsyncIterable<Value>): Promise<Value | undefined> {
  for await (const value of values) return value;
  return undefined;
}

const isUnavailable = expect.objectContaining({ name: 'BackupError', code: 'StorageUnavailable' });

/** The same storage behind a proxy; the answer to a request is thrown away when `drop` says so. */
async function behindProxy(drop: (method: string) => boolean): Promise<{ server: Server; connection: string }> {
  const target = new URL(/TableEndpoint=([^;]+)/.exec(storage.connectionString)?.[1] ?? '');
  const server = createServer((incoming, outgoing) => {
    const { method = 'GET', url = '/', headers } = incoming;
    const onward = request({ host: target.hostname, port: target.port, method, path: url, headers }, (answer) => {
      if (drop(method)) {
        answer.resume();
        answer.once('end', () => outgoing.socket?.resetAndDestroy());
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(onward);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  // The path keeps the account, and the signature does not cover the host.
  return { server, connection: storage.connectionString.replace(target.host, `127.0.0.1:${port}`) };
}

describe('Azure Tables adapter', () => {
  it('stores plain values as queryable properties, numbers as doubles, the rest as JSON text', async () => {
    const tableName = freshName();
    await open(tableName).insert('p', 'k', { text: 'a', bytes: 5, flag: true, list: [1, 2], nested: { a: 1 } });
    const raw = TableClient.fromConnectionString(storage.connectionString, tableName, {
      allowInsecureConnection: true,
    });
    const found = [];
    const filter = `text eq 'a' and bytes gt 4.0 and flag eq true`;
    for await (const entity of raw.listEntities({ queryOptions: { filter } })) found.push(entity);
    expect(found).toEqual([
      expect.objectContaining({ text: 'a', bytes: 5, flag: true, list_json: '[1,2]', nested_json: '{"a":1}' }),
    ]);
  });

  it('a row that does not fit is DocumentCorrupt, naming table, keys and field', async () => {
    const tableName = freshName();
    const table = open(tableName);
    await table.insert('p', 'good', { text: 'a' });
    const raw = TableClient.fromConnectionString(storage.connectionString, tableName, {
      allowInsecureConnection: true,
    });
    await raw.createEntity({ partitionKey: 'p', rowKey: 'wrong', text: 'a', bytes: 'many' });
    await raw.createEntity({ partitionKey: 'p', rowKey: 'torn', text: 'a', list_json: '[1,' });
    await expect(table.get('p', 'wrong')).rejects.toMatchObject({ code: 'DocumentCorrupt', target: 'bytes' });
    await expect(table.get('p', 'wrong')).rejects.toThrow(new RegExp(`${tableName}.*"p".*"wrong".*bytes`));
    await expect(table.get('p', 'torn')).rejects.toMatchObject({ code: 'DocumentCorrupt', target: 'list_json' });
    expect((await first(table.list('p')))?.key).toBe('good');
  });

  it('a write whose answer gets lost is known as our own when the SDK tries again', async () => {
    let losses = 0;
    const { server, connection } = await behindProxy((method) => method !== 'GET' && losses-- > 0);
    try {
      const tableName = freshName();
      const [direct, lossy] = [open(tableName), open(tableName, connection)];
      await direct.insert('p', 'other', { text: '' });
      losses = 1;
      const etag = await lossy.insert('p', 'k', { text: '1' });
      expect(await direct.get('p', 'k')).toEqual({ row: { text: '1' }, etag });
      losses = 1;
      const next = await lossy.replace('p', 'k', { text: '2' }, etag);
      expect(await direct.get('p', 'k')).toEqual({ row: { text: '2' }, etag: next });
      losses = 1;
      await lossy.remove('p', 'k', next);
      expect(await direct.get('p', 'k')).toBeUndefined();
    } finally {
      server.close();
    }
  });

  it('an outage never looks like absence', async () => {
    const { server, connection } = await behindProxy(() => true);
    try {
      const table = open(freshName(), connection);
      const row = { text: '' };
      await Promise.all([
        expect(table.get('p', 'k')).rejects.toEqual(isUnavailable),
        expect(table.insert('p', 'k', row)).rejects.toEqual(isUnavailable),
        expect(table.replace('p', 'k', row, 'W/"1"')).rejects.toEqual(isUnavailable),
        expect(table.upsert('p', 'k', row)).rejects.toEqual(isUnavailable),
        expect(table.remove('p', 'k')).rejects.toEqual(isUnavailable),
        expect(first(table.list('p'))).rejects.toEqual(isUnavailable),
        expect(first(table.listAll())).rejects.toEqual(isUnavailable),
      ]);
    } finally {
      server.close();
    }
  });

  it('a 404 that is not the table service is no absence', async () => {
    const server = createServer((_request, response) => response.writeHead(404).end('<html>not here</html>'));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    try {
      const { port } = server.address() as AddressInfo;
      const endpoint = `TableEndpoint=http://127.0.0.1:${port}/contract`;
      const table = open(freshName(), storage.connectionString.replace(/TableEndpoint=[^;]+/, endpoint));
      await expect(table.get('p', 'k')).rejects.toEqual(isUnavailable);
      await expect(table.replace('p', 'k', { text: '' }, 'W/"1"')).rejects.toEqual(isUnavailable);
      await expect(table.remove('p', 'k')).rejects.toEqual(isUnavailable);
      await expect(first(table.list('p'))).rejects.toEqual(isUnavailable);
    } finally {
      server.close();
    }
  });

  it('refuses settings that cannot work', () => {
    expect(() => open('no-such-name')).toThrow(expect.objectContaining({ code: 'SettingInvalid' }));
    expect(() => open('fine', 'AccountName=a')).toThrow(expect.objectContaining({ code: 'SettingInvalid' }));
  });
});
