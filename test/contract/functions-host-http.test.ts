import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOST_KEYS, openHostBench, type HostBench } from '../support/functions-host.ts';

let bench: HostBench;
let base: string;

beforeAll(async () => {
  bench = await openHostBench();
  const host = await bench.start();
  base = `http://127.0.0.1:${host.port}`;
});
afterAll(() => bench.dispose());

interface Echo {
  functionName: string;
  method: string;
  url: string;
  params: Record<string, string>;
  query: Record<string, string>;
  header: string | null;
  body: string;
}
const echo = async (path: string, init?: RequestInit): Promise<Echo> =>
  (await (await fetch(base + path, init)).json()) as Echo;

describe('HTTP triggers', () => {
  it('hand over method, URL, parameters, query, headers and body', async () => {
    const seen = await echo('/echo/disk/42?a=1&a=2&A=3&empty=&code=x', {
      method: 'POST',
      headers: { 'x-test': 'hello' },
      body: 'päylöad',
    });
    expect(seen).toMatchObject({
      functionName: 'echo',
      method: 'POST',
      url: `${base}/echo/disk/42?a=1&a=2&A=3&empty=&code=x`,
      params: { kind: 'disk', id: '42' },
      query: { a: '1,2,3', empty: '', code: 'x' },
      header: 'hello',
      body: 'päylöad',
    });
  });

  it('see the address that the proxy in front was called by', async () => {
    const headers = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'strata.example:7443' };
    expect((await echo('/echo/a', { headers })).url).toBe('https://strata.example:7443/echo/a');
  });

  it('take the most specific route, constraints included', async () => {
    expect((await echo('/echo/literal')).functionName).toBe('literal');
    expect((await echo('/ECHO/Literal/')).functionName).toBe('literal');
    expect((await echo('/echo/disk')).params).toEqual({ kind: 'disk' });
    expect(await echo('/echo/disk/not-a-number')).toMatchObject({
      functionName: 'rest',
      params: { rest: 'echo/disk/not-a-number' },
    });
  });

  it('decode parameters but keep an escaped slash', async () => {
    const { params, url } = await echo('/a/vm%3Biaas%20v2/b%2Fc');
    expect(params).toEqual({ rest: 'a/vm;iaas v2/b%2Fc' });
    expect(url).toBe(`${base}/a/vm;iaas%20v2/b%2Fc`);
  });

  it('answer 404 for a path or method that no function has', async () => {
    expect((await fetch(`${base}/guarded`, { method: 'DELETE' })).status).toBe(404);
    expect((await fetch(`${base}/any/thing`, { method: 'POST' })).status).toBe(404);
  });

  it.each([
    ['/guarded', {}, 401],
    ['/guarded', { 'x-functions-key': 'wrong' }, 401],
    ['/guarded', { 'x-functions-key': HOST_KEYS.functionKey }, 200],
    [`/guarded?code=${HOST_KEYS.functionKey}`, {}, 200],
    [`/guarded?code=${HOST_KEYS.masterKey}`, {}, 200],
    [`/admins?code=${HOST_KEYS.functionKey}`, {}, 401],
    [`/admins?code=${HOST_KEYS.masterKey}`, {}, 200],
  ])('guard by key: %s %o gives %i', async (path, headers: Record<string, string>, status) => {
    expect((await fetch(base + path, { headers })).status).toBe(status);
  });

  it('answer with status, headers, cookies and bytes', async () => {
    const body = Buffer.from([0, 1, 2, 0xff]);
    const answer = await fetch(`${base}/bytes`, { method: 'POST', body });
    expect(answer.status).toBe(201);
    expect(answer.headers.get('x-answer')).toBe('yes');
    expect(answer.headers.getSetCookie()).toEqual(['a=b%20c; Path=/; HttpOnly; SameSite=Lax']);
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(Buffer.from([0xff, 2, 1, 0]));
  });

  it('carry 64 MiB both ways', async () => {
    const body = Buffer.alloc(64 * 1024 * 1024, 7);
    const answer = await fetch(`${base}/bytes`, { method: 'POST', body });
    expect((await answer.arrayBuffer()).byteLength).toBe(body.length);
  });

  it('refuse more than 100 MiB with 413', async () => {
    const body = Buffer.alloc(100 * 1024 * 1024 + 1);
    expect((await fetch(`${base}/bytes`, { method: 'POST', body })).status).toBe(413);
  });

  it('answer 204 for nothing and an empty 500 for a failure', async () => {
    expect((await fetch(`${base}/nothing`)).status).toBe(204);
    const broken = await fetch(`${base}/broken`);
    expect(broken.status).toBe(500);
    expect(await broken.text()).toBe('');
  });
});
