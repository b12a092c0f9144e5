import { once } from 'node:events';
import { createServer, request, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An HTTP proxy before one server that dies at a chosen request, as a worker dies for the server behind it. */
export interface CrashProxy {
  /** `http://127.0.0.1:<port>` */
  readonly origin: string;
  /** The `n`th request from now (from 1) is dropped: unseen by the server, or done with its answer lost. So are all after it. */
  crashAt(n: number, when: 'before' | 'after'): void;
  /** Before the `n`th request from now (from 1) is passed on, `meanwhile` happens. */
  pauseAt(n: number, meanwhile: () => Promise<void>): void;
  /** Requests since `crashAt` or `pauseAt`. */
  seen(): number;
  close(): Promise<void>;
}

/** What a proxy answers itself instead of passing a request on. */
export interface OwnAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}

export async function startCrashProxy(
  targetOrigin: string,
  answerTo: (url: string, headers: IncomingHttpHeaders) => OwnAnswer | undefined = () => undefined,
): Promise<CrashProxy> {
  let fatal = Infinity;
  let lost: 'before' | 'after' = 'before';
  let count = 0;
  let pause: { at: number; meanwhile: () => Promise<void> } | undefined;

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    count += 1;
    const number = count;
    if (number > fatal || (number === fatal && lost === 'before')) {
      incoming.socket.destroy();
      return;
    }
    const own = answerTo(incoming.url ?? '/', incoming.headers);
    if (own !== undefined) {
      incoming.resume();
      outgoing.writeHead(own.status, own.headers).end();
      return;
    }
    if (number === pause?.at) await pause.meanwhile();
    const answer = await forward(targetOrigin, incoming);
    if (number === fatal) {
      answer.resume();
      await once(answer, 'end');
      incoming.socket.destroy();
      return;
    }
    outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
    answer.pipe(outgoing);
  }

  const server = createServer((incoming, outgoing) => {
    serve(incoming, outgoing).catch((error: Error) => outgoing.destroy(error));
  });
  // Clients that make a single try must not meet a connection that was closed for being idle.
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    crashAt(n, when) {
      fatal = n;
      lost = when;
      pause = undefined;
      count = 0;
    },
    pauseAt(n, meanwhile) {
      pause = { at: n, meanwhile };
      fatal = Infinity;
      count = 0;
    },
    seen: () => count,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function forward(targetOrigin: string, incoming: IncomingMessage): Promise<IncomingMessage> {
  const { method, url, headers } = incoming;
  const outgoing = request(new URL(url ?? '/', targetOrigin), { method, headers, agent: false });
  incoming.pipe(outgoing);
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  return answer;
}
