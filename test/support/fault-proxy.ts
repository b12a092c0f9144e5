import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What becomes of a request. */
export type Fault =
  /** The connection is cut before the server sees it. */
  | { readonly kind: 'refuse' }
  /** It reaches the server so many milliseconds late. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** It is done, and its answer is lost. */
  | { readonly kind: 'drop-answer' }
  /** Of its answer the head arrives and half of the body. */
  | { readonly kind: 'cut-body' }
  /** It is not done, and answered so: 429 and 503 as Azure says them. */
  | { readonly kind: 'throttle'; readonly status: 429 | 503; readonly retryAfterSeconds?: number };

/** Chooses the fault of a request, or none. `path` begins with the account. */
export type FaultRule = (asked: { readonly method: string; readonly path: string }) => Fault | undefined;

/** An HTTP proxy before one storage service that does to requests what a rule says. */
export interface FaultProxy {
  readonly port: number;
  /** Requests that have come in, and those of them that met a fault. */
  readonly seen: { requests: number; faults: number };
  close(): Promise<void>;
}

export async function startFaultProxy(targetPort: number, rule: FaultRule): Promise<FaultProxy> {
  const seen = { requests: 0, faults: 0 };

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    seen.requests++;
    const fault = rule({ method: incoming.method ?? 'GET', path: (incoming.url ?? '/').slice(1) });
    if (fault !== undefined) seen.faults++;
    if (fault?.kind === 'refuse') return void incoming.socket.destroy();
    if (fault?.kind === 'throttle') return throttle(incoming, outgoing, fault);
    if (fault?.kind === 'delay') await new Promise((resolve) => setTimeout(resolve, fault.ms));
    const answer = await forward(targetPort, incoming);
    if (fault?.kind === 'drop-answer') {
      answer.resume();
      await once(answer, 'end');
      return void incoming.socket.destroy();
    }
    outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
    if (fault?.kind !== 'cut-body') return void answer.pipe(outgoing);
    const body = Buffer.concat(await Array.fromAsync(answer as AsyncIterable<Buffer>));
    outgoing.write(body.subarray(0, body.length >> 1), () => incoming.socket.destroy());
  }

  const server = createServer((incoming, outgoing) => {
    serve(incoming, outgoing).catch((error: Error) => outgoing.destroy(error));
  });
  server.keepAliveTimeout = 0; // clients must not meet a connection that is closed for being idle: that fault is not theirs
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes: ServerBusy is 503; ARM and others say 429. */
function throttle(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  { status, retryAfterSeconds }: Extract<Fault, { kind: 'throttle' }>,
): void {
  incoming.resume();
  const code = status === 503 ? 'ServerBusy' : 'TooManyRequests';
  const body = `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>slow down</Message></Error>`;
  outgoing
    .writeHead(status, {
      'x-ms-error-code': code,
      'content-type': 'application/xml',
      ...(retryAfterSeconds === undefined ? {} : { 'retry-after': `${retryAfterSeconds}` }),
    })
    .end(incoming.method === 'HEAD' ? undefined : body);
}

async function forward(port: number, incoming: IncomingMessage): Promise<IncomingMessage> {
  const { method, url, headers } = incoming;
  const outgoing = request({ host: '127.0.0.1', port, path: url, method, headers, agent: false });
  incoming.pipe(outgoing);
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  return answer;
}
