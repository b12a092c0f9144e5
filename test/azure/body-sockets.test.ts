import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { idleHosts, requestBody } from '../../shared/azure/body-sockets.ts';

/* Each case has a server of its own, of bytes rather than of HTTP: it says what no well-behaved one would. */

const BODY = Buffer.from('0123456789abcdefghij');
const head = (more = '', length = BODY.length): string =>
  `HTTP/1.1 206 Partial Content\r\nContent-Length: ${length}\r\n${more}\r\n`;

const servers: Server[] = [];
const sockets = new Set<Socket>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

async function serving(answer: (socket: Socket, request: string) => void): Promise<URL> {
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (request) => answer(socket, request.toString('latin1')));
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/c/b?snapshot=1`);
}

async function asked(url: URL, { bytes = BODY.length, abortSignal = AbortSignal.timeout(20_000) } = {}) {
  const into = new Uint8Array(bytes);
  return { answer: await requestBody({ url, headers: { 'x-ms-version': '1' }, into, abortSignal }), into };
}

describe('a body that is read straight into memory', () => {
  it('is asked for by a plain GET with the headers given', async () => {
    let seen = '';
    const url = await serving((socket, request) => {
      seen = request;
      socket.write(head() + BODY.toString());
    });
    expect((await asked(url)).answer).toEqual({ status: 206, isFilled: true });
    expect(seen).toBe(`GET /c/b?snapshot=1 HTTP/1.1\r\nHost: ${url.host}\r\nx-ms-version: 1\r\n\r\n`);
  });

  it('arrives whole wherever the answer is cut', async () => {
    const whole = Buffer.from(head('ETag: "1"\r\n') + BODY.toString());
    let cutAt = 0;
    const url = await serving((socket) => {
      socket.setNoDelay(true);
      socket.write(whole.subarray(0, cutAt), () => setImmediate(() => socket.write(whole.subarray(cutAt))));
    });
    for (cutAt = 1; cutAt < whole.length; cutAt++) {
      const { answer, into } = await asked(url);
      expect(answer, `cut at ${cutAt}`).toEqual({ status: 206, isFilled: true });
      expect(Buffer.from(into).equals(BODY)).toBe(true);
    }
  });

  it('does not mix with others that arrive at the same time', async () => {
    const bytes = 3_000_000;
    const url = await serving((socket, request) => {
      const value = Number(/\/n(\d+) /.exec(request)![1]);
      socket.write(head('', bytes));
      socket.write(new Uint8Array(bytes).fill(value));
    });
    const found = await Promise.all(
      Array.from({ length: 12 }, async (_, value) => {
        const { answer, into } = await asked(new URL(`/n${value}`, url), { bytes });
        return answer.isFilled && into.every((byte) => byte === value);
      }),
    );
    expect(found).toEqual(Array.from({ length: 12 }, () => true));
  });

  it('is asked for over the connection of the one before', async () => {
    const used = new Set<Socket>();
    const url = await serving((socket) => {
      used.add(socket);
      socket.write(head() + BODY.toString());
    });
    for (let i = 0; i < 5; i++) expect((await asked(url)).answer.isFilled).toBe(true);
    expect(used.size).toBe(1);
  });

  it(
    'leaves nothing behind of a host that has closed its connections, or is not asked again',
    { timeout: 60_000 },
    async () => {
      const answered = async (): Promise<Socket> => {
        const { promise, resolve } = Promise.withResolvers<Socket>();
        const url = await serving((socket) => {
          resolve(socket);
          socket.write(head() + BODY.toString());
        });
        expect((await asked(url)).answer.isFilled).toBe(true);
        return promise;
      };
      const none = (): Promise<boolean> => vi.waitUntil(() => idleHosts() === 0, { timeout: 10_000 });
      await none();
      const [one, other] = [await answered(), await answered()];
      expect(idleHosts()).toBe(2);
      one.end();
      await Promise.all([one, other].map((socket) => once(socket, 'close')));
      await none();
    },
  );
});

describe('an answer that is not the body', () => {
  const lines = (...text: string[]): string => `${text.join('\r\n')}\r\n\r\n`;
  it.each<[string, string, object]>([
    [
      'a refusal',
      lines('HTTP/1.1 503 Server Busy', 'Retry-After: 3', 'Content-Length: 0'),
      { status: 503, retryAfterMs: 3000 },
    ],
    [
      'a refusal in chunks',
      `${lines('HTTP/1.1 404 Not Found', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
      { status: 404 },
    ],
    ['the whole blob', `${lines('HTTP/1.1 200 OK', 'Content-Length: 20')}${BODY.toString()}`, { status: 200 }],
    ['fewer bytes', `${head('', 19)}0123456789abcdefghi`, { status: 206 }],
    ['more bytes', `${head('', 21)}0123456789abcdefghijk`, { status: 206 }],
    ['no length', `${lines('HTTP/1.1 206 Partial Content')}${BODY.toString()}`, { status: 206 }],
    [
      'chunks',
      `${lines('HTTP/1.1 206 Partial Content', 'Transfer-Encoding: chunked')}14\r\n${BODY.toString()}\r\n0\r\n\r\n`,
      { status: 206 },
    ],
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', {}],
    ['HTTP/1.0', `${lines('HTTP/1.0 206 Partial Content', 'Content-Length: 20')}${BODY.toString()}`, {}],
    ['an interim answer', lines('HTTP/1.1 100 Continue'), {}],
    ['bytes past the body', `${head()}${BODY.toString()}HTTP/1.1 206`, {}],
    ['a head without end', 'HTTP/1.1 206 Partial Content\r\n' + 'X-Long: yes\r\n'.repeat(3000), {}],
  ])('is told as such: %s', async (_, text, expected) => {
    const used = new Set<Socket>();
    const url = await serving((socket) => {
      used.add(socket);
      socket.write(text);
    });
    expect((await asked(url)).answer).toEqual({ ...expected, isFilled: false });
    // Nothing is asked again on a connection whose answer was not understood.
    await asked(url);
    expect(used.size).toBe(2);
  });

  it.each([
    ['in the head', 'HTTP/1.1 206 Part'],
    ['in the body', `${head()}0123456`],
    ['before it says anything', ''],
  ])('is told as such: a connection that ends %s', async (_, text) => {
    const url = await serving((socket) => socket.end(text));
    expect((await asked(url)).answer).toEqual({ isFilled: false });
  });

  it('is told as such: none until the time is over, and none from a port where nobody listens', async () => {
    const silent = await serving(() => undefined);
    expect((await asked(silent, { abortSignal: AbortSignal.timeout(50) })).answer).toEqual({ isFilled: false });
    expect((await asked(silent, { abortSignal: AbortSignal.abort() })).answer).toEqual({ isFilled: false });
    const url = await serving(() => undefined);
    servers.at(-1)!.close();
    await once(servers.pop()!, 'close');
    expect((await asked(url)).answer).toEqual({ isFilled: false });
  });

  it('may be the last of its connection and still be right', async () => {
    const used = new Set<Socket>();
    const url = await serving((socket) => {
      used.add(socket);
      socket.end(head('Connection: close\r\n') + BODY.toString());
    });
    for (let i = 0; i < 3; i++) expect((await asked(url)).answer).toEqual({ status: 206, isFilled: true });
    expect(used.size).toBe(3);
  });
});
